/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/judge.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "mmproxy/routing/wanted/iptext.h"
#include "mmproxy/routing/wanted/region.h"
#include "mmproxy/routing/wanted/special.h"

/* Clients' ports are above it, save for a few old programs'. */
enum { FIRST_CLIENT_PORT = 1024 };

/* Which clients a walk is about. */
enum clients { CLIENTS_PUBLIC, CLIENTS_NAMED, CLIENTS_ANY };

/* A reply's way through the rules. */
struct walk {
    const struct wanted_item *item;
    const struct judge_kernel *kernel;
    const struct wanted_reply *reply;
    uint32_t uid; /* of the reply's socket */
    enum clients clients;
    struct region_set gone;        /* no clients, or settled by a rule already */
    const struct rtnl_rule *jump;  /* a goto that was followed */
    const struct rtnl_rule *taker; /* found: it takes replies away ... */
    struct region_prefix taken;    /* ... to these clients */
};

static unsigned bits_of(sa_family_t family)
{
    return family == AF_INET6 ? 128 : 32;
}

static bool in_prefix(const uint8_t *address, const uint8_t *prefix, unsigned len)
{
    struct region_prefix outer = region_prefix(prefix, len);
    struct region_prefix inner = { .len = 128 };

    memcpy(inner.bits, address, (len + 7) / 8);
    return region_has(&outer, &inner);
}

static bool is_empty_or_lo(const char *name)
{
    return name[0] == '\0' || strcmp(name, "lo") == 0;
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
        rule->table != item->table || rule->invert || rule->special || rule->is_tunnel ||
        rule->is_l3mdev || rule->has_uids || rule->tos != 0 || rule->last_sport != 0 ||
        rule->last_dport != 0 || rule->dst_len != 0 || rule->suppress_len >= 0 ||
        rule->oif[0] != '\0' || !is_empty_or_lo(rule->iif) ||
        (rule->ip_protocol != 0 && rule->ip_protocol != IPPROTO_TCP))
        return false;
    if (item->mark != 0)
        return rule->src_len == 0 && mark_matches(rule, item->mark);
    return rule->mask == 0 && rule->src_len <= (is_v6 ? 128 : 8) &&
           in_prefix(is_v6 ? loopback_v6 : loopback_v4, rule->src, rule->src_len);
}

enum match { MATCH_NO, MATCH_MAYBE, MATCH_YES };

static bool may_come_in_by(const char *name, const struct wanted_reply *reply)
{
    return reply->is_routed ? strcmp(name, "lo") != 0 : is_empty_or_lo(name);
}

/* Every selector but the destination. A reply leaves by no VRF and no tunnel. */
static enum match match_selectors(const struct walk *walk, const struct rtnl_rule *rule)
{
    const struct wanted_reply *reply = walk->reply;
    uint16_t port = addr_port(&reply->source);

    if (!may_come_in_by(rule->iif, reply) || rule->oif[0] != '\0' || rule->is_tunnel ||
        rule->is_l3mdev || !mark_matches(rule, reply->mark) ||
        (rule->ip_protocol != 0 &&
         rule->ip_protocol != (reply->is_udp ? IPPROTO_UDP : IPPROTO_TCP)) ||
        !in_prefix(addr_bytes(&reply->source), rule->src, rule->src_len) ||
        (rule->has_uids &&
         (reply->is_routed || walk->uid < rule->first_uid || walk->uid > rule->last_uid)) ||
        (rule->last_sport != 0 && (port < rule->first_sport || port > rule->last_sport)))
        return MATCH_NO;
    /* The service may set a type of service; a client may come from a low port. */
    if (rule->special || rule->tos != 0 || (reply->is_routed && rule->iif[0] != '\0') ||
        rule->suppress_group >= 0 ||
        (rule->last_dport != 0 && rule->last_dport < FIRST_CLIENT_PORT))
        return MATCH_MAYBE;
    return MATCH_YES;
}

/* The part of a region that a rule applies to. */
enum part { PART_NONE, PART_ALL, PART_INSIDE, PART_OUTSIDE };

/* *prefix: that of PART_INSIDE and PART_OUTSIDE. */
static enum part part_of(const struct rtnl_rule *rule, enum match match,
                         const struct region_prefix *within, struct region_prefix *prefix)
{
    struct region_prefix dst = region_prefix(rule->dst, rule->dst_len);

    if (match == MATCH_NO)
        return rule->invert ? PART_ALL : PART_NONE;
    if (region_has(&dst, within))
        return rule->invert ? PART_NONE : PART_ALL;
    if (!region_has(within, &dst))
        return rule->invert ? PART_ALL : PART_NONE;
    *prefix = dst;
    return rule->invert ? PART_OUTSIDE : PART_INSIDE;
}

static bool is_left(const struct walk *walk, const struct region_prefix *within)
{
    return region_is_left(within, &walk->gone, bits_of(walk->item->family));
}

static bool takes_away(const struct rtnl_route *route)
{
    return route->type == RTN_UNICAST || route->type == RTN_BLACKHOLE ||
           route->type == RTN_UNREACHABLE || route->type == RTN_PROHIBIT;
}

static bool is_considered(const struct rtnl_route *route, const struct rtnl_rule *rule,
                          sa_family_t family)
{
    return route->family == family && route->table == rule->table && route->tos == 0 &&
           (int32_t)route->dst_len > rule->suppress_len;
}

static struct region_prefix prefix_of(const struct rtnl_route *route)
{
    return region_prefix(route->dst, route->dst_len);
}

/* Adds the destinations for which the table has a route that is better and takes nothing away. */
static void add_better(struct walk *walk, const struct rtnl_rule *rule,
                       const struct rtnl_route *route, const struct region_prefix *within)
{
    const struct rtnl_routes *routes = walk->kernel->routes;

    for (size_t i = 0; i < routes->n_items; i++) {
        const struct rtnl_route *other = &routes->items[i];
        struct region_prefix prefix = prefix_of(other);
        struct region_prefix common;

        if (!takes_away(other) && is_considered(other, rule, walk->item->family) &&
            (other->dst_len > route->dst_len ||
             (other->dst_len == route->dst_len && other->metric < route->metric)) &&
            region_common(&prefix, within, &common))
            region_set_add(&walk->gone, &common);
    }
}

/* Does this route of the rule's table take replies to some client in the region? */
static bool route_takes(struct walk *walk, const struct rtnl_rule *rule,
                        const struct rtnl_route *route, const struct region_prefix *within)
{
    struct region_prefix prefix = prefix_of(route);
    size_t before = walk->gone.n_items;
    struct region_prefix common;
    bool takes;

    if (!takes_away(route) || !is_considered(route, rule, walk->item->family) ||
        !region_common(&prefix, within, &common) || !is_left(walk, &common))
        return false;
    add_better(walk, rule, route, &common);
    takes = is_left(walk, &common);
    walk->gone.n_items = before;
    if (takes)
        walk->taken = common;
    return takes;
}

static bool table_takes(struct walk *walk, const struct rtnl_rule *rule,
                        const struct region_prefix *within)
{
    const struct rtnl_routes *routes = walk->kernel->routes;

    for (size_t i = 0; i < routes->n_items; i++) {
        if (route_takes(walk, rule, &routes->items[i], within))
            return true;
    }
    return false;
}

/* Packets that the table delivers to this host have come back and meet no later rule. */
static void settle_local(struct walk *walk, const struct rtnl_rule *rule,
                         const struct region_prefix *within)
{
    const struct rtnl_routes *routes = walk->kernel->routes;

    for (size_t i = 0; i < routes->n_items; i++) {
        const struct rtnl_route *route = &routes->items[i];
        struct region_prefix prefix = prefix_of(route);
        struct region_prefix common;

        if (!takes_away(route) && route->type != RTN_THROW &&
            is_considered(route, rule, walk->item->family) &&
            region_common(&prefix, within, &common))
            region_set_add(&walk->gone, &common);
    }
}

static bool is_refusal(const struct rtnl_rule *rule)
{
    return rule->action == FR_ACT_BLACKHOLE || rule->action == FR_ACT_UNREACHABLE ||
           rule->action == FR_ACT_PROHIBIT;
}

static bool serves(const struct rtnl_rule *rule, const struct wanted_item *item)
{
    return rule->action == FR_ACT_TO_TBL && rule->table == item->table && rule->suppress_len < 0;
}

static size_t index_of(const struct rtnl_rules *rules, uint32_t priority)
{
    size_t i = 0;

    while (i < rules->n_items && rules->items[i].priority < priority)
        i++;
    return i;
}

static bool walk_from(struct walk *walk, struct region_prefix within, size_t at);

/* Does the rule take replies away from the part of the region that it applies to? */
static bool rule_takes(struct walk *walk, const struct rtnl_rule *rule,
                       const struct region_prefix *within)
{
    if (walk->clients == CLIENTS_NAMED && (rule->dst_len == 0 || rule->invert) &&
        rule->action != FR_ACT_GOTO)
        return false;
    if (rule->action == FR_ACT_GOTO) {
        if (!is_left(walk, within))
            return false;
        walk->jump = rule;
        return walk_from(walk, *within, index_of(walk->kernel->rules, rule->goto_priority));
    }
    if (is_refusal(rule)) {
        walk->taken = *within;
        return is_left(walk, within);
    }
    return rule->action == FR_ACT_TO_TBL && !serves(rule, walk->item) &&
           table_takes(walk, rule, within);
}

/* Does no later rule see what this one applies to? */
static bool settles(const struct walk *walk, const struct rtnl_rule *rule)
{
    return (is_refusal(rule) && walk->clients != CLIENTS_NAMED) || rule->action == FR_ACT_GOTO ||
           serves(rule, walk->item);
}

/* The kernel makes no rule that jumps back. */
static bool does_nothing(const struct rtnl_rule *rule)
{
    return rule->unresolved ||
           (rule->action == FR_ACT_GOTO && rule->goto_priority <= rule->priority);
}

/* Applies one rule. returns: was it found to take replies away? *within: what is left. */
static bool step(struct walk *walk, const struct rtnl_rule *rule, struct region_prefix *within,
                 bool *is_over)
{
    enum match match = match_selectors(walk, rule);
    size_t before = walk->gone.n_items;
    struct region_prefix dst = { 0 };
    enum part part = part_of(rule, match, within, &dst);
    struct region_prefix inside = part == PART_INSIDE ? dst : *within;
    bool takes;

    if (part == PART_NONE || does_nothing(rule) ||
        (match == MATCH_MAYBE && walk->clients != CLIENTS_ANY))
        return false;
    if (part == PART_OUTSIDE)
        region_set_add(&walk->gone, &dst);
    takes = rule_takes(walk, rule, &inside);
    /* Ours has to come before the jump, not before what takes the replies behind it. */
    if (takes && (!walk->taker || rule->action == FR_ACT_GOTO))
        walk->taker = rule;
    walk->gone.n_items = before;
    if (takes || match == MATCH_MAYBE)
        return takes;
    if (!settles(walk, rule)) {
        if (rule->action == FR_ACT_TO_TBL && part != PART_OUTSIDE)
            settle_local(walk, rule, &inside);
        return false;
    }
    if (part == PART_INSIDE)
        region_set_add(&walk->gone, &dst);
    else if (part == PART_OUTSIDE)
        *within = dst;
    else
        *is_over = true;
    return false;
}

/* Follows the rules from one on for all clients in the region that are not gone. */
static bool walk_from(struct walk *walk, struct region_prefix within, size_t at)
{
    const struct rtnl_rules *rules = walk->kernel->rules;
    size_t before = walk->gone.n_items;
    bool is_over = false;
    bool takes = false;

    while (at < rules->n_items && !takes && !is_over)
        takes = step(walk, &rules->items[at++], &within, &is_over);
    if (!takes && !is_over && walk->jump && is_left(walk, &within)) {
        walk->taker = walk->jump; /* it leads past the item's rule */
        walk->taken = within;
        takes = true;
    }
    walk->gone.n_items = before;
    return takes;
}

static bool is_of(const struct wanted_reply *reply, const struct wanted_item *item)
{
    return addr_family(&reply->source) == item->family && reply->mark == item->mark &&
           reply->table == item->table;
}

static void add_mend(struct judgement *out, const char *command)
{
    if (out->n_commands < JUDGE_MENDS_MAX)
        snprintf(out->commands[out->n_commands++], JUDGE_TEXT_MAX, "%s", command);
}

/*
 * The item's rule before the one in the way. Nothing comes before a rule of priority 0: that one
 * moves behind ours then. own: the item's rule as it is.
 */
static void mend_order(const struct wanted_item *item, const struct rtnl_rule *rule,
                       const struct rtnl_rule *own, struct judgement *out)
{
    const char *ip = item->family == AF_INET6 ? "ip -6" : "ip";
    char command[JUDGE_TEXT_MAX];
    char text[IPTEXT_RULE_MAX];
    char plain[WANTED_COMMAND_MAX];

    if (rule->priority > 0) {
        snprintf(command, sizeof command, "%s priority %u", wanted_command(item, plain),
                 rule->priority - 1);
        add_mend(out, command);
        return;
    }
    iptext_rule(rule, text);
    snprintf(command, sizeof command, "%s rule add %s priority %u", ip, text, own->priority + 1);
    add_mend(out, command);
    snprintf(command, sizeof command, "%s rule del %s priority 0", ip, text);
    add_mend(out, command);
}

static void tell_shadowed(const struct walk *walk, const struct rtnl_rule *own,
                          struct judgement *out)
{
    const struct rtnl_rule *rule = walk->taker;
    bool is_fault = walk->clients != CLIENTS_ANY;
    char text[IPTEXT_RULE_MAX];
    char prefix[IPTEXT_PREFIX_MAX];

    if (is_fault) {
        out->verdict = JUDGE_SHADOWED;
        out->priority = rule->priority;
        snprintf(out->reason, sizeof out->reason,
                 "rule %u (%s) comes before it and takes the replies", rule->priority,
                 iptext_rule(rule, text));
    } else {
        snprintf(out->note, sizeof out->note,
                 "Replies to clients in %s may not come back: rule %u (%s) comes before ours. If "
                 "there are such clients:",
                 iptext_prefix(walk->item->family, &walk->taken, prefix), rule->priority,
                 iptext_rule(rule, text));
    }
    mend_order(walk->item, rule, own, out);
}

/* The first rule that sends a reply to whomever to the item's table; NULL: none does. */
static const struct rtnl_rule *server_of(const struct walk *walk)
{
    const struct rtnl_rules *rules = walk->kernel->rules;
    const struct region_prefix everywhere = { .len = 0 };
    struct region_prefix dst;

    for (size_t i = 0; i < rules->n_items; i++) {
        const struct rtnl_rule *rule = &rules->items[i];
        enum match match = match_selectors(walk, rule);

        if (serves(rule, walk->item) && match != MATCH_MAYBE &&
            part_of(rule, match, &everywhere, &dst) == PART_ALL)
            return rule;
    }
    return NULL;
}

static void judge_reply(struct walk *walk, struct judgement *out)
{
    static const enum clients order[] = { CLIENTS_PUBLIC, CLIENTS_NAMED, CLIENTS_ANY };
    const struct region_prefix everywhere = { .len = 0 };
    const struct rtnl_rule *own = server_of(walk);

    if (!own)
        out->verdict = JUDGE_MISSING;
    for (size_t i = 0; out->verdict == JUDGE_HOLDS && i < sizeof order / sizeof *order; i++) {
        if (order[i] == CLIENTS_ANY && out->note[0] != '\0')
            return;
        walk->clients = order[i];
        walk->taker = walk->jump = NULL;
        walk->gone.n_items = 0;
        special_leave_out(&walk->gone, walk->item->family, order[i] == CLIENTS_PUBLIC);
        if (walk_from(walk, everywhere, 0)) {
            if (order[i] != CLIENTS_ANY)
                *out = (struct judgement){ .verdict = JUDGE_HOLDS }; /* no note of another reply */
            tell_shadowed(walk, own, out);
        }
    }
}

void judge_rule(const struct wanted_item *item, const struct judge_kernel *kernel,
                const struct wanted *replies, struct judgement *out)
{
    struct walk walk = { .item = item, .kernel = kernel };

    *out = (struct judgement){ .verdict = JUDGE_HOLDS };
    for (size_t i = 0; out->verdict == JUDGE_HOLDS && i < replies->n_replies; i++) {
        walk.reply = &replies->replies[i];
        walk.uid = kernel->uids ? kernel->uids[i] : 0;
        if (is_of(walk.reply, item))
            judge_reply(&walk, out);
    }
    if (out->verdict == JUDGE_MISSING)
        *out = (struct judgement){ .verdict = JUDGE_MISSING };
    if (walk.gone.has_failed)
        *out = (struct judgement){ .verdict = JUDGE_UNKNOWN, .reason = "memory is short" };
    region_set_close(&walk.gone);
}

static bool is_own(const struct rtnl_route *route, const struct wanted_item *item)
{
    return route->family == item->family && route->table == item->table && route->dst_len == 0 &&
           route->tos == 0 && route->type == RTN_LOCAL;
}

static const struct rtnl_route *find_own(const struct wanted_item *item,
                                         const struct rtnl_routes *routes)
{
    const struct rtnl_route *own = NULL;

    for (size_t i = 0; i < routes->n_items; i++) {
        const struct rtnl_route *route = &routes->items[i];

        if (is_own(route, item) && (!own || route->metric < own->metric))
            own = route;
    }
    return own;
}

/* Does the route stand in the way of one for all addresses that has this metric, or is there? */
static bool is_in_the_way(const struct rtnl_route *route, const struct wanted_item *item,
                          const struct rtnl_route *own)
{
    uint32_t added = item->family == AF_INET6 ? 1024 : 0; /* what `ip route add` gives it */

    if (route->family != item->family || route->table != item->table || route->tos != 0 ||
        (!takes_away(route) && route->type != RTN_THROW))
        return false;
    if (route->dst_len > 0)
        return true;
    return own ? route->metric < own->metric : route->metric <= added;
}

/* Is there a client whose replies it takes? Narrower routes beside it are looked at themselves. */
static bool has_client(const struct rtnl_route *route, enum clients clients)
{
    struct region_set gone = { 0 };
    struct region_prefix prefix = prefix_of(route);
    bool has;

    special_leave_out(&gone, route->family, clients == CLIENTS_PUBLIC);
    has = region_is_left(&prefix, &gone, bits_of(route->family));
    region_set_close(&gone);
    return has;
}

static void tell_wrong_route(const struct rtnl_route *route, bool is_fault, struct judgement *out)
{
    char text[IPTEXT_ROUTE_MAX];
    char command[JUDGE_TEXT_MAX];

    iptext_route(route, text);
    if (is_fault && out->verdict != JUDGE_WRONG) {
        out->verdict = JUDGE_WRONG;
        snprintf(out->reason, sizeof out->reason, "a wrong route is in its place: %s", text);
    } else if (!is_fault && out->note[0] == '\0') {
        snprintf(out->note, sizeof out->note,
                 "Its table has another route, too: %s. If clients come from there:", text);
    }
    snprintf(command, sizeof command, "ip %sroute del %s", route->family == AF_INET6 ? "-6 " : "",
             text);
    add_mend(out, command);
}

/* With more routes than the report names one by one, the whole table is flushed. */
static void mend_by_flush(const struct wanted_item *item, struct judgement *out)
{
    char command[WANTED_COMMAND_MAX];

    out->n_commands = 0;
    snprintf(command, sizeof command, "ip %sroute flush table %u",
             item->family == AF_INET6 ? "-6 " : "", item->table);
    add_mend(out, command);
    add_mend(out, wanted_command(item, command));
}

void judge_route(const struct wanted_item *item, const struct judge_kernel *kernel,
                 struct judgement *out)
{
    const struct rtnl_routes *routes = kernel->routes;
    const struct rtnl_route *own = find_own(item, routes);
    enum judge_verdict verdict = own ? JUDGE_HOLDS : JUDGE_MISSING;
    char command[WANTED_COMMAND_MAX];

    *out = (struct judgement){ .verdict = verdict };
    for (int is_fault = 1; is_fault >= 0 && out->verdict == verdict; is_fault--) {
        for (size_t i = 0; i < routes->n_items; i++) {
            const struct rtnl_route *route = &routes->items[i];

            if (is_in_the_way(route, item, own) &&
                has_client(route, is_fault ? CLIENTS_PUBLIC : CLIENTS_ANY))
                tell_wrong_route(route, is_fault, out);
        }
    }
    if (out->verdict == JUDGE_MISSING)
        *out = (struct judgement){ .verdict = JUDGE_MISSING };
    if (out->verdict == JUDGE_WRONG && out->n_commands >= JUDGE_MENDS_MAX - 1)
        mend_by_flush(item, out);
    else if (out->verdict == JUDGE_WRONG && !own)
        add_mend(out, wanted_command(item, command));
}
