/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/judge.h"

#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "mmproxy/base/shell.h"

static bool in_prefix(const uint8_t *address, const uint8_t *prefix, unsigned len)
{
    unsigned whole = len / 8;
    unsigned rest = len % 8;

    if (memcmp(address, prefix, whole) != 0)
        return false;
    return rest == 0 || ((address[whole] ^ prefix[whole]) >> (8 - rest)) == 0;
}

static bool is_empty_or(const char *name, const char *wanted)
{
    return name[0] == '\0' || strcmp(name, wanted) == 0;
}

static bool mark_matches(const struct rtnl_rule *rule, uint32_t mark)
{
    return (mark & rule->mask) == rule->mark;
}

bool judge_rule_serves(const struct rtnl_rule *rule, const struct wanted_item *item)
{
    static const uint8_t loopback_v4[16] = { 127 };
    static const uint8_t loopback_v6[16] = { [15] = 1 };
    bool is_v6 = item->family == AF_INET6;

    if (rule->family != item->family || rule->action != FR_ACT_TO_TBL ||
        rule->table != item->table || rule->invert || rule->special || rule->dst_len != 0 ||
        rule->suppress_len >= 0 || rule->oif[0] != '\0' || !is_empty_or(rule->iif, "lo") ||
        (rule->ip_protocol != 0 && rule->ip_protocol != IPPROTO_TCP))
        return false;
    if (item->mark != 0)
        return rule->src_len == 0 && mark_matches(rule, item->mark);
    return rule->mask == 0 && rule->src_len <= (is_v6 ? 128 : 8) &&
           in_prefix(is_v6 ? loopback_v6 : loopback_v4, rule->src, rule->src_len);
}

bool judge_rule_applies(const struct rtnl_rule *rule, const struct wanted_item *item,
                        const struct addr *dst)
{
    bool match;

    if (rule->family != item->family)
        return false;
    match = is_empty_or(rule->iif, "lo") && rule->oif[0] == '\0' &&
            mark_matches(rule, item->mark) &&
            (rule->ip_protocol == 0 || rule->ip_protocol == IPPROTO_TCP) &&
            in_prefix(addr_bytes(&item->source), rule->src, rule->src_len) &&
            (!dst || in_prefix(addr_bytes(dst), rule->dst, rule->dst_len));
    if (rule->invert && rule->dst_len != 0 && !dst)
        return true; /* to every address that is not in the prefix */
    /* A selector that is not told apart may or may not match: it might be in the way. */
    return rule->special || match != rule->invert;
}

static void format_prefix(sa_family_t family, const uint8_t *bytes, unsigned len,
                          char out[INET6_ADDRSTRLEN + 4])
{
    char text[INET6_ADDRSTRLEN] = "";

    inet_ntop(family, bytes, text, sizeof(text));
    if (len == (family == AF_INET6 ? 128U : 32U))
        snprintf(out, INET6_ADDRSTRLEN + 4, "%s", text);
    else
        snprintf(out, INET6_ADDRSTRLEN + 4, "%s/%u", text, len);
}

static const char *action_name(uint8_t action)
{
    switch (action) {
    case FR_ACT_BLACKHOLE:
        return "blackhole";
    case FR_ACT_UNREACHABLE:
        return "unreachable";
    case FR_ACT_PROHIBIT:
        return "prohibit";
    case FR_ACT_GOTO:
        return "goto";
    default:
        return "nop";
    }
}

const char *judge_format_rule(const struct rtnl_rule *rule, char buf[JUDGE_TEXT_MAX])
{
    char src[INET6_ADDRSTRLEN + 4] = "all";
    char dst[INET6_ADDRSTRLEN + 4] = "";
    char mark[32] = "";
    char iif[SHELL_QUOTED_MAX(IF_NAMESIZE)];
    char target[64];

    if (rule->src_len != 0)
        format_prefix(rule->family, rule->src, rule->src_len, src);
    if (rule->dst_len != 0)
        format_prefix(rule->family, rule->dst, rule->dst_len, dst);
    if (rule->mask == UINT32_MAX)
        snprintf(mark, sizeof(mark), " fwmark 0x%x", rule->mark);
    else if (rule->mask != 0)
        snprintf(mark, sizeof(mark), " fwmark 0x%x/0x%x", rule->mark, rule->mask);
    if (rule->action == FR_ACT_TO_TBL)
        snprintf(target, sizeof(target), "lookup %u", rule->table);
    else
        snprintf(target, sizeof(target), "%s", action_name(rule->action));
    snprintf(buf, JUDGE_TEXT_MAX, "%sfrom %s%s%s%s%s%s %s", rule->invert ? "not " : "", src,
             dst[0] ? " to " : "", dst, mark, rule->iif[0] ? " iif " : "",
             rule->iif[0] ? shell_quote(rule->iif, iif, sizeof(iif)) : "", target);
    return buf;
}

static void add_mend(struct judgement *out, const char *command)
{
    if (out->n_mends < JUDGE_MENDS_MAX)
        snprintf(out->mends[out->n_mends++], JUDGE_TEXT_MAX, "%s", command);
}

static bool is_local(const struct judge_probe *probe)
{
    return probe->error == 0 && probe->answer.type == RTN_LOCAL;
}

/* May this rule be why the kernel answered so? */
static bool explains(const struct rtnl_rule *rule, const struct judge_probe *probe)
{
    if (rule->action != FR_ACT_TO_TBL)
        return rule->action != FR_ACT_NOP && rule->action != FR_ACT_RES3;
    if (rule->table == RT_TABLE_LOCAL)
        return false;
    if (!probe->has_answer)
        return true; /* its table may hold an unreachable or blackhole route */
    if (probe->error != 0 && rule->src_len != 0)
        return true; /* the answer is one without the source */
    return rule->table == probe->answer.table &&
           (rule->suppress_len < 0 || probe->answer.dst_len > rule->suppress_len);
}

/* The first rule before rules[end] that takes the probe's reply away; NULL: none does. */
static const struct rtnl_rule *culprit(const struct wanted_item *item,
                                       const struct rtnl_rules *rules, size_t end,
                                       const struct judge_probe *probe)
{
    for (size_t i = 0; i < end; i++) {
        const struct rtnl_rule *rule = &rules->items[i];

        if (judge_rule_applies(rule, item, &probe->dst) && explains(rule, probe))
            return rule;
    }
    return NULL;
}

static void tell_shadowed(const struct wanted_item *item, const struct rtnl_rule *rule,
                          struct judgement *out)
{
    char text[JUDGE_TEXT_MAX];
    char command[WANTED_COMMAND_MAX + 32];
    char plain[WANTED_COMMAND_MAX];

    out->verdict = JUDGE_SHADOWED;
    out->priority = rule->priority;
    snprintf(out->reason, sizeof(out->reason),
             "rule %u (%.120s) comes before it and takes the "
             "replies",
             rule->priority, judge_format_rule(rule, text));
    if (rule->priority == 0)
        return; /* nothing can come before it */
    snprintf(command, sizeof(command), "%s priority %u", wanted_command(item, plain),
             rule->priority - 1);
    add_mend(out, command);
}

void judge_rule(const struct wanted_item *item, const struct rtnl_rules *rules,
                const struct judge_probe *probes, size_t n_probes, struct judgement *out)
{
    size_t at = 0;

    *out = (struct judgement){ .verdict = JUDGE_MISSING };
    while (at < rules->n_items && !judge_rule_serves(&rules->items[at], item))
        at++;
    if (at == rules->n_items)
        return;
    out->verdict = JUDGE_HOLDS;
    for (size_t i = 0; i < n_probes; i++) {
        const struct rtnl_rule *rule =
            is_local(&probes[i]) ? NULL : culprit(item, rules, at, &probes[i]);

        if (rule) {
            tell_shadowed(item, rule, out);
            return;
        }
    }
}

static bool is_ours(const struct rtnl_route *route)
{
    return route->type == RTN_LOCAL && route->oif == RTNL_LO_INDEX;
}

static const char *type_name(uint8_t type)
{
    switch (type) {
    case RTN_LOCAL:
        return "local ";
    case RTN_BLACKHOLE:
        return "blackhole ";
    case RTN_UNREACHABLE:
        return "unreachable ";
    case RTN_PROHIBIT:
        return "prohibit ";
    case RTN_THROW:
        return "throw ";
    default:
        return "";
    }
}

/* "unreachable default table 100 metric 5": for `ip route del` and for the reason. */
static void format_route(const struct rtnl_route *route, char out[JUDGE_TEXT_MAX])
{
    char dst[INET6_ADDRSTRLEN + 4] = "default";
    char gateway[INET6_ADDRSTRLEN] = "";
    char name[IF_NAMESIZE] = "";
    char quoted[SHELL_QUOTED_MAX(IF_NAMESIZE)] = "";
    char metric[32] = "";
    bool has_name = route->oif != 0 && if_indextoname(route->oif, name);

    if (route->dst_len != 0)
        format_prefix(route->family, route->dst, route->dst_len, dst);
    if (route->has_gateway)
        inet_ntop(route->gateway_family, route->gateway, gateway, sizeof(gateway));
    if (route->metric != 0)
        snprintf(metric, sizeof(metric), " metric %u", route->metric);
    snprintf(out, JUDGE_TEXT_MAX, "%s%s%s%s%s%s%s table %u%s", type_name(route->type), dst,
             gateway[0] ? " via " : "",
             gateway[0] && route->gateway_family != route->family ? "inet6 " : "", gateway,
             has_name ? " dev " : "", has_name ? shell_quote(name, quoted, sizeof(quoted)) : "",
             route->table, metric);
}

static void tell_wrong_route(const struct rtnl_route *route, struct judgement *out)
{
    char text[JUDGE_TEXT_MAX];
    char command[JUDGE_TEXT_MAX];

    out->verdict = JUDGE_WRONG;
    format_route(route, text);
    snprintf(out->reason, sizeof(out->reason), "a wrong route is in its place: %.150s", text);
    snprintf(command, sizeof(command), "ip %sroute del %.239s",
             route->family == AF_INET6 ? "-6 " : "", text);
    add_mend(out, command);
}

static bool is_default_of(const struct rtnl_route *route, const struct wanted_item *item)
{
    return route->family == item->family && route->table == item->table && route->dst_len == 0 &&
           route->tos == 0;
}

void judge_route(const struct wanted_item *item, const struct rtnl_routes *routes,
                 const struct judge_probe *probes, size_t n_probes, struct judgement *out)
{
    const struct rtnl_route *own = NULL;
    char command[WANTED_COMMAND_MAX];

    *out = (struct judgement){ .verdict = JUDGE_MISSING };
    for (size_t i = 0; i < routes->n_items && !own; i++) {
        if (is_default_of(&routes->items[i], item) && is_ours(&routes->items[i]))
            own = &routes->items[i];
    }
    if (own)
        out->verdict = JUDGE_HOLDS;
    for (size_t i = 0; i < routes->n_items; i++) {
        const struct rtnl_route *route = &routes->items[i];

        if (is_default_of(route, item) && !is_ours(route) && (!own || route->metric < own->metric))
            tell_wrong_route(route, out);
    }
    for (size_t i = 0; out->verdict == JUDGE_HOLDS && i < n_probes; i++) {
        if (probes[i].has_answer && probes[i].answer.table == item->table && !is_local(&probes[i]))
            tell_wrong_route(&probes[i].answer, out);
    }
    if (!own && out->verdict == JUDGE_WRONG)
        add_mend(out, wanted_command(item, command));
}
