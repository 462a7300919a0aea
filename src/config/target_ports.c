/* SPDX-License-Identifier: BSD-2-Clause */
#include "target_ports.h"

#include <stdio.h>

#define REASON(...) (snprintf(reason, KINDS_REASON_MAX, __VA_ARGS__), false)

unsigned target_ports_count_listen(const struct listener_config *listener)
{
    unsigned n = 0;

    for (size_t i = 0; i < listener->n_listen; i++)
        n += addr_range_count(&listener->listen[i]);
    return n;
}

/* The first port of one range belongs to the first port of the other, and so on. */
static bool has_length_of_listen(const struct listener_config *listener,
                                 const struct target_config *target, char reason[KINDS_REASON_MAX])
{
    unsigned n = target->last - addr_port(&target->addr) + 1U;
    char text[ADDR_RANGE_STRLEN];

    for (size_t i = 0; i < listener->n_listen; i++) {
        const struct addr_range *range = &listener->listen[i];
        if (addr_range_count(range) != n)
            return REASON("has %u ports, but %s in \"listen\" has %u: it must have as many", n,
                          addr_range_format(range, text), addr_range_count(range));
    }
    return true;
}

static bool resolve_header(const struct listener_config *listener, struct target_config *target,
                           char reason[KINDS_REASON_MAX])
{
    if (listener->header_ports.n == 0)
        return REASON("has the port of the header: this listener needs the key \"header_ports\"");
    addr_set_port(&target->addr, listener->header_ports.items[0].first);
    return true;
}

bool target_ports_resolve(const struct listener_config *listener, struct target_config *target,
                          char reason[KINDS_REASON_MAX])
{
    if (!addr_is_set(&target->addr))
        return true;
    if (target->port != TARGET_PORT_FIXED && listener->protocol == PROTOCOL_UDP &&
        listener->udp_header == UDP_HEADER_FIRST)
        return REASON("can't have several ports with udp_header \"first\": later datagrams do not "
                      "name their client");
    switch (target->port) {
    case TARGET_PORT_FIXED:
        break;
    case TARGET_PORT_RANGE:
        return has_length_of_listen(listener, target, reason);
    case TARGET_PORT_SAME:
        if (listener->n_listen > 0)
            addr_set_port(&target->addr, addr_port(&listener->listen[0].addr));
        break;
    case TARGET_PORT_HEADER:
        return resolve_header(listener, target, reason);
    }
    return true;
}
