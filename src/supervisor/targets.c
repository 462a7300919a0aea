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

struct target_state *targets_judge(const struct targets *targets, targets_look *look,
                                   const struct listener_config *listener, sa_family_t family,
                                   struct target_state *out)
{
    struct addr target;
    bool is_first = true;

    for (size_t i = 0; listener_config_sample(listener, family, i, &target); i++) {
        const struct target_state wanted = target_state(listener, &target);
        const struct target_state *each = look(targets, &wanted);
        if (!each)
            return NULL;
        if (is_first)
            *out = *each;
        is_first = false;
        out->holds = out->holds && each->holds;
        out->is_reached = out->is_reached || each->is_reached;
        out->answers = out->answers || each->answers;
    }
    return is_first ? NULL : out;
}

bool targets_are_down(const struct targets *targets, const struct listener_config *listener)
{
    static const sa_family_t families[] = { AF_INET, AF_INET6 };

    for (size_t i = 0; i < 2; i++) {
        struct target_state state;
        if (listener_config_target(listener, families[i]) &&
            (!targets_judge(targets, targets_get, listener, families[i], &state) ||
             state.is_reached))
            return false;
    }
    return true;
}
