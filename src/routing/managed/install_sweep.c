/* SPDX-License-Identifier: BSD-2-Clause */
/* Removes what is ours and no longer needed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "install_internal.h"
#include "mmproxy/routing/kernel/survey.h"
#include "mmproxy/routing/kernel/sysctl.h"
#include "mmproxy/routing/wanted/iptext.h"

static bool is_rule_kept(const struct rtnl_rule *rule, const struct install_keep *keep)
{
    struct wanted_item item = {
        .kind = WANTED_RULE,
        .family = rule->family,
        .mark = rule->mark,
        .table = rule->table,
    };

    return install_keeps(keep, &item);
}

static void sweep_rules(struct install *install, const struct install_keep *keep,
                        sa_family_t family)
{
    struct rtnl_rules rules = { 0 };
    char line[IPTEXT_RULE_MAX + 32];
    char text[IPTEXT_RULE_MAX];
    int err = rtnl_dump_rules(install->rtnl, family, &rules);

    for (size_t i = 0; err == 0 && i < rules.n_items; i++) {
        const struct rtnl_rule *rule = &rules.items[i];

        if (rule->protocol != INSTALL_PROTOCOL || is_rule_kept(rule, keep))
            continue;
        snprintf(line, sizeof line, "ip %srule del %s", family == AF_INET6 ? "-6 " : "",
                 iptext_rule(rule, text));
        if (rtnl_rule_remove(install->rtnl, rule) == 0)
            install_tell(install, INSTALL_REMOVED, line);
    }
    rtnl_rules_close(&rules);
}

static void sweep_routes(struct install *install, const struct install_keep *keep,
                         sa_family_t family)
{
    struct rtnl_routes routes = { 0 };
    char command[WANTED_COMMAND_MAX];
    int err = rtnl_dump_routes(install->rtnl, family,
                               (struct rtnl_filter){ .protocol = INSTALL_PROTOCOL }, &routes);

    for (size_t i = 0; err == 0 && i < routes.n_items; i++) {
        struct wanted_item item = {
            .kind = WANTED_ROUTE,
            .family = family,
            .table = routes.items[i].table,
        };

        if (!install_keeps(keep, &item) && rtnl_route_remove(install->rtnl, &routes.items[i]) == 0)
            install_tell(install, INSTALL_REMOVED, wanted_undo(&item, command));
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

/* returns: 0 or -errno. */
static int set_back(struct install *install, const struct original *original)
{
    char line[WANTED_COMMAND_MAX];

    wanted_sysctl_command(original->name, original->value, line);
    int err = sysctl_set(original->name, original->value);
    if (err == 0)
        install_tell(install, INSTALL_REMOVED, line);
    else
        install_tell_failed(install, line, err);
    return err;
}

static void restore_sysctl(struct install *install, struct original *original)
{
    int value;
    int err = sysctl_get(original->name, &value);

    /* Somebody has set it to something else since: that is what is wanted there now. */
    if (err == 0 && value == 1 && original->value != 1)
        err = set_back(install, original);
    if (err < 0 && err != -ENOENT)
        return;
    originals_drop(install->originals, original->name);
    /* Another instance may have set it to 1 in between, and found a value that is gone now. */
    if (original->value != 1 && sysctl_get(original->name, &value) == 0 && value == 1)
        (void)originals_keep(install->originals, original->name, &original->value);
}

static void sweep_sysctls(struct install *install, const struct install_keep *keep)
{
    struct originals originals = { 0 };
    int err = originals_list(install->originals, &originals);

    if (install->originals_error == 0)
        install->originals_error = err;
    for (size_t i = 0; i < originals.n_items; i++) {
        struct original *original = &originals.items[i];

        if (!is_sysctl_wanted(keep->own, original->name) &&
            !is_sysctl_wanted(keep->others, original->name))
            restore_sysctl(install, original);
    }
    originals_close(&originals);
}

void install_sweep(struct install *install, const struct install_keep *keep)
{
    if (keep->incomplete)
        return;
    sweep_rules(install, keep, AF_INET);
    sweep_rules(install, keep, AF_INET6);
    sweep_routes(install, keep, AF_INET);
    sweep_routes(install, keep, AF_INET6);
    sweep_sysctls(install, keep);
}
