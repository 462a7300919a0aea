/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/check_networks.h"

#include <stdio.h>
#include <stdlib.h>

#include "mmproxy/base/shell.h"
#include "mmproxy/routing/report/check.h"
#include "mmproxy/routing/report/verify.h"

enum { PATH_MAX_LEN = sizeof NAMESPACES_NAMES + LISTENER_NETNS_MAX };

static bool run_here(const struct config *config, bool is_verifying, const struct report_sink *sink)
{
    struct report_told told = { 0 }; /* by both */
    struct report_sink once = *sink;

    once.told = &told;
    bool holds = !is_verifying || verify_run(config, &once);
    holds = check_run(config, &once) && holds;
    report_told_close(&told);
    return holds;
}

/* What a command that is to be run in the namespace begins with; returns out. */
static const char *enter_command(const char *netns, char *out, size_t size)
{
    char path[PATH_MAX_LEN];
    char quoted[SHELL_QUOTED_MAX(PATH_MAX_LEN)];

    (void)snprintf(path, sizeof path, "%s%s", netns[0] == '/' ? "" : NAMESPACES_NAMES, netns);
    (void)snprintf(out, size, "nsenter --net=%s ", shell_quote(path, quoted, sizeof quoted));
    return out;
}

/* Within the namespace: commands of the report are to be run there. */
static bool run_elsewhere(const struct config *config, bool is_verifying,
                          const struct report_sink *sink)
{
    const char *netns = config->listeners[0].netns;
    char prefix[SHELL_QUOTED_MAX(PATH_MAX_LEN) + sizeof "nsenter --net= "];
    struct report_sink there = *sink;

    there.prefix = enter_command(netns, prefix, sizeof prefix);
    there.netns = netns;
    if (is_verifying)
        report_sink_line(sink, LOG_LEVEL_NOTICE, "[ ] In network namespace %s:", netns);
    return run_here(config, is_verifying, &there);
}

bool check_networks_closed(const struct config *config, const struct report_sink *sink)
{
    bool all = true;

    for (size_t i = 0; i < config->n_listeners; i++) {
        const struct listener_config *listener = &config->listeners[i];
        if (!listener->closed_because)
            continue;
        report_sink_line(sink, LOG_LEVEL_WARNING, "[!] FAILED: %s is closed: %s (netns \"%s\").%s",
                         listener->name, listener->closed_because, listener->netns,
                         namespaces_cure(listener->closed_because));
        all = false;
    }
    return all;
}

static bool run_part(struct namespaces *namespaces, const struct network *network,
                     const struct config *part, bool is_verifying, const struct report_sink *sink)
{
    bool holds = true;

    if (part->n_listeners > 0 && namespaces_enter(network) == 0) {
        holds = network->id == 0 ? run_here(part, is_verifying, sink)
                                 : run_elsewhere(part, is_verifying, sink);
        namespaces_leave(namespaces, network);
    }
    return holds;
}

/* Its loopback is down: the report of the namespace has what mends that, and what is missing then.
 */
static void run_down(struct namespaces *namespaces, const struct config *config,
                     const struct listener_config *listener, const struct report_sink *sink)
{
    struct listener_config copy = *listener;
    struct config part = *config;
    struct network *network;
    bool is_new;

    network = namespaces_open_down(namespaces, &copy, &is_new);
    if (!network)
        return;
    part.listeners = &copy;
    part.n_listeners = 1;
    (void)run_part(namespaces, network, &part, true, sink);
    if (is_new)
        namespaces_drop(network);
}

bool check_networks(struct namespaces *namespaces, const struct config *config, bool is_verifying,
                    const struct report_sink *sink)
{
    struct network *network;
    bool holds = true;

    LIST_FOREACH (network, &namespaces->all, link) {
        struct config part;
        if (namespaces_part(config, network->id, &part) < 0)
            return false;
        holds &= run_part(namespaces, network, &part, is_verifying, sink);
        free(part.listeners);
    }
    for (size_t i = 0; is_verifying && i < config->n_listeners; i++)
        run_down(namespaces, config, &config->listeners[i], sink);
    /* At every load a warning says it (network_watch). */
    return (!is_verifying || check_networks_closed(config, sink)) && holds;
}
