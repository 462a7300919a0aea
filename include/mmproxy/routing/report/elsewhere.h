/* SPDX-License-Identifier: BSD-2-Clause */
/* elsewhere: why a target on another machine does not answer, as far as this host can tell. */
#ifndef MMPROXY_ROUTING_REPORT_ELSEWHERE_H
#define MMPROXY_ROUTING_REPORT_ELSEWHERE_H

#include "mmproxy/net/rtnl.h"
#include "mmproxy/routing/report/firewall.h"
#include "mmproxy/routing/report/report_sink.h"

/* It refuses connections. */
void elsewhere_down(struct firewall *firewall, const struct firewall_way *way,
                    const struct report_sink *sink);

/* It does not answer at all, and no rule of this host's is in the way. */
void elsewhere_silent(const struct firewall_way *way, const struct report_sink *sink);

/* It answers this host and no client, and nothing of this host's is in the way. */
void elsewhere_lost(struct rtnl *rtnl, const struct firewall_way *way,
                    const struct report_sink *sink);

#endif
