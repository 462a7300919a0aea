/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nftlist: finds the rules that marks need (wanted_is_mark), or what does the same, in the text
 * of `nft list ruleset`; iptables-nft's rules stand there too. Pure.
 */
#ifndef MMPROXY_ROUTING_WANTED_NFTLIST_H
#define MMPROXY_ROUTING_WANTED_NFTLIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmproxy/base/addr.h"
#include "mmproxy/routing/wanted/flows.h"
#include "mmproxy/routing/wanted/wanted.h"

/* The table that mmproxy installs itself, of family inet. */
#define NFTLIST_OWN_TABLE "mmproxy"

/* A rule that does what an item of one of the kinds for which wanted_is_mark holds wants. */
struct nftlist_mark {
    enum wanted_kind kind;
    bool is_own; /* it stands in our own table */
    bool is_v4;  /* it holds for IPv4 packets */
    bool is_v6;
    uint32_t mark;
    struct addr source; /* WANTED_MARK_REPLIES: of this address alone, with any port; unset = all */
    uint16_t port;      /* ... and from this port on alone; 0 = all ... */
    uint16_t last_port; /* ... up to this one */
    bool is_tcp;        /* ... and of this protocol alone; neither = all */
    bool is_udp;
    unsigned table;          /* WANTED_MARK_FLOWS: the number of its table in the text, ... */
    char set[FLOWS_SET_MAX]; /* ... its set there, */
    bool is_record;          /* and whether it fills the set or marks by it: it takes both */
};

/* All zero is empty. */
struct nftlist {
    struct nftlist_mark *items; /* owned */
    size_t n_items;
    char **tables; /* owned: "inet mmproxy-...", those that --rules has made */
    size_t n_tables;
};

/*
 * Adds what text (numeric, stateless output) has. Rules with conditions that might exclude
 * a session's packets do not count. returns: 0 or -ENOMEM.
 */
int nftlist_parse(struct nftlist *list, const char *text);
void nftlist_close(struct nftlist *list);

/* Is there a rule for the item? */
bool nftlist_has(const struct nftlist *list, const struct wanted_item *item);

/* The same, but rules in our own table (own true), or in others' tables (own false), alone. */
bool nftlist_has_of(const struct nftlist *list, bool own, const struct wanted_item *item);

/* Is there a table of --rules with that family and name? */
bool nftlist_has_table(const struct nftlist *list, const char *table);

#endif
