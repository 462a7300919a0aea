/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * firewall: what nftables and iptables-legacy do to the connections between clients and a target,
 * told with the commands that mend it. The rules are read when they are first asked for.
 */
#ifndef MMPROXY_ROUTING_REPORT_FIREWALL_H
#define MMPROXY_ROUTING_REPORT_FIREWALL_H

#include <net/if.h>

#include "mmproxy/config/config.h"
#include "mmproxy/routing/report/report_sink.h"
#include "mmproxy/routing/wanted/ruleset.h"

/* All zero is nothing read. */
struct firewall {
    bool is_read;
    char *text; /* owned; NULL where it can't be read */
    bool has_elements;
    size_t legacy_at;   /* in text: behind the rules of nftables */
    const char *unread; /* whose rules can't be read: "iptables-legacy"; NULL: nobody's */
};

/* The way of a connection, there and back. */
struct firewall_way {
    const struct listener_config *listener;
    struct addr client; /* with a port */
    struct addr target;
    bool is_local;            /* the target is on this host: all goes over lo */
    char device[IF_NAMESIZE]; /* else: that leads to it */
    /* That a reply is bound for until connmark or flows mark it; "": it goes over lo at once. */
    char unmarked[IF_NAMESIZE];
};

void firewall_close(struct firewall *firewall);

/* Adds what has one of these effects (or-ed) on the way. returns: list->n_items > 0 */
bool firewall_find(struct firewall *firewall, const struct firewall_way *way, unsigned effects,
                   struct ruleset_list *list);

/* The same by what the rules themselves say: the elements of sets are not read for it. */
bool firewall_find_listed(struct firewall *firewall, const struct firewall_way *way,
                          unsigned effects, struct ruleset_list *list);

/* The text of the rules, "" where they can't be read. */
const char *firewall_text(struct firewall *firewall);

/* Which effects on marks and conntrack are in the way of the listener's return path? */
unsigned firewall_marks(const struct firewall_way *way);

/* To see the rules, for a reader: "nft list ruleset", or more. */
const char *firewall_listing(const struct firewall *firewall);

/* Tells all of it. returns: was anything found? */
bool firewall_report(struct firewall *firewall, const struct firewall_way *way, unsigned effects,
                     const struct report_sink *sink);

#endif
