/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/return_path.h"

#include <errno.h>
#include <stdlib.h>

#include "mmproxy/base/log.h"
#include "mmproxy/routing/managed/managed.h"
#include "mmproxy/supervisor/confine.h"

static void on_change(void *managed)
{
    confine_begin_routing();
    managed_on_readable(managed);
    confine_end_routing();
}

int return_path_open(struct supervisor *supervisor)
{
    supervisor->return_path = managed_new();
    if (!supervisor->return_path)
        return -errno;
    reader_open(&supervisor->return_path_reader, supervisor->loop,
                managed_fd(supervisor->return_path), on_change, supervisor->return_path);
    return 0;
}

struct list {
    const struct config **configs;
    size_t n;
};

static void add(struct list *list, const struct generation *generation)
{
    /* Workers that were killed have no sessions, if they ever had any. */
    if (generation && !generation->is_killed)
        list->configs[list->n++] = generation->config;
}

void return_path_update(struct supervisor *supervisor)
{
    const struct generation *generation;
    size_t max = 4; /* beside those that drain */

    if (!supervisor->return_path)
        return;
    TAILQ_FOREACH (generation, &supervisor->draining, link)
        max++;
    struct list list = { .configs = calloc(max, sizeof *list.configs) };
    if (!list.configs) {
        log_error("return_path",
                  "[!] the return path could not be brought up to date: out of memory");
        return;
    }
    if (supervisor->load.config)
        list.configs[list.n++] = supervisor->load.config;
    add(&list, supervisor->next);
    add(&list, supervisor->current);
    add(&list, supervisor->previous);
    TAILQ_FOREACH (generation, &supervisor->draining, link)
        add(&list, generation);
    confine_begin_routing();
    supervisor->return_path_is_there = managed_apply(supervisor->return_path, list.configs, list.n);
    confine_end_routing();
    free(list.configs);
}

void return_path_close(struct supervisor *supervisor)
{
    if (!supervisor->return_path)
        return;
    reader_close(&supervisor->return_path_reader, supervisor->loop);
    confine_begin_routing();
    managed_remove(supervisor->return_path);
    confine_end_routing();
    managed_free(supervisor->return_path);
    supervisor->return_path = NULL;
}

void return_path_leave(struct supervisor *supervisor)
{
    managed_leave(supervisor->return_path);
    supervisor->return_path = NULL;
}
