/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/kernel/survey.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mmproxy/net/listening.h"
#include "mmproxy/routing/kernel/nft.h"
#include "mmproxy/routing/kernel/sysctl.h"
#include "mmproxy/routing/kernel/xtables.h"

enum { XTABLES_BUDGET_MS = 5000 }; /* for all runs of iptables together */

struct addr survey_client(sa_family_t family)
{
    static const uint8_t v4[4] = { 192, 0, 2, 1 };
    static const uint8_t v6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
    struct addr client;

    addr_from_bytes(&client, family, family == AF_INET6 ? v6 : v4, 0);
    return client;
}

struct addr survey_client_of(const struct listener_config *listener, sa_family_t family)
{
    const struct addr client_v4 = survey_client(AF_INET);

    if (family == AF_INET && listener_config_maps(listener, AF_INET6))
        return listener->map_v6.addr;
    if (family == AF_INET6 && listener_config_maps(listener, AF_INET))
        return client_map_v4(&listener->map_v4, &client_v4);
    return survey_client(family);
}

struct addr survey_other_client_of(const struct listener_config *listener, sa_family_t family)
{
    /* Of 6to4 relays, which are no more, and for documentation; lists of bogons leave both out. */
    static const uint8_t v4[4] = { 192, 88, 99, 1 };
    static const uint8_t v6[16] = { 0x3f, 0xff, [15] = 1 };
    struct addr client;

    if (listener_config_maps(listener, family == AF_INET ? AF_INET6 : AF_INET))
        return survey_client_of(listener, family);
    addr_from_bytes(&client, family, family == AF_INET6 ? v6 : v4, 0);
    return client;
}

bool survey_sample(sa_family_t family, size_t i, struct addr *out)
{
    static const char *const v4[] = { "1.1.1.1",   "60.1.1.1",  "90.1.1.1",    "120.1.1.1",
                                      "150.1.1.1", "185.1.1.1", "203.0.113.1", "198.51.100.1",
                                      "192.0.2.1", "217.1.1.1" };
    static const char *const v6[] = { "2001:db8::1", "2001:4860::1", "2400::1",
                                      "2600::1",     "2800::1",      "2a00::1" };
    size_t n = family == AF_INET6 ? sizeof v6 / sizeof *v6 : sizeof v4 / sizeof *v4;

    return i < n && !addr_parse_host(out, family == AF_INET6 ? v6[i] : v4[i]);
}

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int disabled = 0;

    if (fd < 0)
        return false;
    close(fd);
    /* If IPv6 is disabled on lo, there is neither ::1 nor our route. */
    return sysctl_get("net.ipv6.conf.lo.disable_ipv6", &disabled) < 0 || disabled == 0;
}

static void add_outbound(struct wanted_host *host, const char *name)
{
    size_t i = 0;

    while (i < WANTED_OUTBOUND_MAX && host->outbound_v4[i][0] != '\0') {
        if (strcmp(host->outbound_v4[i], name) == 0)
            return;
        i++;
    }
    if (i < WANTED_OUTBOUND_MAX)
        snprintf(host->outbound_v4[i], IF_NAMESIZE, "%s", name);
}

static int find_outbound(struct rtnl *rtnl, const struct addr *client, struct wanted_host *out)
{
    struct rtnl_route route;
    char name[IF_NAMESIZE];
    int err = rtnl_lookup(rtnl, client, NULL, 0, &route);

    if (err == 0 && route.type == RTN_UNICAST && route.oif != 0 && if_indextoname(route.oif, name))
        add_outbound(out, name);
    return err == -ENOMEM || err == -EIO ? err : 0;
}

int survey_host(struct rtnl *rtnl, struct wanted_host *out)
{
    struct addr client = survey_client(AF_INET);
    int err;

    *out = (struct wanted_host){ .has_ipv6 = has_ipv6() };
    err = find_outbound(rtnl, &client, out);
    for (size_t i = 0; err == 0 && survey_sample(AF_INET, i, &client); i++)
        err = find_outbound(rtnl, &client, out);
    return err;
}

static size_t index_of(sa_family_t family)
{
    return family == AF_INET6 ? 1 : 0;
}

/* Without a default route there may be one for our test client: others are asked for as well. */
static bool lacks_route(struct rtnl *rtnl, sa_family_t family)
{
    struct addr host;

    for (size_t i = 0; survey_sample(family, i, &host); i++) {
        struct rtnl_route route;

        if (rtnl_lookup(rtnl, &host, NULL, 0, &route) == -ENETUNREACH)
            return true;
    }
    return false;
}

static bool is_listed(const uint32_t *tables, size_t n, uint32_t table)
{
    for (size_t i = 0; i < n; i++) {
        if (tables[i] == table)
            return true;
    }
    return false;
}

/* How many rules matter: those up to the last one of a wanted table; all where one jumps. */
static size_t count_rules(const struct rtnl_rules *rules, const uint32_t *wanted, size_t n_wanted)
{
    size_t n = 0;

    for (size_t i = 0; i < rules->n_items; i++) {
        if (rules->items[i].action == FR_ACT_GOTO)
            return rules->n_items;
        if (is_listed(wanted, n_wanted, rules->items[i].table))
            n = i + 1;
    }
    return n;
}

/* The tables of the wanted routes and of the rules that matter; a later one may be huge. */
static size_t list_tables(uint32_t *out, const struct wanted *wanted, sa_family_t family,
                          const struct rtnl_rules *rules)
{
    size_t n_rules;
    size_t n = 0;

    for (size_t i = 0; i < wanted->n_items; i++) {
        const struct wanted_item *item = &wanted->items[i];

        if (item->kind == WANTED_ROUTE && item->family == family && !is_listed(out, n, item->table))
            out[n++] = item->table;
    }
    n_rules = count_rules(rules, out, n);
    for (size_t i = 0; i < n_rules; i++) {
        uint32_t table = rules->items[i].table;

        if (table != 0 && !is_listed(out, n, table))
            out[n++] = table;
    }
    return n;
}

static int look_at_routes(struct survey_sight *sight, const struct wanted *wanted,
                          struct rtnl *rtnl, sa_family_t family)
{
    const struct rtnl_rules *rules = &sight->rules[index_of(family)];
    uint32_t *tables = calloc(wanted->n_items + rules->n_items + 1, sizeof *tables);
    size_t n = tables ? list_tables(tables, wanted, family, rules) : 0;
    int err = tables ? 0 : -ENOMEM;

    for (size_t i = 0; err == 0 && i < n; i++)
        err = rtnl_dump_routes(rtnl, family, (struct rtnl_filter){ .table = tables[i] },
                               &sight->routes[index_of(family)]);
    free(tables);
    return err;
}

static int look_at_family(struct survey_sight *sight, const struct wanted *wanted,
                          struct rtnl *rtnl, sa_family_t family)
{
    int err = rtnl_dump_rules(rtnl, family, &sight->rules[index_of(family)]);

    /* A kernel without IPv6 knows nothing of its rules, and nothing of IPv6 is wanted then. */
    if (err == -EOPNOTSUPP || err == -EAFNOSUPPORT)
        return 0;
    return err < 0 ? err : look_at_routes(sight, wanted, rtnl, family);
}

static int look_at_sysctl(const struct wanted_item *item)
{
    int value = 0;
    int err = sysctl_get(item->sysctl, &value);

    return err < 0 ? err : value != 0;
}

/* iptables has nothing that does the same. */
static bool is_nft_alone(const struct wanted_item *item)
{
    return item->kind == WANTED_MARK_REPLIES || item->kind == WANTED_MARK_FLOWS;
}

/* A reply is marked in output, and what has no route does not come to there. */
static bool needs_route(const struct wanted_item *item)
{
    return item->kind == WANTED_RESTORE_MARK || item->kind == WANTED_MARK_FLOWS;
}

static int look_at_marks(struct survey_sight *sight, const struct wanted *wanted, struct rtnl *rtnl)
{
    int budget_ms = XTABLES_BUDGET_MS;

    /* Where nftables can't be read, iptables is still asked. */
    sight->nft_error = nft_read(&sight->nft, false);
    if (sight->nft_error == -ENOMEM)
        return -ENOMEM;
    sight->lacks_nft = !xtables_is_installed("nft");
    for (size_t i = 0; i < wanted->n_items; i++) {
        const struct wanted_item *item = &wanted->items[i];

        if (!wanted_is_mark(item))
            continue;
        if (!is_nft_alone(item) && !nftlist_has(&sight->nft, item))
            sight->answers[i] = xtables_has(item, &budget_ms);
        if (needs_route(item))
            sight->lacks_route[index_of(item->family)] = lacks_route(rtnl, item->family);
    }
    return 0;
}

static bool has_uids(const struct survey_sight *sight)
{
    for (size_t family = 0; family < 2; family++) {
        for (size_t i = 0; i < sight->rules[family].n_items; i++) {
            if (sight->rules[family].items[i].has_uids)
                return true;
        }
    }
    return false;
}

static void look_at_uids(struct survey_sight *sight, const struct wanted *wanted)
{
    struct listening *listening = NULL;
    size_t n = 0;

    if (listening_read(&listening, &n) < 0)
        return;
    for (size_t i = 0; i < wanted->n_replies; i++) {
        for (size_t j = 0; j < n; j++) {
            if (listening_takes(&listening[j], &wanted->replies[i].source))
                sight->uids[i] = listening[j].uid;
        }
    }
    free(listening);
}

int survey_look(struct survey_sight *sight, const struct wanted *wanted, struct rtnl *rtnl,
                bool with_marks)
{
    int all_localnet = 0;
    int err;

    *sight = (struct survey_sight){ 0 };
    sight->answers = calloc(wanted->n_items + 1, sizeof *sight->answers);
    sight->uids = calloc(wanted->n_replies + 1, sizeof *sight->uids);
    if (!sight->answers || !sight->uids)
        return -ENOMEM;
    err = look_at_family(sight, wanted, rtnl, AF_INET);
    if (err == 0)
        err = look_at_family(sight, wanted, rtnl, AF_INET6);
    for (size_t i = 0; err == 0 && i < wanted->n_items; i++) {
        if (wanted->items[i].kind == WANTED_SYSCTL)
            sight->answers[i] = look_at_sysctl(&wanted->items[i]);
    }
    if (err == 0 && has_uids(sight))
        look_at_uids(sight, wanted);
    sight->all_localnet =
        sysctl_get("net.ipv4.conf.all.route_localnet", &all_localnet) == 0 && all_localnet != 0;
    if (err == 0 && with_marks && wanted_has_marks(wanted))
        err = look_at_marks(sight, wanted, rtnl);
    return err;
}

void survey_forget(struct survey_sight *sight)
{
    for (size_t i = 0; i < 2; i++) {
        rtnl_rules_close(&sight->rules[i]);
        rtnl_routes_close(&sight->routes[i]);
    }
    nftlist_close(&sight->nft);
    free(sight->answers);
    free(sight->uids);
    *sight = (struct survey_sight){ 0 };
}

static void judge_sysctl(struct judgement *out, const struct wanted_item *item, int answer,
                         const struct survey_sight *sight)
{
    /* For this one either of the two is enough. */
    bool is_on = answer > 0 || (sight->all_localnet && strstr(item->sysctl, ".route_localnet"));

    *out = (struct judgement){ .verdict = is_on ? JUDGE_HOLDS : JUDGE_MISSING };
    if (is_on || answer == 0)
        return;
    out->verdict = JUDGE_UNKNOWN;
    snprintf(out->reason, sizeof out->reason, "it can't be read: %s", strerror(-answer));
}

/* The table that --rules made is there and does not do what it did: it goes, and comes back. */
static void judge_table(struct judgement *out, const struct wanted_item *item,
                        const struct nftlist *nft)
{
    char undo[WANTED_COMMAND_MAX];
    const char *table = wanted_undo(item, undo) + strlen("nft delete table ");

    if (!nftlist_has_table(nft, table))
        return;
    out->verdict = JUDGE_WRONG;
    snprintf(out->reason, sizeof out->reason, "table %.200s is there, but it was changed", table);
    snprintf(out->commands[0], sizeof out->commands[0], "%s", undo);
    wanted_command(item, out->commands[1]);
    out->n_commands = 2;
}

static void judge_nft(struct judgement *out, const struct wanted_item *item,
                      const struct survey_sight *sight)
{
    int error = sight->nft_error;
    const char *cure = error == -EPERM || error == -EACCES
                           ? "run this as root"
                           : "to load its module: modprobe nf_tables";

    out->verdict = error < 0 ? JUDGE_UNKNOWN : JUDGE_MISSING;
    if (error < 0)
        snprintf(out->reason, sizeof out->reason, "nftables can't be read: %s; %s",
                 strerror(-error), cure);
    else
        judge_table(out, item, &sight->nft);
}

static void judge_mark(struct survey *survey, struct judgement *out, const struct wanted_item *item,
                       int answer, const struct survey_sight *sight)
{
    if (needs_route(item) && sight->lacks_route[index_of(item->family)])
        survey->no_route[index_of(item->family)] = true;
    *out = (struct judgement){ .verdict = JUDGE_HOLDS };
    if (answer == 1 || nftlist_has(&sight->nft, item))
        return;
    if (is_nft_alone(item)) {
        judge_nft(out, item, sight);
        survey->no_nft |= sight->lacks_nft;
        return;
    }
    out->verdict = answer == 0 || answer == -ENOENT ? JUDGE_MISSING : JUDGE_UNKNOWN;
    if (answer == -ENOENT)
        survey->no_iptables = true;
    else if (answer < 0)
        snprintf(out->reason, sizeof out->reason, "iptables gives no answer: %s",
                 strerror(-answer));
}

int survey_judge(struct survey *survey, const struct wanted *wanted,
                 const struct survey_sight *sight, bool with_marks)
{
    *survey = (struct survey){ .items = calloc(wanted->n_items + 1, sizeof *survey->items) };
    if (!survey->items)
        return -ENOMEM;
    for (size_t i = 0; i < wanted->n_items; i++) {
        const struct wanted_item *item = &wanted->items[i];
        size_t family = index_of(item->family);
        struct judge_kernel kernel = { &sight->rules[family], &sight->routes[family], sight->uids };

        if (item->kind == WANTED_RULE)
            judge_rule(item, &kernel, wanted, &survey->items[i]);
        else if (item->kind == WANTED_ROUTE)
            judge_route(item, &kernel, &survey->items[i]);
        else if (item->kind == WANTED_SYSCTL)
            judge_sysctl(&survey->items[i], item, sight->answers[i], sight);
        else if (with_marks)
            judge_mark(survey, &survey->items[i], item, sight->answers[i], sight);
        else
            survey->items[i].verdict = JUDGE_UNKNOWN;
    }
    return 0;
}

static int look_and_judge(struct survey *survey, const struct wanted *wanted, struct rtnl *rtnl,
                          bool with_marks)
{
    struct survey_sight sight;
    int err = survey_look(&sight, wanted, rtnl, with_marks);

    *survey = (struct survey){ 0 };
    if (err == 0)
        err = survey_judge(survey, wanted, &sight, with_marks);
    survey_forget(&sight);
    return err;
}

int survey_routing(struct survey *survey, const struct wanted *wanted, struct rtnl *rtnl)
{
    return look_and_judge(survey, wanted, rtnl, false);
}

int survey_run(struct survey *survey, const struct wanted *wanted, struct rtnl *rtnl)
{
    return look_and_judge(survey, wanted, rtnl, true);
}

void survey_close(struct survey *survey)
{
    free(survey->items);
    *survey = (struct survey){ 0 };
}
