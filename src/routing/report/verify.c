/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/verify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mmproxy/base/shell.h"
#include "mmproxy/routing/kernel/survey.h"
#include "mmproxy/routing/kernel/sysctl.h"
#include "mmproxy/routing/report/host_faults.h"
#include "mmproxy/routing/wanted/auto_path.h"

enum { TAB = 8 };

/* Lines of one program have their marks in one column, as the original's. */
enum group { GROUP_XTABLES, GROUP_NFT, GROUP_OTHERS, GROUPS };

static enum group group_of(const struct wanted_item *item)
{
    if (item->kind == WANTED_MARK_REPLIES || item->kind == WANTED_MARK_FLOWS)
        return GROUP_NFT;
    return wanted_is_mark(item) ? GROUP_XTABLES : GROUP_OTHERS;
}

static int column(const struct wanted *wanted, enum group group)
{
    char command[WANTED_COMMAND_MAX];
    size_t longest = 0;

    for (size_t i = 0; i < wanted->n_items; i++) {
        size_t len = strlen(wanted_command(&wanted->items[i], command));

        if (group_of(&wanted->items[i]) == group && len > longest)
            longest = len;
    }
    return (int)(longest / TAB + 1) * TAB;
}

/* Nothing is wrong for most hosts: one line, the commands in it. */
static void report_note(const struct judgement *judgement, const struct report_sink *sink)
{
    char commands[JUDGE_TEXT_MAX * 2] = "";
    size_t len = 0;

    for (size_t i = 0; i < judgement->n_commands && len < sizeof commands; i++)
        len += (size_t)snprintf(commands + len, sizeof commands - len, "%s%s%s", i > 0 ? "; " : "",
                                report_sink_prefix(sink), judgement->commands[i]);
    report_sink_line(sink, LOG_LEVEL_NOTICE, "[ ] %s %s", judgement->note, commands);
}

/*
 * The whole report may be pasted into a shell: where the item's own command would not mend it, or
 * would even fail as its equal is there, the line is a comment and the commands that do follow.
 */
static void report_failed(const struct wanted_item *item, const struct judgement *judgement,
                          int width, const struct report_sink *sink)
{
    bool is_enough = judgement->n_commands == 0;
    char command[WANTED_COMMAND_MAX];

    wanted_command(item, command);
    report_sink_line(sink, LOG_LEVEL_WARNING, "%s%-*s# [!] CHECK FAILED", is_enough ? "" : "# ",
                     is_enough ? width : width - 2, command);
    if (is_enough)
        report_sink_remember(sink, command);
    if (judgement->reason[0] != '\0')
        report_sink_line(sink, LOG_LEVEL_WARNING, "[!] %s%s", judgement->reason,
                         report_mending(judgement->n_commands));
    for (size_t i = 0; i < judgement->n_commands; i++)
        report_sink_command(sink, judgement->commands[i]);
}

static void report_item(const struct wanted_item *item, const struct judgement *judgement,
                        int width, const struct report_sink *sink)
{
    char command[WANTED_COMMAND_MAX];

    if (judgement->verdict != JUDGE_HOLDS) {
        report_failed(item, judgement, width, sink);
        return;
    }
    report_sink_line(sink, LOG_LEVEL_INFO, "%-*s# [+] VERIFIED", width,
                     wanted_command(item, command));
    if (judgement->note[0] != '\0')
        report_note(judgement, sink);
}

static bool report_items(const struct wanted *wanted, const struct survey *survey,
                         const struct report_sink *sink)
{
    int widths[GROUPS];
    bool all = true;

    report_sink_line(sink, LOG_LEVEL_NOTICE,
                     "[ ] Remember to set the reverse routing rules correctly:");
    for (int group = 0; group < GROUPS; group++)
        widths[group] = column(wanted, (enum group)group);
    for (size_t i = 0; i < wanted->n_items; i++) {
        const struct wanted_item *item = &wanted->items[i];

        report_item(item, &survey->items[i], widths[group_of(item)], sink);
        all &= survey->items[i].verdict == JUDGE_HOLDS;
    }
    return all;
}

static bool has_kind(const struct wanted *wanted, enum wanted_kind kind)
{
    for (size_t i = 0; i < wanted->n_items; i++) {
        if (wanted->items[i].kind == kind)
            return true;
    }
    return false;
}

static bool report_default_routes(const struct wanted *wanted, const struct survey *survey,
                                  const struct report_sink *sink)
{
    static const char *const families[2] = { "IPv4", "IPv6" };

    if (survey->no_iptables)
        report_sink_line(
            sink, LOG_LEVEL_WARNING,
            "[!] iptables is not installed and nftables has no rules that do the same: "
            "install it (apt install iptables), or use return path fwmark, which needs "
            "neither.");
    if (survey->no_nft)
        report_sink_line(
            sink, LOG_LEVEL_WARNING,
            "[!] nft is not installed, and the commands above need it: install it (apt "
            "install nftables), or use routing = \"managed\", which does not.");
    for (int i = 0; i < 2; i++) {
        if (survey->no_route[i])
            report_sink_line(
                sink, LOG_LEVEL_WARNING,
                "[!] CHECK FAILED: there is no %s default route, and without one replies "
                "are dropped before they can be marked: add one%s.",
                families[i],
                has_kind(wanted, WANTED_RESTORE_MARK)
                    ? ", or use return path fwmark, which needs none"
                    : "");
    }
    return !survey->no_route[0] && !survey->no_route[1];
}

/* auto is the user leaving the choice to us: say what was chosen. */
static void report_auto(const struct listener_config *listener, sa_family_t family,
                        const struct report_sink *sink)
{
    const struct addr *target = listener_config_target(listener, family);
    enum return_path path = listener_config_return_path(listener, family);
    char text[ADDR_STRLEN];

    if (target && listener->return_path == RETURN_PATH_AUTO)
        report_sink_line(sink, LOG_LEVEL_INFO, "[ ] %s%sreturn path auto is %s for %s: %s.",
                         listener->name, listener->name[0] ? ": " : "", return_path_word(path),
                         addr_format(target, text), auto_path_why(path, target));
}

/* It lets neighbours on that link talk to 127.0.0.1: not to be on for nothing. */
static void report_needless_localnet(const struct wanted *wanted, const struct wanted_host *host,
                                     const struct report_sink *sink)
{
    char names[1 + WANTED_OUTBOUND_MAX][WANTED_SYSCTL_MAX] = { "net.ipv4.conf.all.route_localnet" };
    char quoted[SHELL_QUOTED_MAX(WANTED_SYSCTL_MAX)];
    char command[WANTED_COMMAND_MAX];
    size_t n = 1;

    for (size_t i = 0; i < wanted->n_items; i++) {
        if (strstr(wanted->items[i].sysctl, ".route_localnet"))
            return;
    }
    for (; n <= WANTED_OUTBOUND_MAX && host->outbound_v4[n - 1][0] != '\0'; n++)
        wanted_localnet_name(host->outbound_v4[n - 1], names[n]);
    for (size_t i = 0; i < n; i++) {
        int value = 0;

        if (sysctl_get(names[i], &value) == 0 && value != 0)
            report_sink_line(
                sink, LOG_LEVEL_NOTICE,
                "[ ] %s is on and not needed for this; unless something else needs it: %s%s",
                shell_quote(names[i], quoted, sizeof quoted), report_sink_prefix(sink),
                wanted_sysctl_command(names[i], 0, command));
    }
}

static bool wants_missing_ipv6(const struct config *config, const struct wanted_host *host)
{
    for (size_t i = 0; !host->has_ipv6 && i < config->n_listeners; i++) {
        if (addr_is_set(&config->listeners[i].target_v6.addr))
            return true;
    }
    return false;
}

static void report_no_ipv6(const struct report_sink *sink)
{
    int value = 0;

    if (sysctl_get("net.ipv6.conf.lo.disable_ipv6", &value) == 0 && value != 0)
        report_sink_line(
            sink, LOG_LEVEL_WARNING,
            "[!] This host has no IPv6: IPv6 targets are left out. It is switched off "
            "by net.ipv6.conf.lo.disable_ipv6 = 1; to switch it on, and then check again: "
            "%ssysctl -w net.ipv6.conf.lo.disable_ipv6=0",
            report_sink_prefix(sink));
    else
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] This host's kernel has no IPv6: IPv6 targets are left out.");
}

bool verify_report(const struct config *config, const struct wanted *wanted,
                   const struct survey *survey, const struct report_sink *sink)
{
    bool all = true;

    for (size_t i = 0; i < config->n_listeners; i++) {
        report_auto(&config->listeners[i], AF_INET, sink);
        report_auto(&config->listeners[i], AF_INET6, sink);
    }
    if (wanted->n_items > 0)
        all = report_items(wanted, survey, sink);
    return report_default_routes(wanted, survey, sink) && all;
}

static int survey_and_report(const struct config *config, struct rtnl *rtnl,
                             const struct report_sink *sink, bool *all)
{
    struct survey survey = { 0 };
    struct wanted wanted = { 0 };
    struct wanted_host host;
    int err = survey_host(rtnl, &host);

    if (err == 0)
        err = wanted_add(&wanted, config, &host);
    if (err == 0)
        err = survey_run(&survey, &wanted, rtnl);
    if (err == 0) {
        bool is_lo_down = host_faults_lo(sink); /* first: routes over lo can't be added before */
        *all = verify_report(config, &wanted, &survey, sink) && !is_lo_down;
        report_needless_localnet(&wanted, &host, sink);
        if (wants_missing_ipv6(config, &host))
            report_no_ipv6(sink);
    }
    survey_close(&survey);
    wanted_close(&wanted);
    return err;
}

bool verify_run(const struct config *config, const struct report_sink *sink)
{
    struct rtnl *rtnl;
    bool all = true;
    int err;

    if (config->n_listeners == 0)
        return true;
    rtnl = rtnl_new();
    err = rtnl ? survey_and_report(config, rtnl, sink, &all) : -errno;
    rtnl_free(rtnl);
    if (err < 0)
        report_sink_line(sink, LOG_LEVEL_ERROR,
                         "[!] CHECK FAILED: the return path can't be looked "
                         "at: %s",
                         strerror(-err));
    return err == 0 && all;
}
