/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "install_internal.h"
#include "mmproxy/base/log.h"
#include "mmproxy/net/congestion.h"
#include "mmproxy/routing/kernel/nft.h"
#include "mmproxy/routing/kernel/survey.h"
#include "mmproxy/routing/kernel/sysctl.h"

static bool may_tell(struct install *install)
{
    return install->n_lines++ < INSTALL_LINES_MAX;
}

void install_tell(struct install *install, const char *what, const char *command)
{
    if (may_tell(install))
        log_notice("return_path", "%s %s", what, command);
}

void install_tell_failed(struct install *install, const char *command, int error)
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
    snprintf(rule.iif, sizeof rule.iif, "lo");
    return rule;
}

static struct rtnl_route make_route(const struct wanted_item *item)
{
    return (struct rtnl_route){
        .family = item->family,
        .type = RTN_LOCAL,
        .protocol = INSTALL_PROTOCOL,
        .table = item->table,
        .oif = RTNL_LO_INDEX,
        .congestion = item->avoids_pacing ? CONGESTION_UNPACED : NULL,
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
    int err;

    wanted_command(item, command);
    if (judgement->verdict == JUDGE_SHADOWED && judgement->priority == 0) {
        install_tell_failed(install, judgement->reason, -EPERM);
        return;
    }
    if (judgement->verdict == JUDGE_SHADOWED && judgement->priority <= priority)
        priority = judgement->priority - 1;
    rule = make_rule(item, priority);
    err = rtnl_rule_add(install->rtnl, &rule);
    snprintf(line, sizeof line, "%s priority %u", command, priority);
    if (err < 0 && err != -EEXIST) {
        install_tell_failed(install, line, err);
        return;
    }
    install_tell(install, judgement->verdict == JUDGE_SHADOWED ? install->moved : install->added,
                 line);
    if (judgement->verdict == JUDGE_SHADOWED)
        remove_other_priorities(install, item, priority);
}

static void install_route(struct install *install, const struct wanted_item *item,
                          const struct judgement *judgement)
{
    struct rtnl_route route = make_route(item);
    char command[WANTED_COMMAND_MAX];
    int err;

    wanted_command(item, command);
    if (judgement->verdict == JUDGE_WRONG) {
        /* The administrator's: not ours to remove. */
        install->failed = true;
        if (!install->hush_failures && may_tell(install))
            log_error("return_path", "[!] Return path: %s: %s; this command mends it: %s", command,
                      judgement->reason, judgement->commands[0]);
        return;
    }
    err = rtnl_route_add(install->rtnl, &route);
    if (err < 0 && err != -EEXIST)
        install_tell_failed(install, command, err);
    else
        install_tell(install, install->added, command);
}

/*
 * Sessions need the return path more than the next start needs to know of it: nothing fails
 * where the value is in memory alone. returns: false where it would be lost; that was logged.
 */
static bool keep_original(struct install *install, const char *name, const char *command,
                          int *value)
{
    int err = originals_keep(install->originals, name, value);

    if (err == -ENOMEM) {
        install_tell_failed(install, command, err);
        return false;
    }
    if (install->originals_error == 0)
        install->originals_error = err;
    return true;
}

/*
 * Its earlier value is kept first: a crash in between must not make our value the original one. It
 * is kept once more afterwards, since another instance that sets it back at this very moment has
 * forgotten what it was.
 */
static void install_sysctl(struct install *install, const struct wanted_item *item)
{
    char command[WANTED_COMMAND_MAX];
    int value;
    int err = sysctl_get(item->sysctl, &value);

    wanted_command(item, command);
    if (err == 0 && !keep_original(install, item->sysctl, command, &value))
        return;
    if (err == 0)
        err = sysctl_set(item->sysctl, 1);
    if (err < 0) {
        install_tell_failed(install, command, err);
        return;
    }
    (void)keep_original(install, item->sysctl, command, &value);
    install_tell(install, install->added, command);
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
    case WANTED_MARK_REPLIES:
    case WANTED_MARK_FLOWS:
        return; /* install_marks: all of them in one transaction */
    }
}

void install_missing(struct install *install, const struct wanted *own)
{
    struct survey survey;
    int err = survey_routing(&survey, own, install->rtnl);

    if (err < 0)
        install_tell_failed(install, "looking at rules and routes", err);
    for (size_t i = 0; err == 0 && i < own->n_items; i++)
        install_item(install, &own->items[i], &survey.items[i]);
    survey_close(&survey);
}

bool install_keeps(const struct install_keep *keep, const struct wanted_item *item)
{
    return keep->incomplete || wanted_has(keep->own, item) || wanted_has(keep->others, item) ||
           (keep->has_unseen && !wanted_has(keep->previous, item));
}

static struct wanted_item mark_item(const struct nftlist_mark *mark, sa_family_t family)
{
    struct wanted_item item = { .kind = mark->kind, .family = family, .mark = mark->mark };

    if (addr_is_set(&mark->source))
        addr_from_bytes(&item.source, family, addr_bytes(&mark->source), mark->port);
    item.last_port = mark->last_port;
    item.is_udp = mark->is_udp;
    if (mark->kind == WANTED_MARK_FLOWS)
        item.timeout_s = flows_timeout_of(mark->set);
    return item;
}

/* Collects the items of our table that stay; *stale: some do not; *missing: half of an item is
 * gone. */
static int collect_kept(struct wanted *out, const struct nftlist *list,
                        const struct install_keep *keep, bool *stale, bool *missing)
{
    for (size_t i = 0; i < 2 * list->n_items; i++) {
        const struct nftlist_mark *mark = &list->items[i / 2];
        struct wanted_item item = mark_item(mark, i % 2 == 0 ? AF_INET : AF_INET6);
        int err = 0;

        if (!mark->is_own || !(i % 2 == 0 ? mark->is_v4 : mark->is_v6))
            continue;
        if (install_keeps(keep, &item))
            err = wanted_add_item(out, &item);
        else
            *stale = true;
        *missing |= wanted_has(out, &item) && !nftlist_has_of(list, true, &item);
        if (err < 0)
            return err;
    }
    return 0;
}

/* Adds items that no other table has; *missing: there was something to add. */
static int collect_missing(struct wanted *out, const struct wanted *own, bool *missing)
{
    struct nftlist list = { 0 };
    bool is_read = false;
    int err = 0;

    for (size_t i = 0; err == 0 && i < own->n_items; i++) {
        const struct wanted_item *item = &own->items[i];

        if (!wanted_is_mark(item) || wanted_has(out, item))
            continue;
        if (!is_read)
            err = nft_read(&list, false);
        is_read = true;
        if (err < 0 || nftlist_has_of(&list, false, item))
            continue;
        *missing = true;
        err = wanted_add_item(out, item);
    }
    nftlist_close(&list);
    return err;
}

void install_marks(struct install *install, const struct install_keep *keep)
{
    static const char doing[] = "nft table inet " NFTLIST_OWN_TABLE;
    struct wanted target = { 0 };
    struct nftlist list = { 0 };
    bool missing = false;
    bool stale = false;
    int err;

    if (!keep->leftovers && !wanted_has_marks(keep->own) && !wanted_has_marks(keep->previous))
        return;
    err = nft_read(&list, true);
    if (err == 0)
        err = collect_kept(&target, &list, keep, &stale, &missing);
    if (err == 0)
        err = collect_missing(&target, keep->own, &missing);
    if (err == 0 && (missing || stale))
        err = nft_write(&target, &list);
    if (err < 0 && wanted_has_marks(keep->own))
        install_tell_failed(install, doing, err);
    else if (err == 0 && missing)
        install_tell(install, install->added, doing);
    else if (err == 0 && stale)
        install_tell(install, INSTALL_REMOVED, doing);
    nftlist_close(&list);
    wanted_close(&target);
}
