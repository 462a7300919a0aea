/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/targets.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

struct target_state target_state(const struct listener_config *listener, const struct addr *target)
{
    return (struct target_state){ .target = *target,
                                  .mark = listener->mark,
                                  .table = listener->table,
                                  .namespace_id = listener->namespace_id,
                                  .return_path =
                                      listener_config_return_path(listener, addr_family(target)) };
}

struct target_state *targets_get(const struct targets *targets, const struct target_state *state)
{
    for (size_t i = 0; i < targets->n; i++) {
        struct target_state *item = &targets->items[i];
        if (item->mark == state->mark && item->table == state->table &&
            item->namespace_id == state->namespace_id && item->return_path == state->return_path &&
            addr_equal(&item->target, &state->target))
            return item;
    }
    return NULL;
}

const struct target_state *targets_find(const struct targets *targets,
                                        const struct listener_config *listener,
                                        const struct addr *target)
{
    const struct target_state state = target_state(listener, target);

    return targets_get(targets, &state);
}

int targets_add(struct targets *targets, const struct target_state *state)
{
    struct target_state *items = reallocarray(targets->items, targets->n + 1, sizeof *items);

    if (!items)
        return -ENOMEM;
    targets->items = items;
    items[targets->n++] = *state;
    return 0;
}

void targets_clear(struct targets *targets)
{
    free(targets->items);
    *targets = (struct targets){ .n = 0 };
}

size_t targets_failing(const struct targets *targets)
{
    size_t n = 0;

    for (size_t i = 0; i < targets->n; i++)
        n += !targets->items[i].holds;
    return n;
}

bool targets_are_down(const struct targets *targets, const struct listener_config *listener)
{
    static const sa_family_t families[] = { AF_INET, AF_INET6 };

    for (size_t i = 0; i < 2; i++) {
        const struct addr *target = listener_config_target(listener, families[i]);
        const struct target_state *state = target ? targets_find(targets, listener, target) : NULL;
        if (target && (!state || state->is_reached))
            return false;
    }
    return true;
}
