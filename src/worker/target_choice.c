/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/target_choice.h"

/* The target for a client of that family; NULL: it has none. */
static const struct target_config *target_of(const struct listener_config *listener,
                                             sa_family_t family)
{
    const struct target_config *target = family == AF_INET    ? &listener->target_v4
                                         : family == AF_INET6 ? &listener->target_v6
                                                              : NULL;

    return target && addr_is_set(&target->addr) ? target : NULL;
}

/* How far behind the first port of its range is local? */
static bool find_offset(const struct listener_config *listener, const struct addr *local,
                        unsigned *out)
{
    for (size_t i = 0; i < listener->n_listen; i++) {
        if (!addr_range_contains(&listener->listen[i], local))
            continue;
        *out = addr_port(local) - (unsigned)addr_port(&listener->listen[i].addr);
        return true;
    }
    return false;
}

/* returns: 0: there is none. */
static uint16_t port_in_range(const struct listener_config *listener,
                              const struct target_config *target, const struct addr *local)
{
    unsigned offset;

    if (!find_offset(listener, local, &offset) ||
        offset > (unsigned)target->last - addr_port(&target->addr))
        return 0;
    return (uint16_t)(addr_port(&target->addr) + offset);
}

static enum reason choose_port(const struct listener_config *listener,
                               const struct target_config *target, const struct addr *local,
                               const struct target_facts *facts, uint16_t *out)
{
    switch (target->port) {
    case TARGET_PORT_FIXED:
        *out = addr_port(&target->addr);
        break;
    case TARGET_PORT_RANGE:
        *out = port_in_range(listener, target, local);
        break;
    case TARGET_PORT_SAME:
        *out = addr_port(local);
        break;
    case TARGET_PORT_HEADER:
        if (!facts->is_named)
            return REASON_NO_CLIENT;
        *out = port_list_contains(&listener->header_ports, facts->port) ? facts->port : 0;
        break;
    }
    return *out != 0 ? REASON_NONE : REASON_WRONG_PORT;
}

/*
 * The client's own family first; else the other one, where its address is mapped to.
 * returns: NULL: there is none.
 */
static const struct target_config *find_target(const struct listener_config *listener,
                                               sa_family_t family)
{
    if (listener_config_maps(listener, family))
        return target_of(listener, family == AF_INET ? AF_INET6 : AF_INET);
    return target_of(listener, family);
}

struct addr target_source(const struct listener_config *listener, const struct addr *client)
{
    sa_family_t family = addr_family(client);

    if (!listener_config_maps(listener, family))
        return *client;
    return family == AF_INET ? client_map_v4(&listener->map_v4, client)
                             : client_map_v6(&listener->map_v6, &listener->map_secret, client);
}

enum reason target_choose_port(const struct listener_config *listener, const struct addr *local,
                               const struct target_facts *facts, uint16_t *out)
{
    const struct target_config *target = find_target(listener, addr_family(&facts->client));

    return target ? choose_port(listener, target, local, facts, out) : REASON_NO_TARGET;
}

enum reason target_choose(const struct listener_config *listener, const struct addr *local,
                          const struct target_facts *facts, struct target_choice *out)
{
    const struct target_config *target = find_target(listener, addr_family(&facts->client));
    uint16_t port = 0;

    *out = (struct target_choice){ 0 };
    if (!target)
        return REASON_NO_TARGET;
    enum reason reason = choose_port(listener, target, local, facts, &port);
    if (reason != REASON_NONE)
        return reason;
    out->target = target->addr;
    addr_set_port(&out->target, port);
    out->source = target_source(listener, &facts->client);
    return REASON_NONE;
}
