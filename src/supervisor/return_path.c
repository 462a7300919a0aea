/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/return_path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mmproxy/base/log.h"
#include "mmproxy/routing/managed/managed.h"
#include "mmproxy/supervisor/confine.h"
#include "mmproxy/supervisor/vanished.h"

static void on_change(void *context)
{
    struct network *network = context;

    if (namespaces_enter(network) < 0)
        return;
    confine_begin_routing();
    managed_on_readable(network->managed);
    confine_end_routing();
    namespaces_leave(&network->supervisor->namespaces, network);
}

/* Within the namespace. returns: 0 or -errno. */
static int open_managed(struct supervisor *supervisor, struct network *network)
{
    if (network->managed)
        return 0;
    network->managed = managed_new();
    if (!network->managed)
        return -errno;
    network->supervisor = supervisor;
    reader_open(&network->managed_reader, supervisor->loop, managed_fd(network->managed), on_change,
                network);
    return 0;
}

/* Within the namespace. */
static void close_managed(struct supervisor *supervisor, struct network *network)
{
    if (!network->managed)
        return;
    reader_close(&network->managed_reader, supervisor->loop);
    confine_begin_routing();
    managed_remove(network->managed);
    confine_end_routing();
    managed_free(network->managed);
    network->managed = NULL;
}

int return_path_open(struct supervisor *supervisor)
{
    vanished_clean();
    return open_managed(supervisor, &supervisor->namespaces.own);
}

/* The configurations of all living generations and of the load under way. */
struct list {
    const struct config **configs;
    struct config *parts; /* the same, of one namespace */
    size_t n;
};

static void add(struct list *list, const struct generation *generation)
{
    /* Workers that were killed have no sessions, if they ever had any. */
    if (generation && !generation->is_killed)
        list->configs[list->n++] = generation->config;
}

static int make_list(const struct supervisor *supervisor, struct list *out)
{
    const struct generation *generation;
    size_t max = 4; /* beside those that drain */

    TAILQ_FOREACH (generation, &supervisor->draining, link)
        max++;
    *out = (struct list){ .configs = calloc(max, sizeof *out->configs),
                          .parts = calloc(max, sizeof *out->parts) };
    if (!out->configs || !out->parts)
        return -ENOMEM;
    if (supervisor->load.config)
        out->configs[out->n++] = supervisor->load.config;
    add(out, supervisor->next);
    add(out, supervisor->current);
    add(out, supervisor->previous);
    TAILQ_FOREACH (generation, &supervisor->draining, link)
        add(out, generation);
    return 0;
}

static void close_list(const struct list *list)
{
    free(list->configs);
    free(list->parts);
}

/* returns: the number of listeners, or -ENOMEM. */
static int find_parts(const struct list *list, uint64_t namespace_id)
{
    int n = 0;

    for (size_t i = 0; i < list->n; i++) {
        int err = namespaces_part(list->configs[i], namespace_id, &list->parts[i]);
        if (err < 0)
            return err;
        n += list->parts[i].n_listeners > 0;
    }
    return n;
}

static void forget_parts(const struct list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->parts[i].listeners);
        list->parts[i].listeners = NULL;
    }
}

/* Within the namespace. returns: is everything there? */
static bool apply(struct supervisor *supervisor, struct network *network, const struct list *list)
{
    const struct config **parts = calloc(list->n + 1, sizeof *parts);

    int err = parts ? open_managed(supervisor, network) : -ENOMEM;
    for (size_t i = 0; parts && i < list->n; i++)
        parts[i] = &list->parts[i];
    confine_begin_routing();
    bool holds = err == 0 && managed_apply(network->managed, parts, list->n);
    confine_end_routing();
    free(parts);
    if (err < 0)
        log_error("return_path", "[!] the return path can't be managed: %s", strerror(-err));
    return holds;
}

/* returns: is everything there? */
static bool update(struct supervisor *supervisor, struct network *network, const struct list *list)
{
    int n = find_parts(list, network->id);
    bool is_unused = n == 0 && network->id != 0;
    bool holds = n >= 0;

    int err = namespaces_enter(network);
    if (err < 0 || n < 0) {
        forget_parts(list);
        return false;
    }
    if (is_unused)
        close_managed(supervisor, network);
    else
        holds = apply(supervisor, network, list);
    namespaces_leave(&supervisor->namespaces, network);
    forget_parts(list);
    if (is_unused)
        namespaces_drop(network);
    return holds;
}

void return_path_update(struct supervisor *supervisor)
{
    struct network *network = LIST_FIRST(&supervisor->namespaces.all);
    struct list list;
    bool holds = true;

    if (make_list(supervisor, &list) < 0) {
        log_error("return_path",
                  "[!] the return path could not be brought up to date: out of memory");
        network = NULL;
    }
    while (network) {
        struct network *next = LIST_NEXT(network, link);
        holds &= update(supervisor, network, &list);
        network = next;
    }
    supervisor->return_path_is_there = holds;
    close_list(&list);
}

void return_path_close(struct supervisor *supervisor)
{
    struct network *network;

    LIST_FOREACH (network, &supervisor->namespaces.all, link) {
        if (!network->managed || namespaces_enter(network) < 0)
            continue;
        close_managed(supervisor, network);
        namespaces_leave(&supervisor->namespaces, network);
    }
}

void return_path_leave(struct supervisor *supervisor, bool keeps_claims)
{
    struct network *network;

    LIST_FOREACH (network, &supervisor->namespaces.all, link) {
        int claim = managed_leave(network->managed);
        network->managed = NULL;
        if (claim >= 0 && !keeps_claims)
            close(claim);
    }
}
