/* SPDX-License-Identifier: BSD-2-Clause */
/* judge_support: rules and routes as the kernel tells them, for the tests of judge. */
#ifndef JUDGE_SUPPORT_H
#define JUDGE_SUPPORT_H

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include "mmproxy/routing/wanted/judge.h"
#include "routing_support.h"

/* Rules as the kernel would tell them; the tests change what matters. */
static inline struct rtnl_rule lookup(uint32_t priority, uint32_t table)
{
    return (struct rtnl_rule){
        .family = AF_INET,
        .action = FR_ACT_TO_TBL,
        .priority = priority,
        .table = table,
        .suppress_group = -1,
        .suppress_len = -1,
    };
}

static inline struct rtnl_rule marked(uint32_t priority, uint32_t mark, uint32_t mask,
                                      uint32_t table)
{
    struct rtnl_rule rule = lookup(priority, table);

    rule.mark = mark;
    rule.mask = mask;
    return rule;
}

static inline struct rtnl_rule to(struct rtnl_rule rule, const char *host, uint8_t len)
{
    struct addr addr = support_host(host);

    rule.dst_len = len;
    memcpy(rule.dst, addr_bytes(&addr), 4);
    return rule;
}

static inline struct rtnl_route local_route(uint32_t metric)
{
    return (struct rtnl_route){
        .family = AF_INET, .type = RTN_LOCAL, .table = 100, .oif = 1, .metric = metric
    };
}

static inline struct rtnl_route gateway_route(uint32_t metric)
{
    return (struct rtnl_route){ .family = AF_INET,
                                .type = RTN_UNICAST,
                                .table = 100,
                                .metric = metric,
                                .has_gateway = true,
                                .gateway_family = AF_INET,
                                .gateway = { 10, 0, 0, 1 } };
}

static inline struct rtnl_route unicast(uint32_t table, const char *host, uint8_t len)
{
    struct rtnl_route route = { .family = AF_INET, .type = RTN_UNICAST, .table = table, .oif = 2 };
    struct addr addr = support_host(host);

    route.dst_len = len;
    memcpy(route.dst, addr_bytes(&addr), 4);
    return route;
}

#endif
