/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "mmproxy/config/config.h"

/* The last two sets that were compared: listeners mostly share one. */
struct memory {
    const struct subnets *a;
    const struct subnets *b;
    bool is_equal;
};

static bool equal_subnets(const struct subnets *a, const struct subnets *b, struct memory *memory)
{
    if (memory->a != a || memory->b != b)
        *memory = (struct memory){ .a = a, .b = b, .is_equal = subnets_equal(a, b) };
    return memory->is_equal;
}

static bool equal_addresses(const struct listener_config *a, const struct listener_config *b)
{
    if (a->n_listen != b->n_listen)
        return false;
    for (size_t i = 0; i < a->n_listen; i++) {
        if (!addr_equal(&a->listen[i], &b->listen[i]))
            return false;
    }
    return addr_equal(&a->target_v4, &b->target_v4) && addr_equal(&a->target_v6, &b->target_v6);
}

static bool equal_listeners(const struct listener_config *a, const struct listener_config *b)
{
    return strcmp(a->name, b->name) == 0 && a->mark == b->mark && a->table == b->table &&
           a->return_path == b->return_path && a->return_path_is_auto == b->return_path_is_auto &&
           a->preserve_client_port == b->preserve_client_port &&
           a->allow_local_clients == b->allow_local_clients &&
           a->header_timeout_ms == b->header_timeout_ms &&
           a->connect_timeout_ms == b->connect_timeout_ms &&
           a->idle_timeout_ms == b->idle_timeout_ms && a->keepalive_s == b->keepalive_s &&
           a->max_sessions == b->max_sessions &&
           a->max_sessions_per_client == b->max_sessions_per_client &&
           a->max_pending == b->max_pending && a->backlog == b->backlog && equal_addresses(a, b);
}

static bool equal_globals(const struct config *a, const struct config *b)
{
    return strcmp(a->user, b->user) == 0 && a->workers == b->workers && a->routing == b->routing &&
           a->drain_timeout_ms == b->drain_timeout_ms && a->sandbox == b->sandbox &&
           a->log_connections == b->log_connections && a->quiet == b->quiet &&
           a->log.target == b->log.target && a->log.level == b->log.level &&
           a->log.format == b->log.format && a->n_listeners == b->n_listeners;
}

bool config_equal(const struct config *a, const struct config *b)
{
    struct memory memory = { .a = NULL };

    if (!equal_globals(a, b))
        return false;
    for (size_t i = 0; i < a->n_listeners; i++) {
        const struct listener_config *left = &a->listeners[i];
        const struct listener_config *right = &b->listeners[i];

        if (!equal_listeners(left, right) || !equal_subnets(left->allowed, right->allowed, &memory))
            return false;
    }
    return true;
}
