/* SPDX-License-Identifier: BSD-2-Clause */
/* Netlink replies: the input is what a netlink socket was read into. */
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "mmproxy/routing/judge.h"
#include "mmproxy/routing/rtnlmsg.h"

static unsigned bits_of(sa_family_t family)
{
    return family == AF_INET6 ? 128 : 32;
}

static bool is_terminated(const char name[IF_NAMESIZE])
{
    return memchr(name, '\0', IF_NAMESIZE) != NULL;
}

static void check_rule(const struct nlmsghdr *msg)
{
    struct wanted_item item = { .kind = WANTED_RULE, .mark = 123, .table = 100 };
    char text[JUDGE_TEXT_MAX];
    struct rtnl_rule rule;

    if (!rtnlmsg_rule(msg, &rule))
        return;
    PROPERTY(rule.family == AF_INET || rule.family == AF_INET6);
    PROPERTY(rule.src_len <= bits_of(rule.family) && rule.dst_len <= bits_of(rule.family));
    PROPERTY(is_terminated(rule.iif) && is_terminated(rule.oif));
    PROPERTY(strlen(judge_format_rule(&rule, text)) > strlen("from all "));
    item.family = rule.family;
    item.source.sa.sa_family = rule.family;
    /* A rule that sends every reply to the table applies to each of them. */
    if (judge_rule_serves(&rule, &item))
        PROPERTY(judge_rule_applies(&rule, &item, NULL));
}

static void check_route(const struct nlmsghdr *msg)
{
    struct rtnl_route route;

    if (!rtnlmsg_route(msg, &route))
        return;
    PROPERTY(route.family == AF_INET || route.family == AF_INET6);
    PROPERTY(route.dst_len <= bits_of(route.family));
    PROPERTY(!route.has_gateway || route.gateway_family == AF_INET ||
             route.gateway_family == AF_INET6);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    void *copy = malloc(len > 0 ? len : 1);
    const struct nlmsghdr *msg;
    const void *at = copy;
    size_t left = len;

    PROPERTY(copy != NULL);
    memcpy(copy, bytes, len);
    while ((msg = rtnlmsg_take(&at, &left))) {
        PROPERTY(left <= len - msg->nlmsg_len);
        check_rule(msg);
        check_route(msg);
    }
    free(copy);
    return 0;
}
