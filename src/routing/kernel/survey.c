/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/kernel/survey.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mmproxy/routing/kernel/nft.h"
#include "mmproxy/routing/kernel/sysctl.h"
#include "mmproxy/routing/kernel/xtables.h"

enum {
    PROBES_MAX = 8,
    XTABLES_BUDGET_MS = 5000, /* for all runs of iptables together */
};

struct addr survey_client(sa_family_t family)
{
    static const uint8_t v4[4] = { 192, 0, 2, 1 };
    static const uint8_t v6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
    struct addr client;

    addr_from_bytes(&client, family, family == AF_INET6 ? v6 : v4, 0);
    return client;
}

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int disabled = 0;

    if (fd < 0)
        return false;
    close(fd);
    /* What is disabled on lo can have neither ::1 nor our route. */
    return sysctl_get("net.ipv6.conf.lo.disable_ipv6", &disabled) < 0 || disabled == 0;
}

int survey_host(struct rtnl *rtnl, struct wanted_host *out)
{
    struct addr client = survey_client(AF_INET);
    struct rtnl_route route;
    int r = rtnl_lookup(rtnl, &client, NULL, 0, &route);

    *out = (struct wanted_host){ .has_ipv6 = has_ipv6() };
    if (r == 0 && route.type == RTN_UNICAST && route.oif != 0)
        if_indextoname(route.oif, out->outbound_v4);
    return r == -ENOMEM || r == -EIO ? r : 0;
}

static void probe(struct rtnl *rtnl, const struct wanted_item *rule, const struct addr *dst,
                  struct judge_probe *out)
{
    int r;

    out->dst = *dst;
    out->error = rtnl_lookup(rtnl, dst, &rule->source, rule->mark, &out->answer);
    r = out->error;
    if (r == -EINVAL)
        r = rtnl_lookup(rtnl, dst, NULL, rule->mark, &out->answer);
    out->has_answer = r == 0;
    /* By mark, the source makes no difference: it was just no valid one. */
    if (r == 0 && rule->mark != 0)
        out->error = 0;
}

/* The first address of the rule's destination prefix that can be a host. */
static struct addr inside(const struct rtnl_rule *rule)
{
    unsigned bytes = rule->family == AF_INET6 ? 16 : 4;
    uint8_t address[16];
    struct addr out;

    memcpy(address, rule->dst, sizeof(address));
    if (rule->dst_len < 8 * bytes)
        address[bytes - 1] |= 1;
    addr_from_bytes(&out, rule->family, address, 0);
    return out;
}

/* An address that a rule "not to" the test client's prefix applies to: no prefix has both. */
static struct addr outside(const struct addr *client)
{
    uint8_t address[16];
    struct addr out;

    memcpy(address, addr_bytes(client), addr_family(client) == AF_INET6 ? 16 : 4);
    address[0] ^= 0x80;
    addr_from_bytes(&out, addr_family(client), address, 0);
    return out;
}

/* Asks for the test client, and for every part of the world that a rule treats specially. */
static size_t probe_all(struct rtnl *rtnl, const struct wanted_item *item,
                        const struct rtnl_rules *rules, struct judge_probe out[PROBES_MAX])
{
    struct addr client = survey_client(item->family);
    size_t n = 0;

    probe(rtnl, item, &client, &out[n++]);
    for (size_t i = 0; i < rules->n_items && n < PROBES_MAX; i++) {
        const struct rtnl_rule *rule = &rules->items[i];
        struct addr dst;

        if (rule->dst_len == 0 || !judge_rule_applies(rule, item, NULL))
            continue;
        dst = rule->invert ? outside(&client) : inside(rule);
        probe(rtnl, item, &dst, &out[n++]);
    }
    return n;
}

/* The rule that leads to the route's table. */
static const struct wanted_item *rule_to(const struct wanted *wanted,
                                         const struct wanted_item *route)
{
    for (size_t i = 0; i < wanted->n_items; i++) {
        const struct wanted_item *item = &wanted->items[i];

        if (item->kind == WANTED_RULE && item->family == route->family &&
            item->table == route->table)
            return item;
    }
    return NULL;
}

static int survey_route(struct judgement *out, const struct wanted *wanted,
                        const struct wanted_item *item, struct rtnl *rtnl)
{
    const struct wanted_item *rule = rule_to(wanted, item);
    struct addr client = survey_client(item->family);
    struct rtnl_routes routes = { 0 };
    struct judge_probe answer;
    int r =
        rtnl_dump_routes(rtnl, item->family, (struct rtnl_filter){ .table = item->table }, &routes);

    if (r == 0) {
        if (rule)
            probe(rtnl, rule, &client, &answer);
        judge_route(item, &routes, &answer, rule ? 1 : 0, out);
    }
    rtnl_routes_close(&routes);
    return r;
}

static void survey_sysctl(struct judgement *out, const struct wanted_item *item)
{
    const char *localnet = strstr(item->sysctl, ".route_localnet");
    int value = 0;
    int all = 0;
    int r = sysctl_get(item->sysctl, &value);

    *out = (struct judgement){ .verdict = JUDGE_MISSING };
    if (localnet)
        sysctl_get("net.ipv4.conf.all.route_localnet", &all); /* either of the two is enough */
    if (r < 0 && !all) {
        out->verdict = JUDGE_UNKNOWN;
        snprintf(out->reason, sizeof(out->reason), "it can't be read: %s", strerror(-r));
    } else if (value != 0 || all != 0) {
        out->verdict = JUDGE_HOLDS;
    }
}

static int dump_rules(struct rtnl *rtnl, struct rtnl_rules *v4, struct rtnl_rules *v6)
{
    int r = rtnl_dump_rules(rtnl, AF_INET, v4);

    if (r == 0)
        r = rtnl_dump_rules(rtnl, AF_INET6, v6);
    /* A kernel without IPv6 knows nothing of its rules, and nothing of IPv6 is wanted then. */
    return r == -EOPNOTSUPP || r == -EAFNOSUPPORT ? 0 : r;
}

static int survey_item(struct survey *survey, size_t i, const struct wanted *wanted,
                       struct rtnl *rtnl, const struct rtnl_rules *rules)
{
    const struct wanted_item *item = &wanted->items[i];
    struct judge_probe probes[PROBES_MAX];

    switch (item->kind) {
    case WANTED_RULE:
        judge_rule(item, rules, probes, probe_all(rtnl, item, rules, probes), &survey->items[i]);
        return 0;
    case WANTED_ROUTE:
        return survey_route(&survey->items[i], wanted, item, rtnl);
    case WANTED_SYSCTL:
        survey_sysctl(&survey->items[i], item);
        return 0;
    case WANTED_SAVE_MARK:
    case WANTED_RESTORE_MARK:
        break;
    }
    survey->items[i].verdict = JUDGE_UNKNOWN;
    return 0;
}

int survey_routing(struct survey *survey, const struct wanted *wanted, struct rtnl *rtnl)
{
    struct rtnl_rules v4 = { 0 };
    struct rtnl_rules v6 = { 0 };
    int r;

    *survey = (struct survey){ 0 };
    survey->items = calloc(wanted->n_items + 1, sizeof(*survey->items));
    if (!survey->items)
        return -ENOMEM;
    r = dump_rules(rtnl, &v4, &v6);
    for (size_t i = 0; r == 0 && i < wanted->n_items; i++)
        r = survey_item(survey, i, wanted, rtnl, wanted->items[i].family == AF_INET6 ? &v6 : &v4);
    rtnl_rules_close(&v4);
    rtnl_rules_close(&v6);
    return r;
}

static void survey_route_before_mark(struct survey *survey, const struct wanted_item *item,
                                     struct rtnl *rtnl)
{
    struct addr client = survey_client(item->family);
    struct rtnl_route route;

    if (rtnl_lookup(rtnl, &client, NULL, 0, &route) < 0)
        survey->no_route[item->family == AF_INET6] = true;
}

static void survey_mark(struct survey *survey, struct judgement *out,
                        const struct wanted_item *item, const struct nftlist *nft, int *budget_ms)
{
    int r;

    *out = (struct judgement){ .verdict = JUDGE_HOLDS };
    if (nftlist_has(nft, item->kind == WANTED_SAVE_MARK, item->family, item->mark))
        return;
    r = xtables_has(item, budget_ms);
    if (r == 1)
        return;
    out->verdict = r == 0 || r == -ENOENT ? JUDGE_MISSING : JUDGE_UNKNOWN;
    if (r == -ENOENT)
        survey->no_iptables = true;
    else if (r < 0)
        snprintf(out->reason, sizeof(out->reason), "iptables gives no answer: %s", strerror(-r));
}

static int survey_marks(struct survey *survey, const struct wanted *wanted, struct rtnl *rtnl)
{
    struct nftlist nft = { 0 };
    int budget_ms = XTABLES_BUDGET_MS;
    bool is_read = false;

    for (size_t i = 0; i < wanted->n_items; i++) {
        const struct wanted_item *item = &wanted->items[i];

        if (item->kind != WANTED_SAVE_MARK && item->kind != WANTED_RESTORE_MARK)
            continue;
        /* Where nftables can't be read, iptables is still asked. */
        if (!is_read && nft_read(&nft, false) == -ENOMEM) {
            nftlist_close(&nft);
            return -ENOMEM;
        }
        is_read = true;
        survey_mark(survey, &survey->items[i], item, &nft, &budget_ms);
        if (item->kind == WANTED_RESTORE_MARK)
            survey_route_before_mark(survey, item, rtnl);
    }
    nftlist_close(&nft);
    return 0;
}

int survey_run(struct survey *survey, const struct wanted *wanted, struct rtnl *rtnl)
{
    int r = survey_routing(survey, wanted, rtnl);

    return r < 0 ? r : survey_marks(survey, wanted, rtnl);
}

void survey_close(struct survey *survey)
{
    free(survey->items);
    *survey = (struct survey){ 0 };
}
