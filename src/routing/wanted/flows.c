/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/flows.h"

#include <stdio.h>

/* Flows at a time, of all listeners with one mark and timeout; the kernel takes 4 MB for them. */
enum { FLOWS_MAX = 262144 };

static const char *ip(const struct wanted_item *item)
{
    return item->family == AF_INET6 ? "ip6" : "ip";
}

const char *flows_set(const struct wanted_item *item, char buf[FLOWS_SET_MAX])
{
    snprintf(buf, FLOWS_SET_MAX, "flows%d_%u_%u", item->family == AF_INET6 ? 6 : 4, item->mark,
             item->timeout_s);
    return buf;
}

const char *flows_definition(const struct wanted_item *item, char buf[FLOWS_TEXT_MAX])
{
    snprintf(buf, FLOWS_TEXT_MAX,
             "type %s . inet_service . inet_service; size %d; flags dynamic,timeout; timeout %us;",
             item->family == AF_INET6 ? "ipv6_addr" : "ipv4_addr", FLOWS_MAX, item->timeout_s);
    return buf;
}

const char *flows_record_rule(const struct wanted_item *item, char buf[FLOWS_TEXT_MAX])
{
    char set[FLOWS_SET_MAX];

    snprintf(buf, FLOWS_TEXT_MAX,
             "meta mark %u meta l4proto udp update @%s { %s saddr . udp sport . udp dport }",
             item->mark, flows_set(item, set), ip(item));
    return buf;
}

/* A service may still send to a client that is silent: that keeps the flow too. */
const char *flows_mark_rule(const struct wanted_item *item, char buf[FLOWS_TEXT_MAX])
{
    char set[FLOWS_SET_MAX];
    const char *name = flows_set(item, set);

    snprintf(buf, FLOWS_TEXT_MAX,
             "%s daddr . udp dport . udp sport @%s update @%s { %s daddr . udp dport . udp sport } "
             "meta mark set %u",
             ip(item), name, name, ip(item), item->mark);
    return buf;
}

unsigned flows_timeout_of(const char *set)
{
    unsigned family;
    unsigned mark;
    unsigned timeout_s;

    return sscanf(set, "flows%1u_%u_%u", &family, &mark, &timeout_s) == 3 ? timeout_s : 0;
}
