/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ruleset: what would the nftables rules do to a packet? Pure: it follows the text of `nft -a list
 * ruleset`, iptables-nft's rules included, through the base chains of a hook and the chains that
 * they jump to. A rule with a condition that is not understood counts as one that does not
 * match: what is found is certain, what is not found may be there all the same. Names and comments
 * may be an attacker's: they are quoted or escaped, so that a shell runs nothing but the commands.
 * Chains that jump on and on are given up after a while.
 */
#ifndef MMPROXY_ROUTING_WANTED_RULESET_H
#define MMPROXY_ROUTING_WANTED_RULESET_H

#include <stdbool.h>
#include <stdint.h>

#include "mmproxy/base/addr.h"

enum ruleset_effect {
    RULESET_DROP = 1,
    RULESET_REJECT = 2,
    RULESET_POLICY_DROP = 4, /* no rule accepts it, and the chain drops the rest */
    RULESET_NOTRACK = 8,
    RULESET_SET_MARK = 16,
    RULESET_DNAT = 32, /* in output: it goes elsewhere */
    RULESET_SNAT = 64, /* in postrouting: it comes from elsewhere */
    RULESET_REFUSES = RULESET_DROP | RULESET_REJECT | RULESET_POLICY_DROP,
};

/* So begins the comment behind a translated rule (legacy). Its first byte is in no word. */
#define RULESET_LEGACY "\x01# ip"

/* The rules as text: those of nftables, and behind them, translated, those of iptables-legacy. */
struct ruleset {
    const char *text;
    bool has_elements;  /* those of its sets; else rules about sets are not understood */
    const char *legacy; /* where in text the translated ones begin; NULL: there are none */
};

/* A segment or datagram between a client's socket on this host and its target. */
struct ruleset_packet {
    const char *hook;   /* "output", "postrouting", "egress", "ingress", "prerouting" or "input" */
    const char *device; /* that it leaves or comes in by */
    struct addr src;    /* with ports */
    struct addr dst;
    uint32_t mark;
    bool is_udp;
    bool is_new;       /* the first of its connection */
    bool is_dst_local; /* an address of this host */
    bool is_rerouted;  /* in output: once it is marked it leaves by another device */
};

enum { RULESET_TEXT_MAX = 512, RULESET_FOUND_MAX = 16 };

struct ruleset_found {
    enum ruleset_effect effect;
    char rule[RULESET_TEXT_MAX];    /* as nft writes it; a policy's chain */
    char command[RULESET_TEXT_MAX]; /* that mends it */
    bool is_by_mark;                /* which lets packets pass that bear the mark */
    struct addr to;                 /* DNAT: where to, as far as known; port 0: the same */
};

/* All zero is empty. */
struct ruleset_list {
    struct ruleset_found items[RULESET_FOUND_MAX]; /* no two with one command */
    size_t n_items;
};

/*
 * Adds what has one of these effects (or-ed) on the packet. Each rule that is found is then taken
 * for gone, so that those behind it are found too: all commands together mend it.
 */
void ruleset_find(const struct ruleset *ruleset, const struct ruleset_packet *packet,
                  unsigned effects, struct ruleset_list *list);

#endif
