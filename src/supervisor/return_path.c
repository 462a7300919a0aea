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

void return_path_update(struct supervisor *supervisor)
{
    const struct generation *generation;
    size_t n = supervisor->current ? 1 : 0;

    if (!supervisor->return_path)
        return;
    TAILQ_FOREACH (generation, &supervisor->draining, link)
        n++;
    const struct config **configs = calloc(n > 0 ? n : 1, sizeof(*configs));
    if (!configs) {
        log_error("return_path",
                  "[!] the return path could not be brought up to date: out of memory");
        return;
    }
    n = 0;
    if (supervisor->current)
        configs[n++] = supervisor->current->config;
    TAILQ_FOREACH (generation, &supervisor->draining, link)
        configs[n++] = generation->config;
    confine_begin_routing();
    (void)managed_apply(supervisor->return_path, configs, n);
    confine_end_routing();
    free(configs);
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
