/* SPDX-License-Identifier: BSD-2-Clause */
/* Does a reload change anything? Compares two configurations key by key. */
#include <string.h>

#include "keys.h"
#include "mmproxy/config/config.h"

/* The last two sets that were compared: listeners mostly share one. */
struct memory {
    const struct subnets *a;
    const struct subnets *b;
    bool is_equal;
};

/* Either may be NULL: there is none. */
static bool equal_subnets(const struct subnets *a, const struct subnets *b, struct memory *memory)
{
    if (!a || !b)
        return a == b;
    if (memory->a != a || memory->b != b)
        *memory = (struct memory){ .a = a, .b = b, .is_equal = subnets_equal(a, b) };
    return memory->is_equal;
}

/* Fields without a key. */
static bool equal_rest(const struct config *a, const struct config *b)
{
    return a->log_connections == b->log_connections && a->quiet == b->quiet &&
           a->n_listeners == b->n_listeners;
}

static bool equal_listeners(const struct listener_config *a, const struct listener_config *b)
{
    return keys_equal(&keys_of_listener, a, b) && a->auto_v4 == b->auto_v4 &&
           a->auto_v6 == b->auto_v6 && a->namespace_id == b->namespace_id &&
           a->closed_because == b->closed_because && a->has_map_secret == b->has_map_secret &&
           memcmp(&a->map_secret, &b->map_secret, sizeof a->map_secret) == 0;
}

bool config_equal(const struct config *a, const struct config *b)
{
    struct memory allowed = { .a = NULL };
    struct memory direct = { .a = NULL };

    if (!keys_equal(&keys_of_config, a, b) || !keys_equal(&keys_of_log, a, b) || !equal_rest(a, b))
        return false;
    for (size_t i = 0; i < a->n_listeners; i++) {
        const struct listener_config *left = &a->listeners[i];
        const struct listener_config *right = &b->listeners[i];

        if (!equal_listeners(left, right) ||
            !equal_subnets(left->allowed, right->allowed, &allowed) ||
            !equal_subnets(left->direct, right->direct, &direct))
            return false;
    }
    return true;
}
