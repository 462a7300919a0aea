/* SPDX-License-Identifier: BSD-2-Clause */
/* survey: looks at this host and tells which of the wanted items hold, and why others don't. */
#ifndef MMPROXY_ROUTING_KERNEL_SURVEY_H
#define MMPROXY_ROUTING_KERNEL_SURVEY_H

#include "mmproxy/net/rtnl.h"
#include "mmproxy/routing/wanted/judge.h"
#include "mmproxy/routing/wanted/wanted.h"

struct survey {
    struct judgement *items; /* owned; one for each wanted item */
    /*
     * connmark marks a reply only after it got a route: these families have connmark items
     * and no route at all. [0] is IPv4, [1] IPv6.
     */
    bool no_route[2];
    bool no_iptables; /* there was reason to ask iptables, and it is not installed */
};

/* What wanted_add wants to know. returns: 0 or -errno. */
int survey_host(struct rtnl *rtnl, struct wanted_host *out);

/*
 * Judges every wanted item. It reads and runs (iptables, for save and restore items) but
 * changes nothing, and takes its time: not for the supervisor.
 * returns: 0, or -errno; survey_close is due in either case.
 */
int survey_run(struct survey *survey, const struct wanted *wanted, struct rtnl *rtnl);
void survey_close(struct survey *survey);

/*
 * Judges rules, routes and sysctls alone, and never waits; the other items' verdict is
 * JUDGE_UNKNOWN. returns: as survey_run.
 */
int survey_routing(struct survey *survey, const struct wanted *wanted, struct rtnl *rtnl);

/* An address that no client has: 192.0.2.1 or 2001:db8::1, port 0. */
struct addr survey_client(sa_family_t family);

#endif
