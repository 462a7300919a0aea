/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host_faults: faults of the host itself, told with the commands that mend them: of lo and its
 * addresses, of the rule for the kernel's own table, of conntrack when it is full.
 */
#ifndef MMPROXY_ROUTING_REPORT_HOST_FAULTS_H
#define MMPROXY_ROUTING_REPORT_HOST_FAULTS_H

#include "mmproxy/net/rtnl.h"
#include "mmproxy/routing/report/firewall.h"
#include "mmproxy/routing/report/report_sink.h"

/* Each tells what is wrong, if it is. returns: is it? */

/* lo is down: then nothing on this host works, and routes over lo can't be added. */
bool host_faults_lo(const struct report_sink *sink);

/* A target on loopback is not local. */
bool host_faults_loopback(struct rtnl *rtnl, const struct addr *target,
                          const struct report_sink *sink);

/* Nothing comes back from a target on this host, and no rule is in the way. */
bool host_faults_silence(struct rtnl *rtnl, const struct report_sink *sink);

/* Replies of a target on another machine do not arrive: does this host take them for forged? */
bool host_faults_filter(const struct firewall_way *way, const struct report_sink *sink);

#endif
