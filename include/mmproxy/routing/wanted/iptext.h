/* SPDX-License-Identifier: BSD-2-Clause */
/* iptext: rules and routes in the words of ip(8), for a shell and for people. Pure. */
#ifndef MMPROXY_ROUTING_WANTED_IPTEXT_H
#define MMPROXY_ROUTING_WANTED_IPTEXT_H

#include "mmproxy/net/rtnlmsg.h"
#include "mmproxy/routing/wanted/region.h"

enum { IPTEXT_RULE_MAX = 480, IPTEXT_ROUTE_MAX = 280, IPTEXT_PREFIX_MAX = 52 };

/* "not from all fwmark 0xca6c lookup 51820", without its priority; returns buf. */
const char *iptext_rule(const struct rtnl_rule *rule, char buf[IPTEXT_RULE_MAX]);

/* "unreachable default table 100 metric 5", as `ip route del` takes it; returns buf. */
const char *iptext_route(const struct rtnl_route *route, char buf[IPTEXT_ROUTE_MAX]);

/* "198.51.100.0/24", an address alone where it is one; returns buf. */
const char *iptext_prefix(sa_family_t family, const struct region_prefix *prefix,
                          char buf[IPTEXT_PREFIX_MAX]);

#endif
