/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/others.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/routing/kernel/survey.h"
#include "mmproxy/routing/wanted/iptext.h"
#include "mmproxy/routing/wanted/ruleclients.h"
#include "mmproxy/routing/wanted/special.h"

enum {
    NAMED_MAX = 32, /* kinds of clients that rules name, for a target */
    /* A prefix of this length, or a shorter one, is too large to be banned on purpose. */
    MANY_V4 = 8,
    MANY_V6 = 16,
    BUDGET_MS = 300,                  /* for a target: a ruleset may be huge */
    WHOLE_MAX = OTHERS_TEXT_MAX - 32, /* a longer rule is not told: what is cut is no command */
};

static bool has(const struct prefix *prefix, const struct addr *addr)
{
    const uint8_t *a = addr_bytes(&prefix->addr);
    const uint8_t *b = addr_bytes(addr);
    unsigned whole = prefix->len / 8;
    unsigned rest = prefix->len % 8;

    return addr_family(&prefix->addr) == addr_family(addr) && memcmp(a, b, whole) == 0 &&
           (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

/* A public address in the prefix. returns: false where none is at hand. */
static bool choose_client(const struct prefix *prefix, struct addr *out)
{
    sa_family_t family = addr_family(&prefix->addr);
    size_t len = family == AF_INET6 ? 16 : 4;
    struct prefix one = { .len = (unsigned)len * 8 };
    uint8_t bytes[16];

    for (size_t i = 0; survey_sample(family, i, out); i++) {
        if (has(prefix, out))
            return true;
    }
    memcpy(bytes, addr_bytes(&prefix->addr), len);
    bytes[len - 1] |= 1;
    addr_from_bytes(out, family, bytes, 0);
    one.addr = *out;
    return special_is_public(&one);
}

static bool is_many(const struct prefix *prefix)
{
    return prefix->len <= (addr_family(&prefix->addr) == AF_INET6 ? MANY_V6 : MANY_V4);
}

/* Is this client there already? The first rule about it is the one in its way. */
static bool is_known(const struct others *others, const struct addr *client)
{
    for (size_t i = 0; i < others->n; i++) {
        if (addr_equal(&others->items[i].client, client))
            return true;
    }
    return false;
}

static void add(struct others *others, const struct other *other)
{
    if (others->n < OTHERS_MAX && !is_known(others, &other->client))
        others->items[others->n++] = *other;
}

static void name_prefix(struct other *other, const struct prefix *prefix)
{
    char host[ADDR_STRLEN];

    snprintf(other->who, sizeof other->who, "in %s/%u", addr_format_host(&prefix->addr, host),
             prefix->len);
}

/* returns: false where the rule is about no client that there may be. */
static bool describe(struct other *other, const struct ruleclients *named,
                     const struct firewall_way *way)
{
    *other = (struct other){ .client = way->client };
    addr_set_port(&other->client, 0);
    if (named->last_port != 0) {
        snprintf(other->who, sizeof other->who, "with ports from %u to %u", named->first_port,
                 named->last_port);
        addr_set_port(&other->client,
                      (uint16_t)(named->first_port + (named->last_port - named->first_port) / 2));
        other->is_fault = true;
        return true;
    }
    name_prefix(other, &named->prefix);
    other->is_fault = is_many(&named->prefix);
    return choose_client(&named->prefix, &other->client);
}

static bool is_refused(struct firewall *firewall, const struct firewall_way *way,
                       const struct addr *client)
{
    struct firewall_way other = *way;
    struct ruleset_list list = { .n_items = 0 };

    other.client = *client;
    if (addr_port(client) == 0)
        addr_set_port(&other.client, addr_port(&way->client));
    return firewall_find_listed(firewall, &other, RULESET_REFUSES | firewall_marks(way), &list);
}

/*
 * Public clients that no rule names. One sample may be banned on purpose, as an address of
 * documents is; two are more than that.
 */
static void find_unnamed(struct others *others, struct firewall *firewall,
                         const struct firewall_way *way, uint64_t end_ms)
{
    struct other first = { .is_fault = true };
    struct other other = first;
    char host[ADDR_STRLEN];
    size_t n_refused = 0;

    for (size_t i = 0; survey_sample(addr_family(&way->target), i, &other.client) &&
                       n_refused < 2 && clock_now_ms() < end_ms;
         i++) {
        if (is_refused(firewall, way, &other.client) && n_refused++ == 0)
            first = other;
    }
    if (n_refused < 2)
        return;
    snprintf(first.who, sizeof first.who, "such as %s", addr_format_host(&first.client, host));
    add(others, &first);
}

/* Clients that rules of a firewall name; public ones where they name none. */
static void find_refused(struct others *others, struct firewall *firewall,
                         const struct firewall_way *way)
{
    sa_family_t family = addr_family(&way->target);
    struct ruleclients named[NAMED_MAX];
    size_t n = ruleclients_find(firewall_text(firewall), family, named, NAMED_MAX);
    uint64_t end_ms = clock_now_ms() + BUDGET_MS;
    struct other other;

    for (size_t i = 0; i < n && clock_now_ms() < end_ms; i++) {
        if (describe(&other, &named[i], way) && is_refused(firewall, way, &other.client))
            add(others, &other);
    }
    if (others->n == 0)
        find_unnamed(others, firewall, way, end_ms);
}

/* A rule for their packets on the way to the target. */
static void add_by_rule(struct others *others, const struct rtnl_rule *rule,
                        const struct addr *target)
{
    const char *ip = rule->family == AF_INET6 ? "ip -6" : "ip";
    struct other other = { .is_fault = false };
    struct prefix prefix = { .len = rule->src_len };
    char text[IPTEXT_RULE_MAX];
    char host[ADDR_STRLEN];

    addr_from_bytes(&prefix.addr, rule->family, rule->src, 0);
    if (!choose_client(&prefix, &other.client) || strlen(iptext_rule(rule, text)) > WHOLE_MAX)
        return;
    other.is_fault = is_many(&prefix); /* a few may be this host's own network */
    name_prefix(&other, &prefix);
    snprintf(other.rule, sizeof other.rule, "rule %u (%.*s)", rule->priority, WHOLE_MAX, text);
    if (rule->priority > 0)
        snprintf(other.command, sizeof other.command,
                 "%s rule add to %s iif lo lookup main priority %u", ip,
                 addr_format_host(target, host), rule->priority - 1);
    add(others, &other);
}

static bool is_towards(const struct rtnl_rule *rule, const struct addr *target)
{
    struct prefix prefix = { .len = rule->dst_len };

    addr_from_bytes(&prefix.addr, rule->family, rule->dst, 0);
    return has(&prefix, target);
}

/* Does the rule look at the source of what leaves for the target? */
static bool is_by_source(const struct rtnl_rule *rule, bool is_v6)
{
    return rule->src_len > 0 && rule->src_len <= (is_v6 ? 64 : 24) && !rule->invert &&
           (rule->iif[0] == '\0' || strcmp(rule->iif, "lo") == 0) && rule->mask == 0;
}

/* Rules that come before the table in which the target's route is. */
static void find_by_rules(struct others *others, struct rtnl *rtnl, const struct addr *target)
{
    sa_family_t family = addr_family(target);
    struct rtnl_rules rules = { 0 };
    struct rtnl_route route;

    if (rtnl_lookup(rtnl, target, NULL, 0, &route) == 0 &&
        rtnl_dump_rules(rtnl, family, &rules) == 0) {
        for (size_t i = 0; i < rules.n_items; i++) {
            const struct rtnl_rule *rule = &rules.items[i];

            if (!is_towards(rule, target))
                continue;
            if (rule->action == FR_ACT_TO_TBL && rule->table == route.table && rule->src_len == 0 &&
                rule->mask == 0)
                break;
            if (is_by_source(rule, family == AF_INET6))
                add_by_rule(others, rule, target);
        }
    }
    rtnl_rules_close(&rules);
}

/* A reply that has no route is dropped before a mark could give it one. */
static void add_by_route(struct others *others, const struct rtnl_route *route)
{
    struct prefix prefix = { .len = route->dst_len };
    struct other other = { .is_fault = false };
    char text[IPTEXT_ROUTE_MAX];

    addr_from_bytes(&prefix.addr, route->family, route->dst, 0);
    iptext_route(route, text);
    if (prefix.len == 0 || !choose_client(&prefix, &other.client) || strlen(text) > WHOLE_MAX)
        return;
    other.is_fault = is_many(&prefix);
    name_prefix(&other, &prefix);
    snprintf(other.rule, sizeof other.rule, "route %.*s", WHOLE_MAX, text);
    snprintf(other.command, sizeof other.command, "ip %sroute del %.*s",
             route->family == AF_INET6 ? "-6 " : "", WHOLE_MAX, text);
    add(others, &other);
}

static void find_by_routes(struct others *others, struct rtnl *rtnl, sa_family_t family)
{
    static const uint8_t types[] = { RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT };

    for (size_t i = 0; i < sizeof types; i++) {
        const struct rtnl_filter filter = { .table = RT_TABLE_MAIN, .type = types[i] };
        struct rtnl_routes routes = { 0 };

        (void)rtnl_dump_routes(rtnl, family, filter, &routes);
        for (size_t j = 0; j < routes.n_items && others->n < OTHERS_MAX; j++)
            add_by_route(others, &routes.items[j]);
        rtnl_routes_close(&routes);
    }
}

static bool is_marked_late(const struct firewall_way *way)
{
    return listener_config_return_path(way->listener, addr_family(&way->target)) ==
           RETURN_PATH_CONNMARK;
}

void others_find(struct others *others, struct firewall *firewall, struct rtnl *rtnl,
                 const struct firewall_way *way)
{
    others->n = 0;
    if (way->listener->protocol == PROTOCOL_TCP)
        find_by_rules(others, rtnl, &way->target);
    if (is_marked_late(way))
        find_by_routes(others, rtnl, addr_family(&way->target));
    find_refused(others, firewall, way);
}

static void report_note(const struct other *other, struct firewall *firewall,
                        const struct firewall_way *way, const char *target,
                        const struct report_sink *sink)
{
    struct ruleset_list list = { .n_items = 0 };
    const char *rule = other->rule;
    const char *command = other->command;

    if (rule[0] == '\0' &&
        firewall_find_listed(firewall, way, RULESET_REFUSES | firewall_marks(way), &list)) {
        rule = list.items[0].rule;
        command = list.items[0].command;
    }
    if (rule[0] != '\0')
        report_sink_line(sink, LOG_LEVEL_NOTICE,
                         "[ ] Clients %s can't reach target server %s: %s. Unless that is on "
                         "purpose: %s%s",
                         other->who, target, rule, report_sink_prefix(sink), command);
}

void others_report(const struct other *other, struct firewall *firewall,
                   const struct firewall_way *way, const struct report_sink *sink)
{
    struct firewall_way theirs = *way;
    char text[ADDR_STRLEN];

    theirs.client = other->client;
    if (addr_port(&theirs.client) == 0)
        addr_set_port(&theirs.client, addr_port(&way->client));
    addr_format(&way->target, text);
    if (!other->is_fault) {
        report_note(other, firewall, &theirs, text, sink);
        return;
    }
    report_sink_line(
        sink, LOG_LEVEL_WARNING,
        "[!] FAILED: Clients %s can't reach target server %s, although others can.%s%s%s",
        other->who, text, other->rule[0] != '\0' ? " In the way is " : "", other->rule,
        other->command[0] != '\0' ? "; this command mends it:" : "");
    if (other->command[0] != '\0')
        report_sink_command(sink, other->command);
    else if (other->rule[0] == '\0')
        (void)firewall_report(firewall, &theirs, RULESET_REFUSES | firewall_marks(way), sink);
}
