/* SPDX-License-Identifier: BSD-2-Clause */
/* What is to be known of one listener of a configuration besides its fields. */
#include <stdio.h>
#include <string.h>

#include "keys.h"
#include "mmproxy/config/config.h"

enum return_path listener_config_return_path(const struct listener_config *listener,
                                             sa_family_t family)
{
    if (listener->return_path != RETURN_PATH_AUTO)
        return listener->return_path;
    return family == AF_INET6 ? listener->auto_v6 : listener->auto_v4;
}

const char *return_path_word(enum return_path return_path)
{
    return keys_return_path_words[return_path];
}

uint32_t listener_config_socket_mark(const struct listener_config *listener, sa_family_t family)
{
    return listener_config_return_path(listener, family) == RETURN_PATH_ROUTED ? 0 : listener->mark;
}

static const struct target_config *target_of(const struct listener_config *listener,
                                             sa_family_t family)
{
    const struct target_config *target =
        family == AF_INET ? &listener->target_v4 : &listener->target_v6;

    return (family == AF_INET || family == AF_INET6) && addr_is_set(&target->addr) ? target : NULL;
}

const struct addr *listener_config_target(const struct listener_config *listener,
                                          sa_family_t family)
{
    const struct target_config *target = target_of(listener, family);

    return target ? &target->addr : NULL;
}

bool listener_config_maps(const struct listener_config *listener, sa_family_t family)
{
    const struct prefix *map = family == AF_INET6 ? &listener->map_v6 : &listener->map_v4;
    sa_family_t other = family == AF_INET6 ? AF_INET : AF_INET6;

    return (family == AF_INET || family == AF_INET6) && addr_is_set(&map->addr) &&
           !target_of(listener, family) && target_of(listener, other);
}

bool listener_config_ports(const struct listener_config *listener, sa_family_t family, size_t index,
                           struct port_range *out)
{
    const struct target_config *target = target_of(listener, family);
    enum target_port port = target ? target->port : TARGET_PORT_FIXED;
    size_t n = port == TARGET_PORT_SAME     ? listener->n_listen
               : port == TARGET_PORT_HEADER ? listener->header_ports.n
                                            : 1;

    if (!target || index >= n)
        return false;
    if (port == TARGET_PORT_HEADER)
        *out = listener->header_ports.items[index];
    else if (port == TARGET_PORT_SAME)
        *out = (struct port_range){ addr_port(&listener->listen[index].addr),
                                    listener->listen[index].last };
    else
        *out = (struct port_range){ addr_port(&target->addr), addr_port(&target->addr) };
    if (port == TARGET_PORT_RANGE)
        out->last = target->last;
    return true;
}

void listener_config_port_list(const struct listener_config *listener, sa_family_t family,
                               struct port_list *out)
{
    static const struct port_list all = { .n = 1, .items = { { 1, UINT16_MAX } } };
    struct port_range range;

    out->n = 0;
    for (size_t i = 0; listener_config_ports(listener, family, i, &range); i++) {
        if (!port_list_add(out, range)) {
            *out = all;
            return;
        }
    }
}

unsigned listener_config_count_ports(const struct listener_config *listener, sa_family_t family)
{
    struct port_range range;
    unsigned n = 0;

    for (size_t i = 0; listener_config_ports(listener, family, i, &range); i++)
        n += range.last - range.first + 1U;
    return n;
}

static uint16_t nth_port(const struct listener_config *listener, sa_family_t family, unsigned n)
{
    struct port_range range = { 0, 0 };

    for (size_t i = 0; listener_config_ports(listener, family, i, &range); i++) {
        unsigned count = range.last - range.first + 1U;
        if (n < count)
            break;
        n -= count;
    }
    return (uint16_t)(range.first + n);
}

/* The index-th of the ports that a check tries. */
static uint16_t sample_port(const struct listener_config *listener, sa_family_t family,
                            unsigned count, size_t index)
{
    const unsigned places[CONFIG_SAMPLE_MAX] = { 0, count - 1, count / 3 };

    return nth_port(listener, family, places[index]);
}

bool listener_config_sample(const struct listener_config *listener, sa_family_t family,
                            size_t index, struct addr *out)
{
    unsigned count = listener_config_count_ports(listener, family);

    if (count == 0 || index >= CONFIG_SAMPLE_MAX || index >= count)
        return false;
    uint16_t port = sample_port(listener, family, count, index);
    for (size_t i = 0; i < index; i++)
        if (sample_port(listener, family, count, i) == port)
            return false;
    *out = *listener_config_target(listener, family);
    addr_set_port(out, port);
    return true;
}

const char *listener_config_format_target(const struct listener_config *listener,
                                          sa_family_t family, char buf[TARGET_STRLEN])
{
    const struct target_config *target = target_of(listener, family);
    struct addr_range range = { .last = 0 };
    char text[ADDR_RANGE_STRLEN];

    if (target)
        range = (struct addr_range){ .addr = target->addr, .last = target->last };
    addr_range_format(&range, text);
    if (target && (target->port == TARGET_PORT_SAME || target->port == TARGET_PORT_HEADER))
        *(strrchr(text, ':') + 1) = '\0';
    (void)snprintf(buf, TARGET_STRLEN, "%.*s%s", TARGET_STRLEN - 7, text,
                   !target                              ? ""
                   : target->port == TARGET_PORT_SAME   ? "same"
                   : target->port == TARGET_PORT_HEADER ? "header"
                                                        : "");
    return buf;
}
