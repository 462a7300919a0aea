/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wanted: what a configuration's return path needs, as data. This one description is what
 * verify, print, install and remove go by.
 *
 * spec: mmproxy(8), "RETURN PATH"
 */
#ifndef MMPROXY_ROUTING_WANTED_WANTED_H
#define MMPROXY_ROUTING_WANTED_WANTED_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "mmproxy/config/config.h"

enum wanted_kind {
    WANTED_SAVE_MARK,    /* connmark: the connection takes over the mark of its first packet */
    WANTED_RESTORE_MARK, /* connmark: its replies get that mark */
    WANTED_MARK_REPLIES, /* routed: what the target sends to a socket of ours gets the mark */
    WANTED_MARK_FLOWS,   /* flows: so does what answers a datagram that bore the mark */
    WANTED_RULE,         /* replies look their route up in our table ... */
    WANTED_ROUTE,        /* ... where every address is this host's */
    WANTED_SYSCTL,       /* set to 1 */
};

enum {
    WANTED_SYSCTL_MAX = 64,
    WANTED_COMMAND_MAX = 1024,
    /*
     * Of the rules that mmproxy installs itself: long before the main table's 32766 and
     * before those that VPNs use (strongSwan 220, Tailscale 5210).
     */
    WANTED_RULE_PRIORITY = 200,
    WANTED_OUTBOUND_MAX = 4,
};

struct wanted_item {
    enum wanted_kind kind;
    sa_family_t family;             /* AF_INET or AF_INET6 */
    uint32_t mark;                  /* 0: a rule by source prefix (loopback), or not of use */
    uint32_t table;                 /* rules and routes */
    char sysctl[WANTED_SYSCTL_MAX]; /* as sysctl(8) writes it, '/' for a '.' in a name */
    struct addr source;             /* WANTED_MARK_REPLIES: the target; else not set */
    uint16_t last_port;             /* the same: the last of its ports; else 0 */
    bool is_udp;                    /* the same: its protocol; else false */
    bool avoids_pacing; /* WANTED_ROUTE: a hint, no part of the need, see congestion.h */
    unsigned timeout_s; /* WANTED_MARK_FLOWS: of a flow that is silent; else 0 */
};

/* A target's reply: which rules apply to it? */
struct wanted_reply {
    struct addr source; /* the target; 0.0.0.0 or ::, with its port, for any address */
    uint32_t mark;      /* as the item of its rule has it */
    uint32_t table;
    bool is_udp;
    bool is_routed; /* it comes in by some device, and not from a socket of this host */
};

/* All zero is empty. */
struct wanted {
    struct wanted_item *items; /* owned; in the order of the report */
    size_t n_items;
    struct wanted_reply *replies; /* owned; of everything that wanted_add was called for */
    size_t n_replies;
};

/* Facts of the host on which the wanted state depends. */
struct wanted_host {
    bool has_ipv6;
    bool is_paced; /* its TCP, by default; false for reports: any algorithm will do there */
    /* Where IPv4 replies would leave, each once: a VPN may take half of them; "" behind the last.
     */
    char outbound_v4[WANTED_OUTBOUND_MAX][IF_NAMESIZE];
};

/*
 * Adds what the configuration needs and is not in yet; may be called for several
 * configurations in turn. IPv6 items only where the host has it.
 * returns: 0 or -ENOMEM, then with what was added so far.
 */
int wanted_add(struct wanted *wanted, const struct config *config, const struct wanted_host *host);

/* Adds one item unless its equal is in; no reply with it. returns: 0 or -ENOMEM. */
int wanted_add_item(struct wanted *wanted, const struct wanted_item *item);

void wanted_close(struct wanted *wanted);

/* The same need? */
bool wanted_item_equal(const struct wanted_item *a, const struct wanted_item *b);
bool wanted_has(const struct wanted *wanted, const struct wanted_item *item);

/* Is it a rule of nftables or iptables? Those of ours stand in one table. */
bool wanted_is_mark(const struct wanted_item *item);
bool wanted_has_marks(const struct wanted *wanted);

/* The rule of WANTED_MARK_REPLIES as nft(8) writes it, for a chain in prerouting; returns buf. */
const char *wanted_nft_rule(const struct wanted_item *item, char buf[WANTED_COMMAND_MAX]);

/* An item as one line of a file, and back. returns: false where the line makes no sense. */
void wanted_write_item(FILE *file, const struct wanted_item *item);
bool wanted_parse_item(const char *line, struct wanted_item *out);

/* Does this listener need the item (for its target of the item's family)? */
bool wanted_is_for(const struct wanted_item *item, const struct listener_config *listener,
                   const struct wanted_host *host);

/* The shell command that sets the item up, or takes it down; returns buf. */
const char *wanted_command(const struct wanted_item *item, char buf[WANTED_COMMAND_MAX]);
const char *wanted_undo(const struct wanted_item *item, char buf[WANTED_COMMAND_MAX]);

/* The same for a sysctl; name as in the item. */
const char *wanted_sysctl_command(const char *name, int value, char buf[WANTED_COMMAND_MAX]);

/* The prefix of a rule by source, as text: "127.0.0.0/8" or "::1/128". */
const char *wanted_prefix(sa_family_t family);

/* The IPv4 sysctl of that name for an interface, as sysctl(8) writes it. */
void wanted_device_sysctl(const char *interface, const char *name, char out[WANTED_SYSCTL_MAX]);

/* The sysctl that lets 127.0.0.0/8 be routed over an interface, as sysctl(8) writes it. */
void wanted_localnet_name(const char *interface, char out[WANTED_SYSCTL_MAX]);

#endif
