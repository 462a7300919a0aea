/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/return_path.h"

#include <errno.h>
#include <stdlib.h>

#include "mmproxy/base/log.h"
#include "mmproxy/routing/managed.h"
#include "mmproxy/supervisor/confine.h"

static void on_change(struct ev_loop *loop, ev_io *io, int revents)
{
    (void)loop;
    (void)revents;
    confine_begin_routing();
    managed_on_readable(io->data);
    confine_end_routing();
}

int return_path_open(struct supervisor *supervisor)
{
    supervisor->return_path = managed_new();
    if (!supervisor->return_path)
        return -errno;
    ev_io_init(&supervisor->return_path_io, on_change, managed_fd(supervisor->return_path),
               EV_READ);
    supervisor->return_path_io.data = supervisor->return_path;
    ev_io_start(supervisor->loop, &supervisor->return_path_io);
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
    ev_io_stop(supervisor->loop, &supervisor->return_path_io);
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
