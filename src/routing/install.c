/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/install.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "mmproxy/base/log.h"
#include "mmproxy/routing/nft.h"
#include "mmproxy/routing/survey.h"
#include "mmproxy/routing/sysctl.h"

#define REMOVED "[-] Return path:"

enum { LO_INDEX = 1 };

static bool may_tell(struct install *install)
{
    return install->n_lines++ < INSTALL_LINES_MAX;
}

static void tell(struct install *install, const char *what, const char *command)
{
    if (may_tell(install))
        log_notice("return_path", "%s %s", what, command);
}

static void tell_failed(struct install *install, const char *command, int error)
{
    install->failed = true;
    if (!install->hush_failures && may_tell(install))
        log_error("return_path", "[!] Return path: %s failed: %s", command, strerror(-error));
}

void install_finish(const struct install *install)
{
    if (install->n_lines > INSTALL_LINES_MAX)
        log_notice("return_path", "[ ] Return path: ... and %u changes more",
                   install->n_lines - INSTALL_LINES_MAX);
}

static struct rtnl_rule make_rule(const struct wanted_item *item, uint32_t priority)
{
    struct rtnl_rule rule = {
        .family = item->family,
        .action = FR_ACT_TO_TBL,
        .protocol = INSTALL_PROTOCOL,
        .priority = priority,
        .table = item->table,
        .suppress_len = -1,
    };

    if (item->mark != 0) {
        rule.mark = item->mark;
        rule.mask = UINT32_MAX;
        return rule;
    }
    rule.src_len = item->family == AF_INET6 ? 128 : 8;
    rule.src[item->family == AF_INET6 ? 15 : 0] = item->family == AF_INET6 ? 1 : 127;
    snprintf(rule.iif, sizeof(rule.iif), "lo");
    return rule;
}

static struct rtnl_route make_route(const struct wanted_item *item)
{
    return (struct rtnl_route){
        .family = item->family,
        .type = RTN_LOCAL,
        .protocol = INSTALL_PROTOCOL,
        .table = item->table,
        .oif = LO_INDEX,
    };
}

/* Ours may stand behind a rule that came later and took its place: one of ours is enough. */
static void remove_other_priorities(struct install *install, const struct wanted_item *item,
                                    uint32_t priority)
{
    struct rtnl_rules rules = { 0 };

    if (rtnl_dump_rules(install->rtnl, item->family, &rules) == 0) {
        for (size_t i = 0; i < rules.n_items; i++) {
            const struct rtnl_rule *rule = &rules.items[i];

            if (rule->protocol == INSTALL_PROTOCOL && rule->priority != priority &&
                judge_rule_serves(rule, item))
                rtnl_rule_remove(install->rtnl, rule);
        }
    }
    rtnl_rules_close(&rules);
}

static void install_rule(struct install *install, const struct wanted_item *item,
                         const struct judgement *judgement)
{
    char command[WANTED_COMMAND_MAX];
    char line[WANTED_COMMAND_MAX + 32];
    uint32_t priority = WANTED_RULE_PRIORITY;
    struct rtnl_rule rule;
    int r;

    wanted_command(item, command);
    if (judgement->verdict == JUDGE_SHADOWED && judgement->priority == 0) {
        tell_failed(install, judgement->reason, -EPERM);
        return;
    }
    if (judgement->verdict == JUDGE_SHADOWED && judgement->priority <= priority)
        priority = judgement->priority - 1;
    rule = make_rule(item, priority);
    r = rtnl_rule_add(install->rtnl, &rule);
    snprintf(line, sizeof(line), "%s priority %u", command, priority);
    if (r < 0 && r != -EEXIST) {
        tell_failed(install, line, r);
        return;
    }
    tell(install, install->added, line);
    if (judgement->verdict == JUDGE_SHADOWED)
        remove_other_priorities(install, item, priority);
}

static void install_route(struct install *install, const struct wanted_item *item,
                          const struct judgement *judgement)
{
    struct rtnl_route route = make_route(item);
    char command[WANTED_COMMAND_MAX];
    int r;

    wanted_command(item, command);
    if (judgement->verdict == JUDGE_WRONG) {
        /* The administrator's: not ours to remove. */
        install->failed = true;
        if (!install->hush_failures && may_tell(install))
            log_error("return_path", "[!] Return path: %s: %s; this mends it: %s", command,
                      judgement->reason, judgement->mends[0]);
        return;
    }
    r = rtnl_route_add(install->rtnl, &route);
    if (r < 0 && r != -EEXIST)
        tell_failed(install, command, r);
    else
        tell(install, install->added, command);
}

static void install_sysctl(struct install *install, const struct wanted_item *item)
{
    char command[WANTED_COMMAND_MAX];
    int value;
    int r = sysctl_get(item->sysctl, &value);

    /* Remembered first: a crash in between must not make our value the original one. */
    if (r == 0)
        r = runtime_remember(install->runtime, item->sysctl, value);
    if (r == 0)
        r = sysctl_set(item->sysctl, 1);
    wanted_command(item, command);
    if (r < 0)
        tell_failed(install, command, r);
    else
        tell(install, install->added, command);
}

static void install_item(struct install *install, const struct wanted_item *item,
                         const struct judgement *judgement)
{
    if (judgement->verdict == JUDGE_HOLDS)
        return;
    switch (item->kind) {
    case WANTED_RULE:
        install_rule(install, item, judgement);
        return;
    case WANTED_ROUTE:
        install_route(install, item, judgement);
        return;
    case WANTED_SYSCTL:
        install_sysctl(install, item);
        return;
    case WANTED_SAVE_MARK:
    case WANTED_RESTORE_MARK:
        return; /* install_marks: all of them in one transaction */
    }
}

void install_missing(struct install *install, const struct wanted *own)
{
    struct survey survey;
    int r = survey_routing(&survey, own, install->rtnl);

    if (r < 0)
        tell_failed(install, "looking at rules and routes", r);
    for (size_t i = 0; r == 0 && i < own->n_items; i++)
        install_item(install, &own->items[i], &survey.items[i]);
    survey_close(&survey);
}

static bool is_kept(const struct install_keep *keep, const struct wanted_item *item)
{
    return wanted_has(keep->own, item) || wanted_has(keep->others, item) ||
           (keep->strangers && !wanted_has(keep->previous, item));
}

static struct wanted_item mark_item(const struct nftlist_mark *mark, sa_family_t family)
{
    return (struct wanted_item){
        .kind = mark->is_save ? WANTED_SAVE_MARK : WANTED_RESTORE_MARK,
        .family = family,
        .mark = mark->mark,
    };
}

/* What of our table stays; *stale: something in it does not. */
static int collect_kept(struct wanted *out, const struct nftlist *list,
                        const struct install_keep *keep, bool *stale)
{
    for (size_t i = 0; i < 2 * list->n_items; i++) {
        const struct nftlist_mark *mark = &list->items[i / 2];
        struct wanted_item item = mark_item(mark, i % 2 == 0 ? AF_INET : AF_INET6);
        int r = 0;

        if (!mark->is_own || !(i % 2 == 0 ? mark->is_v4 : mark->is_v6))
            continue;
        if (is_kept(keep, &item))
            r = wanted_add_item(out, &item);
        else
            *stale = true;
        if (r < 0)
            return r;
    }
    return 0;
}

/* Adds what nobody else's table has; *missing: there was something to add. */
static int collect_missing(struct wanted *out, const struct wanted *own, bool *missing)
{
    struct nftlist list = { 0 };
    bool is_read = false;
    int r = 0;

    for (size_t i = 0; r == 0 && i < own->n_items; i++) {
        const struct wanted_item *item = &own->items[i];

        if (item->kind > WANTED_RESTORE_MARK || wanted_has(out, item))
            continue;
        if (!is_read)
            r = nft_read(&list, false);
        is_read = true;
        if (r < 0 ||
            nftlist_has_of(&list, false, item->kind == WANTED_SAVE_MARK, item->family, item->mark))
            continue;
        *missing = true;
        r = wanted_add_item(out, item);
    }
    nftlist_close(&list);
    return r;
}

static bool has_marks(const struct wanted *wanted)
{
    for (size_t i = 0; i < wanted->n_items; i++) {
        if (wanted->items[i].kind <= WANTED_RESTORE_MARK)
            return true;
    }
    return false;
}

void install_marks(struct install *install, const struct install_keep *keep)
{
    static const char doing[] = "nft table inet " NFTLIST_OWN_TABLE;
    struct wanted target = { 0 };
    struct nftlist list = { 0 };
    bool missing = false;
    bool stale = false;
    int r;

    if (!keep->leftovers && !has_marks(keep->own) && !has_marks(keep->previous))
        return;
    r = nft_read(&list, true);
    if (r == 0)
        r = collect_kept(&target, &list, keep, &stale);
    if (r == 0)
        r = collect_missing(&target, keep->own, &missing);
    if (r == 0 && (missing || stale))
        r = nft_write(&target);
    if (r < 0 && has_marks(keep->own))
        tell_failed(install, doing, r);
    else if (r == 0 && missing)
        tell(install, install->added, doing);
    else if (r == 0 && stale)
        tell(install, REMOVED, doing);
    nftlist_close(&list);
    wanted_close(&target);
}

static bool is_rule_kept(const struct rtnl_rule *rule, const struct install_keep *keep)
{
    struct wanted_item item = {
        .kind = WANTED_RULE,
        .family = rule->family,
        .mark = rule->mark,
        .table = rule->table,
    };

    return is_kept(keep, &item);
}

static void sweep_rules(struct install *install, const struct install_keep *keep,
                        sa_family_t family)
{
    struct rtnl_rules rules = { 0 };
    char line[JUDGE_TEXT_MAX + 32];
    char text[JUDGE_TEXT_MAX];
    int r = rtnl_dump_rules(install->rtnl, family, &rules);

    for (size_t i = 0; r == 0 && i < rules.n_items; i++) {
        const struct rtnl_rule *rule = &rules.items[i];

        if (rule->protocol != INSTALL_PROTOCOL || is_rule_kept(rule, keep))
            continue;
        snprintf(line, sizeof(line), "ip %srule del %s", family == AF_INET6 ? "-6 " : "",
                 judge_format_rule(rule, text));
        if (rtnl_rule_remove(install->rtnl, rule) == 0)
            tell(install, REMOVED, line);
    }
    rtnl_rules_close(&rules);
}

static void sweep_routes(struct install *install, const struct install_keep *keep,
                         sa_family_t family)
{
    struct rtnl_routes routes = { 0 };
    char command[WANTED_COMMAND_MAX];
    int r = rtnl_dump_routes(install->rtnl, family, 0, INSTALL_PROTOCOL, &routes);

    for (size_t i = 0; r == 0 && i < routes.n_items; i++) {
        struct wanted_item item = {
            .kind = WANTED_ROUTE,
            .family = family,
            .table = routes.items[i].table,
        };

        if (!is_kept(keep, &item) && rtnl_route_remove(install->rtnl, &routes.items[i]) == 0)
            tell(install, REMOVED, wanted_undo(&item, command));
    }
    rtnl_routes_close(&routes);
}

static bool is_sysctl_wanted(const struct wanted *wanted, const char *name)
{
    for (size_t i = 0; i < wanted->n_items; i++) {
        if (wanted->items[i].kind == WANTED_SYSCTL && strcmp(wanted->items[i].sysctl, name) == 0)
            return true;
    }
    return false;
}

static void restore_sysctl(struct install *install, const struct runtime_sysctl *sysctl)
{
    char line[WANTED_COMMAND_MAX];
    int value;
    int r = sysctl_get(sysctl->name, &value);

    /* Somebody has set it to something else since: that is what is wanted there now. */
    if (r == 0 && value == 1 && sysctl->value != 1) {
        r = sysctl_set(sysctl->name, sysctl->value);
        snprintf(line, sizeof(line), "sysctl -w %s=%d", sysctl->name, sysctl->value);
        if (r == 0)
            tell(install, REMOVED, line);
        else
            tell_failed(install, line, r);
    }
    if (r == 0 || r == -ENOENT)
        runtime_forget(install->runtime, sysctl->name);
}

static void sweep_sysctls(struct install *install, const struct install_keep *keep)
{
    size_t n;
    const struct runtime_sysctl *sysctls = runtime_sysctls(install->runtime, &n);

    /* From the end, as forgetting one moves those behind it. */
    for (size_t i = n; i-- > 0;) {
        struct runtime_sysctl sysctl = sysctls[i];

        if (!is_sysctl_wanted(keep->own, sysctl.name) &&
            !is_sysctl_wanted(keep->others, sysctl.name))
            restore_sysctl(install, &sysctl);
    }
}

void install_sweep(struct install *install, const struct install_keep *keep)
{
    sweep_rules(install, keep, AF_INET);
    sweep_rules(install, keep, AF_INET6);
    sweep_routes(install, keep, AF_INET);
    sweep_routes(install, keep, AF_INET6);
    sweep_sysctls(install, keep);
}
