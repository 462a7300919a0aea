/* SPDX-License-Identifier: BSD-2-Clause */
/* Netlink replies: the input is what a netlink socket was read into. What it says is judged. */
#include <linux/fib_rules.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "mmproxy/net/rtnlmsg.h"
#include "mmproxy/routing/wanted/iptext.h"
#include "mmproxy/routing/wanted/judge.h"

enum { MESSAGES_MAX = 32, UNKNOWN_ATTRIBUTE = 0x3ffe };

/* What all messages of the input say, by family: [0] IPv4, [1] IPv6. */
struct kernel {
    struct rtnl_rule rules[2][MESSAGES_MAX];
    struct rtnl_route routes[2][MESSAGES_MAX];
    size_t n_rules[2];
    size_t n_routes[2];
};

static unsigned bits_of(sa_family_t family)
{
    return family == AF_INET6 ? 128 : 32;
}

static bool is_terminated(const char name[IF_NAMESIZE])
{
    return memchr(name, '\0', IF_NAMESIZE) != NULL;
}

static bool is_rule_equal(const struct rtnl_rule *a, const struct rtnl_rule *b)
{
    char text[2][IPTEXT_RULE_MAX];

    return strcmp(iptext_rule(a, text[0]), iptext_rule(b, text[1])) == 0 &&
           a->priority == b->priority && a->protocol == b->protocol && a->special == b->special &&
           a->is_tunnel == b->is_tunnel;
}

static bool is_route_equal(const struct rtnl_route *a, const struct rtnl_route *b)
{
    return a->family == b->family && a->type == b->type && a->protocol == b->protocol &&
           a->tos == b->tos && a->table == b->table && a->oif == b->oif && a->metric == b->metric &&
           a->dst_len == b->dst_len && a->has_gateway == b->has_gateway &&
           memcmp(a->dst, b->dst, sizeof(a->dst)) == 0 &&
           memcmp(a->gateway, b->gateway, sizeof(a->gateway)) == 0;
}

/*
 * The first len bytes of a message, in memory of their own: reads too far are seen. The kernel
 * may know attributes that we don't: extra adds one, with a value of extra bytes.
 */
static struct nlmsghdr *copy_of(const struct nlmsghdr *msg, size_t len, size_t extra)
{
    size_t aligned = extra > 0 ? (len + 3) & ~(size_t)3 : len;
    size_t room = aligned + (extra > 0 ? sizeof(struct nlattr) + extra : 0);
    struct nlmsghdr *copy = calloc(1, room);

    PROPERTY(copy != NULL);
    memcpy(copy, msg, len);
    copy->nlmsg_len = (uint32_t)room;
    if (extra > 0) {
        struct nlattr attr = { .nla_len = (uint16_t)(sizeof(attr) + extra),
                               .nla_type = UNKNOWN_ATTRIBUTE };
        memcpy((char *)copy + aligned, &attr, sizeof(attr));
    }
    return copy;
}

/* A good message stays the same with an attribute that nobody knows, and is none when cut in it. */
static void check_longer(const struct nlmsghdr *msg, const struct rtnl_rule *rule,
                         const struct rtnl_route *route)
{
    for (size_t extra = 1; extra <= 5; extra++) {
        struct nlmsghdr *longer = copy_of(msg, msg->nlmsg_len, extra);
        struct rtnl_rule rule_again;
        struct rtnl_route route_again;

        PROPERTY(rtnlmsg_rule(longer, &rule_again) == (rule != NULL));
        PROPERTY(rtnlmsg_route(longer, &route_again) == (route != NULL));
        PROPERTY(!rule || is_rule_equal(rule, &rule_again));
        PROPERTY(!route || is_route_equal(route, &route_again));
        longer->nlmsg_len--;
        PROPERTY(!rtnlmsg_rule(longer, &rule_again) && !rtnlmsg_route(longer, &route_again));
        free(longer);
    }
}

static void check_rule(const struct rtnl_rule *rule)
{
    char text[IPTEXT_RULE_MAX];

    PROPERTY(rule->family == AF_INET || rule->family == AF_INET6);
    PROPERTY(rule->src_len <= bits_of(rule->family) && rule->dst_len <= bits_of(rule->family));
    PROPERTY(is_terminated(rule->iif) && is_terminated(rule->oif));
    PROPERTY(strlen(iptext_rule(rule, text)) > strlen("from all "));
    PROPERTY(strlen(text) < IPTEXT_RULE_MAX - 1); /* there is room for everything */
}

static void check_route(const struct rtnl_route *route)
{
    PROPERTY(route->family == AF_INET || route->family == AF_INET6);
    PROPERTY(route->dst_len <= bits_of(route->family));
    PROPERTY(!route->has_gateway || route->gateway_family == AF_INET ||
             route->gateway_family == AF_INET6);
}

static void read_message(const struct nlmsghdr *original, struct kernel *kernel)
{
    struct nlmsghdr *msg = copy_of(original, original->nlmsg_len, 0);
    struct rtnl_rule rule;
    struct rtnl_route route;
    struct rtnl_address address;
    struct rtnl_link link;
    bool is_rule = rtnlmsg_rule(msg, &rule);
    bool is_route = rtnlmsg_route(msg, &route);
    bool is_address = rtnlmsg_address(msg, &address);
    bool is_link = rtnlmsg_link(msg, &link);

    PROPERTY(is_rule + is_route + is_address + is_link <= 1);
    PROPERTY(!is_link || !(link.is_bridge && link.is_veth));
    PROPERTY(!is_address || address.family == AF_INET || address.family == AF_INET6);
    if (is_rule) {
        size_t family = rule.family == AF_INET6;
        check_rule(&rule);
        check_longer(msg, &rule, NULL);
        if (kernel->n_rules[family] < MESSAGES_MAX)
            kernel->rules[family][kernel->n_rules[family]++] = rule;
    } else if (is_route) {
        size_t family = route.family == AF_INET6;
        check_route(&route);
        check_longer(msg, NULL, &route);
        if (kernel->n_routes[family] < MESSAGES_MAX)
            kernel->routes[family][kernel->n_routes[family]++] = route;
    }
    free(msg);
}

static void check_judgement(const struct judgement *out)
{
    PROPERTY(memchr(out->reason, '\0', sizeof(out->reason)) != NULL);
    PROPERTY(memchr(out->note, '\0', sizeof(out->note)) != NULL);
    PROPERTY(out->n_commands <= JUDGE_MENDS_MAX);
    PROPERTY((out->reason[0] != '\0') ==
             (out->verdict == JUDGE_SHADOWED || out->verdict == JUDGE_WRONG));
    PROPERTY((out->n_commands > 0) == (out->reason[0] != '\0' || out->note[0] != '\0'));
    PROPERTY(out->note[0] == '\0' || out->verdict == JUDGE_HOLDS);
    for (size_t i = 0; i < out->n_commands; i++) {
        PROPERTY(memchr(out->commands[i], '\0', sizeof(out->commands[i])) != NULL);
        PROPERTY(strncmp(out->commands[i], "ip ", 3) == 0);
    }
}

static bool has_priority(const struct rtnl_rules *rules, uint32_t priority)
{
    for (size_t i = 0; i < rules->n_items; i++) {
        if (rules->items[i].priority == priority)
            return true;
    }
    return false;
}

static int by_priority(const void *a, const void *b)
{
    const struct rtnl_rule *left = a;
    const struct rtnl_rule *right = b;

    return (left->priority > right->priority) - (left->priority < right->priority);
}

static void check_rules(const struct judge_kernel *kernel, const struct wanted_item *item,
                        const struct wanted *replies)
{
    struct rtnl_routes none = { .items = NULL };
    struct judge_kernel without_routes = { .rules = kernel->rules, .routes = &none };
    struct judgement out;
    bool is_served = false;

    for (size_t i = 0; i < kernel->rules->n_items; i++)
        is_served = is_served || judge_rule_serves(&kernel->rules->items[i], item);
    judge_rule(item, kernel, replies, &out);
    check_judgement(&out);
    PROPERTY(!is_served || out.verdict != JUDGE_MISSING);
    PROPERTY(out.verdict != JUDGE_SHADOWED || has_priority(kernel->rules, out.priority));
    PROPERTY(out.verdict != JUDGE_WRONG);
    judge_rule(item, &without_routes, replies, &out); /* only refusals and jumps are left */
    check_judgement(&out);
}

static void check_routes(const struct judge_kernel *kernel, const struct wanted_item *item)
{
    struct rtnl_routes none = { .items = NULL };
    struct judge_kernel without_routes = { .rules = kernel->rules, .routes = &none };
    struct judgement out;

    judge_route(item, &without_routes, &out);
    PROPERTY(out.verdict == JUDGE_MISSING);
    judge_route(item, kernel, &out);
    check_judgement(&out);
    PROPERTY(out.verdict != JUDGE_SHADOWED);
}

static void judge(struct kernel *kernel, size_t family)
{
    static const uint32_t marks[] = { 0, 123 };
    struct rtnl_rules rules = { kernel->rules[family], kernel->n_rules[family] };
    struct rtnl_routes routes = { kernel->routes[family], kernel->n_routes[family] };
    struct judge_kernel judged = { .rules = &rules, .routes = &routes };
    struct wanted_item item = { .family = family == 0 ? AF_INET : AF_INET6, .table = 100 };
    struct wanted_reply reply = { .table = 100 };
    struct wanted wanted = { .replies = &reply, .n_replies = 1 };

    qsort(rules.items, rules.n_items, sizeof(*rules.items), by_priority);
    PROPERTY(addr_parse(&reply.source, family == 0 ? "127.0.0.1:22" : "[::1]:22") == NULL);
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        item.mark = reply.mark = marks[i];
        item.kind = WANTED_RULE;
        check_rules(&judged, &item, &wanted);
        item.kind = WANTED_ROUTE;
        check_routes(&judged, &item);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct kernel kernel = { .n_rules = { 0 } };
    void *copy = malloc(len > 0 ? len : 1);
    const struct nlmsghdr *msg;
    const void *at = copy;
    size_t left = len;

    PROPERTY(copy != NULL);
    memcpy(copy, bytes, len);
    while ((msg = rtnlmsg_take(&at, &left))) {
        PROPERTY(left <= len - msg->nlmsg_len);
        read_message(msg, &kernel);
    }
    free(copy);
    judge(&kernel, 0);
    judge(&kernel, 1);
    return 0;
}
