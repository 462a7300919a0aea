/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * others: other clients than the one that the checks use. Rules of this host may treat them
 * differently. They are found in the rules, and then a connection from each is tried. Over UDP none
 * can be: there it is rules of a firewall alone that are looked at, as they say what they do.
 */
#ifndef MMPROXY_ROUTING_REPORT_OTHERS_H
#define MMPROXY_ROUTING_REPORT_OTHERS_H

#include "mmproxy/net/rtnl.h"
#include "mmproxy/routing/report/firewall.h"
#include "mmproxy/routing/report/report_sink.h"

enum { OTHERS_MAX = 4, OTHERS_TEXT_MAX = 192 };

struct other {
    struct addr client;            /* one of them; with a port where the rule is about ports */
    char who[96];                  /* "in 203.0.113.0/24" */
    bool is_fault;                 /* they are many; else it may be on purpose */
    char rule[OTHERS_TEXT_MAX];    /* of routing, and ... */
    char command[OTHERS_TEXT_MAX]; /* ... what mends it; "": rules of the firewall do it */
};

struct others {
    struct other items[OTHERS_MAX];
    size_t n;
};

/* way: of the check's own client, whose connections do not fail. */
void others_find(struct others *others, struct firewall *firewall, struct rtnl *rtnl,
                 const struct firewall_way *way);

/* The connection of one of them failed. */
void others_report(const struct other *other, struct firewall *firewall,
                   const struct firewall_way *way, const struct report_sink *sink);

#endif
