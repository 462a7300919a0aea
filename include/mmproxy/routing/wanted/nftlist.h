/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nftlist: finds the CONNMARK rules, or what does the same, in the text of `nft list
 * ruleset`; iptables-nft's rules stand there too. Pure.
 */
#ifndef MMPROXY_ROUTING_WANTED_NFTLIST_H
#define MMPROXY_ROUTING_WANTED_NFTLIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* The table that mmproxy installs itself, of family inet. */
#define NFTLIST_OWN_TABLE "mmproxy"

/* A rule that saves (prerouting) or restores (output) a mark. */
struct nftlist_mark {
    bool is_save;
    bool is_own; /* it stands in our own table */
    bool is_v4;  /* it holds for IPv4 packets */
    bool is_v6;
    uint32_t mark;
};

/* All zero is empty. */
struct nftlist {
    struct nftlist_mark *items; /* owned */
    size_t n_items;
};

/*
 * Adds what text (numeric, stateless output) has. Rules with conditions that might exclude
 * a session's packets do not count. returns: 0 or -ENOMEM.
 */
int nftlist_parse(struct nftlist *list, const char *text);
void nftlist_close(struct nftlist *list);

bool nftlist_has(const struct nftlist *list, bool is_save, sa_family_t family, uint32_t mark);

/* The same, but rules in our own table (own true), or in others' tables (own false), alone. */
bool nftlist_has_of(const struct nftlist *list, bool own, bool is_save, sa_family_t family,
                    uint32_t mark);

#endif
