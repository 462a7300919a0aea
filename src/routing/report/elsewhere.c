/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/elsewhere.h"

#include "mmproxy/base/shell.h"
#include "mmproxy/net/sock.h"

void elsewhere_down(struct firewall *firewall, const struct firewall_way *way,
                    const struct report_sink *sink)
{
    char device[SHELL_QUOTED_MAX(IF_NAMESIZE)];
    char text[ADDR_STRLEN];

    addr_format(&way->target, text);
    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Target server %s seems to be down: connection refused by the "
                     "machine behind %s. Start the service there, and let it listen on %s: one "
                     "that listens on 127.0.0.1 alone can't be reached from here.",
                     text, shell_quote(way->device, device, sizeof device), text);
    (void)firewall_report(firewall, way, RULESET_REFUSES, sink);
}

void elsewhere_silent(const struct firewall_way *way, const struct report_sink *sink)
{
    char host[ADDR_STRLEN];

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Does the machine or container run, and has it the address %s? "
                     "Its firewall may drop the packets. To see whether it answers at all: ping %s",
                     addr_format_host(&way->target, host), host);
}

static bool is_behind_gateway(struct rtnl *rtnl, const struct addr *target)
{
    struct rtnl_route route;

    return rtnl_lookup(rtnl, target, NULL, 0, &route) == 0 && route.has_gateway;
}

void elsewhere_lost(struct rtnl *rtnl, const struct firewall_way *way,
                    const struct report_sink *sink)
{
    bool is_v6 = addr_family(&way->target) == AF_INET6;
    struct addr own = sock_source_for(&way->target);
    char host[ADDR_STRLEN];
    char gateway[ADDR_STRLEN];

    addr_format_host(&way->target, host);
    addr_format_host(&own, gateway);
    if (is_behind_gateway(rtnl, &way->target))
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Replies of %s to clients do not come back through this host. "
                         "%s, and each router from there to here, must have this host as the "
                         "gateway of its default route.",
                         host, host);
    else
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Replies of %s to clients do not come back through this host: "
                         "it has no default route, or one by another gateway. Make this host its "
                         "gateway; there: ip %sroute replace default via %s. A container network "
                         "that is \"internal\" has no gateway: use one that is not.",
                         host, is_v6 ? "-6 " : "", gateway);
}
