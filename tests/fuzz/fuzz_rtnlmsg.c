/* SPDX-License-Identifier: BSD-2-Clause */
/* Netlink replies: the input is what a netlink socket was read into. What it says is judged. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "mmproxy/net/rtnlmsg.h"
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
    char text[2][JUDGE_TEXT_MAX];

    return strcmp(judge_format_rule(a, text[0]), judge_format_rule(b, text[1])) == 0 &&
           a->priority == b->priority && a->protocol == b->protocol && a->special == b->special &&
           a->ip_protocol == b->ip_protocol && a->suppress_len == b->suppress_len;
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
    struct wanted_item item = { .kind = WANTED_RULE, .mark = 123, .table = 100 };
    char text[JUDGE_TEXT_MAX];

    PROPERTY(rule->family == AF_INET || rule->family == AF_INET6);
    PROPERTY(rule->src_len <= bits_of(rule->family) && rule->dst_len <= bits_of(rule->family));
    PROPERTY(is_terminated(rule->iif) && is_terminated(rule->oif));
    PROPERTY(strlen(judge_format_rule(rule, text)) > strlen("from all "));
    PROPERTY(strlen(text) < JUDGE_TEXT_MAX - 1);
    item.family = rule->family;
    item.source.sa.sa_family = rule->family;
    /* A rule that sends every reply to the table applies to each of them. */
    if (judge_rule_serves(rule, &item))
        PROPERTY(judge_rule_applies(rule, &item, NULL));
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
    bool is_rule = rtnlmsg_rule(msg, &rule);
    bool is_route = rtnlmsg_route(msg, &route);
    bool is_address = rtnlmsg_address(msg, &address);

    PROPERTY(is_rule + is_route + is_address <= 1);
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
    PROPERTY(out->n_mends <= JUDGE_MENDS_MAX);
    PROPERTY((out->reason[0] != '\0') ==
             (out->verdict == JUDGE_SHADOWED || out->verdict == JUDGE_WRONG));
    PROPERTY(out->reason[0] != '\0' || out->n_mends == 0);
    PROPERTY(out->verdict != JUDGE_WRONG || out->n_mends > 0);
    for (size_t i = 0; i < out->n_mends; i++) {
        PROPERTY(memchr(out->mends[i], '\0', sizeof(out->mends[i])) != NULL);
        PROPERTY(strncmp(out->mends[i], "ip ", 3) == 0);
    }
}

/* Is there a rule of that priority that may be in the way? */
static bool is_in_the_way(const struct rtnl_rules *rules, const struct wanted_item *item,
                          const struct judgement *judgement)
{
    for (size_t i = 0; i < rules->n_items && !judge_rule_serves(&rules->items[i], item); i++) {
        if (rules->items[i].priority == judgement->priority &&
            judge_rule_applies(&rules->items[i], item, NULL))
            return true;
    }
    return false;
}

static void check_rules(const struct rtnl_rules *rules, const struct wanted_item *item,
                        const struct judge_probe *probes, size_t n_probes)
{
    struct judgement out;
    struct judgement unprobed;
    bool is_served = false;

    for (size_t i = 0; i < rules->n_items; i++)
        is_served = is_served || judge_rule_serves(&rules->items[i], item);
    judge_rule(item, rules, probes, n_probes, &out);
    judge_rule(item, rules, NULL, 0, &unprobed);
    check_judgement(&out);
    PROPERTY(unprobed.verdict == (is_served ? JUDGE_HOLDS : JUDGE_MISSING));
    if (out.verdict == JUDGE_SHADOWED) {
        PROPERTY(is_served && is_in_the_way(rules, item, &out));
        PROPERTY(out.n_mends == (out.priority > 0 ? 1 : 0));
    } else {
        PROPERTY(out.verdict == unprobed.verdict);
    }
}

static void check_routes(const struct rtnl_routes *routes, const struct wanted_item *item,
                         const struct judge_probe *probes, size_t n_probes)
{
    struct rtnl_routes none = { .items = NULL };
    struct judgement out;

    judge_route(item, &none, probes, n_probes, &out);
    PROPERTY(out.verdict == JUDGE_MISSING);
    judge_route(item, routes, probes, n_probes, &out);
    check_judgement(&out);
    PROPERTY(out.verdict != JUDGE_SHADOWED);
}

/* The kernel's answers are routes, and what it refuses. */
static size_t make_probes(const struct rtnl_routes *routes, sa_family_t family,
                          struct judge_probe *probes)
{
    static const int errors[] = { 0, 0, -EINVAL, -ENETUNREACH };
    size_t n = 0;

    for (size_t i = 0; i < routes->n_items; i++) {
        const struct rtnl_route *route = &routes->items[i];
        struct judge_probe *probe = &probes[n++];

        *probe = (struct judge_probe){ .error = errors[(route->protocol ^ route->tos) % 4] };
        probe->has_answer = probe->error != -ENETUNREACH;
        probe->answer = *route;
        addr_from_bytes(&probe->dst, family, route->dst, 0);
    }
    return n;
}

static void judge(struct kernel *kernel, size_t family)
{
    static const uint32_t marks[] = { 0, 123 };
    struct rtnl_rules rules = { kernel->rules[family], kernel->n_rules[family] };
    struct rtnl_routes routes = { kernel->routes[family], kernel->n_routes[family] };
    struct wanted_item item = { .family = family == 0 ? AF_INET : AF_INET6, .table = 100 };
    struct judge_probe probes[MESSAGES_MAX];
    size_t n_probes = make_probes(&routes, item.family, probes);

    PROPERTY(addr_parse_host(&item.source, family == 0 ? "127.0.0.1" : "::1") == NULL);
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        item.mark = marks[i];
        item.kind = WANTED_RULE;
        check_rules(&rules, &item, probes, n_probes);
        item.kind = WANTED_ROUTE;
        check_routes(&routes, &item, probes, n_probes);
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
