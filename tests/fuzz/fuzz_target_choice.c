/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A listener, where a connection came in, and what the header says. No byte of a header leads
 * anywhere but to a port of the configuration, at an address of the configuration.
 */
#include <string.h>

#include "fuzz.h"
#include "mmproxy/worker/target_choice.h"

/* What is left of the input. */
struct input {
    const uint8_t *bytes;
    size_t len;
};

/* Zeroes behind the end. */
static void take(struct input *input, void *out, size_t len)
{
    size_t n = len < input->len ? len : input->len;

    memset(out, 0, len);
    if (n > 0)
        memcpy(out, input->bytes, n);
    input->bytes += n;
    input->len -= n;
}

static uint8_t take_byte(struct input *input)
{
    uint8_t byte;

    take(input, &byte, sizeof byte);
    return byte;
}

static uint16_t take_port(struct input *input)
{
    uint16_t port;

    take(input, &port, sizeof port);
    return port > 0 ? port : 1;
}

/* Of a family or of none, by the lowest two bits. */
static struct addr take_addr(struct input *input, unsigned kind)
{
    struct addr addr = { 0 };
    uint8_t bytes[16];

    take(input, bytes, sizeof bytes);
    if (kind % 4 != 0)
        addr_from_bytes(&addr, kind % 2 == 0 ? AF_INET : AF_INET6, bytes, take_port(input));
    return addr;
}

static struct port_range take_range(struct input *input)
{
    uint16_t a = take_port(input);
    uint16_t b = take_port(input);

    return (struct port_range){ a < b ? a : b, a < b ? b : a };
}

static struct target_config take_target(struct input *input, sa_family_t family)
{
    struct target_config target = { .port = (enum target_port)(take_byte(input) % 4) };
    uint8_t bytes[16];
    struct port_range range = take_range(input);

    take(input, bytes, sizeof bytes);
    if (take_byte(input) % 4 != 0)
        addr_from_bytes(&target.addr, family, bytes, range.first);
    target.last = target.port == TARGET_PORT_RANGE ? range.last : range.first;
    return target;
}

static bool is_a_port_of(const struct listener_config *listener, sa_family_t family, uint16_t port)
{
    struct port_range range;

    for (size_t i = 0; listener_config_ports(listener, family, i, &range); i++)
        if (port >= range.first && port <= range.last)
            return true;
    return false;
}

static void check_choice(const struct listener_config *listener, const struct target_facts *facts,
                         const struct target_choice *choice)
{
    sa_family_t family = addr_family(&choice->target);
    const struct addr *target = listener_config_target(listener, family);

    PROPERTY(target && addr_equal_host(target, &choice->target));
    PROPERTY(is_a_port_of(listener, family, addr_port(&choice->target)));
    PROPERTY(addr_family(&choice->source) == family);
    PROPERTY(addr_port(&choice->source) == addr_port(&facts->client));
    if (family == addr_family(&facts->client))
        PROPERTY(addr_equal(&choice->source, &facts->client));
    else
        PROPERTY(listener_config_maps(listener, addr_family(&facts->client)));
}

/* The sample is of the target's ports, and no port is there twice. */
static void check_sample(const struct listener_config *listener, sa_family_t family)
{
    struct addr sample[CONFIG_SAMPLE_MAX + 1];
    size_t n = 0;

    while (listener_config_sample(listener, family, n, &sample[n])) {
        PROPERTY(n < CONFIG_SAMPLE_MAX);
        PROPERTY(is_a_port_of(listener, family, addr_port(&sample[n])));
        for (size_t i = 0; i < n; i++)
            PROPERTY(!addr_equal(&sample[i], &sample[n]));
        n++;
    }
    PROPERTY((n > 0) == (listener_config_count_ports(listener, family) > 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct input input = { .bytes = bytes, .len = len };
    struct addr_range listen[4];
    struct listener_config listener = { .listen = listen, .n_listen = take_byte(&input) % 5 };
    struct target_facts facts;
    struct target_choice choice;
    uint16_t port = 0;

    for (size_t i = 0; i < listener.n_listen; i++) {
        struct port_range range = take_range(&input);
        listen[i].addr = take_addr(&input, 1U + take_byte(&input) % 2);
        addr_set_port(&listen[i].addr, range.first);
        listen[i].last = range.last;
    }
    for (unsigned n = take_byte(&input) % 8; n > 0; n--)
        PROPERTY(port_list_add(&listener.header_ports, take_range(&input)));
    listener.target_v4 = take_target(&input, AF_INET);
    listener.target_v6 = take_target(&input, AF_INET6);
    listener.map_v4 =
        (struct prefix){ take_addr(&input, take_byte(&input) % 2), CLIENT_MAP_V4_LEN };
    listener.map_v6.addr = take_addr(&input, 2U * (take_byte(&input) % 2));
    listener.map_v6.len = take_byte(&input) % 33;
    const struct addr local = take_addr(&input, 1U + take_byte(&input) % 2);
    facts.client = take_addr(&input, take_byte(&input));
    facts.is_named = take_byte(&input) % 2 == 0;
    take(&input, &facts.port, sizeof facts.port);

    enum reason reason = target_choose(&listener, &local, &facts, &choice);
    PROPERTY(target_choose_port(&listener, &local, &facts, &port) == reason);
    PROPERTY((reason == REASON_NONE) == addr_is_set(&choice.target));
    PROPERTY((reason == REASON_NONE) == addr_is_set(&choice.source));
    if (reason == REASON_NONE) {
        PROPERTY(addr_port(&choice.target) == port);
        /* "same" may be any port: what the listener's socket is bound to comes from ourselves. */
        if ((addr_family(&choice.target) == AF_INET ? listener.target_v4 : listener.target_v6)
                .port != TARGET_PORT_SAME)
            check_choice(&listener, &facts, &choice);
    }
    check_sample(&listener, AF_INET);
    check_sample(&listener, AF_INET6);
    return 0;
}
