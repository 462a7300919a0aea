/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/locals.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/base/subnets.h"
#include "mmproxy/net/rtnl.h"

enum {
    READ_INTERVAL_MS = 200, /* everything is read again not more often */
    RETRY_MS = 1000,        /* after a read that failed */
    ADDED_MAX = 64,
    BUFFER_SIZE = 32 * 1024,
};

struct locals {
    struct rtnl *rtnl; /* asks; answers never mix with events */
    int events;
    struct subnets *set;
    struct prefix *networks; /* owned; those of the interfaces' addresses */
    size_t n_networks;
    struct prefix *bridged; /* owned; those of them that locals_reach_container is about */
    size_t n_bridged;
    bool follows_bridges;
    /*
     * Addresses of events since the last read: they count at once. An address that is removed
     * counts until the next read, and so do more than ADDED_MAX additions within one interval:
     * an address that is added in such a flood passes as a client for READ_INTERVAL_MS at most.
     */
    struct addr added[ADDED_MAX];
    size_t n_added;
    bool is_stale; /* something has changed since the last read */
    bool has_failed;
    uint64_t read_at_ms;
};

/* Everything that the kernel has for the set. */
struct facts {
    struct rtnl_addresses addresses;
    struct rtnl_links links;    /* none unless they are wanted */
    struct rtnl_rules rules[2]; /* [0] IPv4, [1] IPv6 */
    struct rtnl_routes routes[2];
};

static bool is_v6(sa_family_t family)
{
    return family == AF_INET6;
}

static int add(struct subnets *set, sa_family_t family, const uint8_t *bytes, unsigned len)
{
    struct prefix prefix = { .len = len };

    addr_from_bytes(&prefix.addr, family, bytes, 0);
    return subnets_add(set, &prefix);
}

static int add_addresses(struct subnets *set, const struct rtnl_addresses *addresses)
{
    int err = 0;

    for (size_t i = 0; err == 0 && i < addresses->n_items; i++) {
        const struct rtnl_address *item = &addresses->items[i];
        unsigned len = is_v6(item->family) ? 128 : 32;

        err = add(set, item->family, item->address, len);
        if (err == 0 && item->has_broadcast)
            err = add(set, item->family, item->broadcast, len);
    }
    return err;
}

static bool is_loopback_prefix(const struct rtnl_rule *rule)
{
    static const uint8_t loopback_v6[16] = { [15] = 1 };

    if (is_v6(rule->family))
        return rule->src_len == 128 && memcmp(rule->src, loopback_v6, sizeof loopback_v6) == 0;
    return rule->src_len >= 8 && rule->src[0] == 127;
}

/* Can a packet that bears no mark and does not come from loopback match? */
static bool is_for_strangers(const struct rtnl_rule *rule)
{
    if (rule->action != FR_ACT_TO_TBL)
        return false;
    return rule->invert || (rule->mark == 0 && !is_loopback_prefix(rule));
}

/* No rule at all leads to the table of a VRF, but its addresses are this host's. */
static bool is_for_marked_alone(const struct rtnl_rules *rules, uint32_t table)
{
    bool has_rule = false;

    for (size_t i = 0; i < rules->n_items; i++) {
        if (rules->items[i].table != table)
            continue;
        if (is_for_strangers(&rules->items[i]))
            return false;
        has_rule = true;
    }
    return has_rule;
}

static bool is_own(const struct rtnl_route *route, const struct rtnl_rules *rules)
{
    if (route->type != RTN_LOCAL && route->type != RTN_BROADCAST && route->type != RTN_ANYCAST)
        return false;
    /* A route that takes every address is a return path, ours or that of a transparent proxy. */
    if (route->dst_len == 0)
        return false;
    return route->table == RT_TABLE_LOCAL || !is_for_marked_alone(rules, route->table);
}

static int add_routes(struct subnets *set, const struct rtnl_routes *routes,
                      const struct rtnl_rules *rules)
{
    int err = 0;

    for (size_t i = 0; err == 0 && i < routes->n_items; i++) {
        const struct rtnl_route *route = &routes->items[i];

        if (is_own(route, rules))
            err = add(set, route->family, route->dst, route->dst_len);
    }
    return err;
}

static int read_family(struct rtnl *rtnl, sa_family_t family, struct facts *facts)
{
    /* Table `local` has broadcast and anycast addresses, too; elsewhere these are the interfaces'.
     */
    struct rtnl_filter table_local = { .table = RT_TABLE_LOCAL };
    struct rtnl_filter all_local = { .type = RTN_LOCAL };
    struct rtnl_routes *routes = &facts->routes[is_v6(family)];
    int err = rtnl_dump_rules(rtnl, family, &facts->rules[is_v6(family)]);

    /* A kernel without IPv6 has no rules for it. */
    if (err == -EOPNOTSUPP || err == -EAFNOSUPPORT)
        return 0;
    if (err == 0)
        err = rtnl_dump_routes(rtnl, family, table_local, routes);
    if (err == 0)
        err = rtnl_dump_routes(rtnl, family, all_local, routes);
    return err;
}

static int read_facts(struct rtnl *rtnl, bool with_links, struct facts *facts)
{
    int err = rtnl_dump_addresses(rtnl, &facts->addresses);

    /* Without them only speed is lost. */
    if (err == 0 && with_links && rtnl_dump_links(rtnl, &facts->links) < 0)
        rtnl_links_close(&facts->links);
    if (err == 0)
        err = read_family(rtnl, AF_INET, facts);
    if (err == 0)
        err = read_family(rtnl, AF_INET6, facts);
    return err;
}

static void facts_close(struct facts *facts)
{
    rtnl_addresses_close(&facts->addresses);
    rtnl_links_close(&facts->links);
    for (size_t i = 0; i < 2; i++) {
        rtnl_rules_close(&facts->rules[i]);
        rtnl_routes_close(&facts->routes[i]);
    }
}

static void set_network(struct prefix *network, const struct rtnl_address *item)
{
    addr_from_bytes(&network->addr, item->family, item->address, 0);
    network->len = item->len;
}

static int copy_networks(struct locals *fresh, const struct rtnl_addresses *addresses)
{
    fresh->networks = calloc(addresses->n_items + 1, sizeof *fresh->networks);
    if (!fresh->networks)
        return -ENOMEM;
    for (size_t i = 0; i < addresses->n_items; i++)
        set_network(&fresh->networks[fresh->n_networks++], &addresses->items[i]);
    return 0;
}

/* A port that is something else may lead to another machine. */
static bool leads_to_containers(const struct rtnl_links *links, uint32_t interface)
{
    bool is_bridge = false;
    bool has_port = false;

    for (size_t i = 0; i < links->n_items; i++) {
        const struct rtnl_link *link = &links->items[i];

        if (link->index == interface)
            is_bridge = link->is_bridge;
        if (link->master != interface)
            continue;
        if (!link->is_veth)
            return false;
        has_port = true;
    }
    return is_bridge && has_port;
}

/* Every interface has a network of link-local addresses, and it is the same one. */
static bool is_link_local(const struct rtnl_address *item)
{
    return is_v6(item->family) && item->address[0] == 0xfe && (item->address[1] & 0xc0) == 0x80;
}

static int copy_bridged(struct locals *fresh, const struct facts *facts)
{
    fresh->bridged = calloc(facts->addresses.n_items + 1, sizeof *fresh->bridged);
    if (!fresh->bridged)
        return -ENOMEM;
    for (size_t i = 0; i < facts->addresses.n_items; i++) {
        const struct rtnl_address *item = &facts->addresses.items[i];

        if (!is_link_local(item) && leads_to_containers(&facts->links, item->interface))
            set_network(&fresh->bridged[fresh->n_bridged++], item);
    }
    return 0;
}

static int fill(struct locals *fresh, const struct locals *locals)
{
    struct facts facts = { 0 };
    int err = read_facts(locals->rtnl, locals->follows_bridges, &facts);

    if (err == 0)
        err = add_addresses(fresh->set, &facts.addresses);
    if (err == 0)
        err = copy_networks(fresh, &facts.addresses);
    if (err == 0)
        err = copy_bridged(fresh, &facts);
    for (size_t i = 0; err == 0 && i < 2; i++)
        err = add_routes(fresh->set, &facts.routes[i], &facts.rules[i]);
    facts_close(&facts);
    return err;
}

static int read_all(struct locals *locals)
{
    struct locals fresh = { .set = subnets_new() };
    int err = fresh.set ? fill(&fresh, locals) : -ENOMEM;

    locals->read_at_ms = clock_now_ms();
    locals->has_failed = err < 0;
    if (err < 0) {
        subnets_free(fresh.set);
        free(fresh.networks);
        free(fresh.bridged);
        return err;
    }
    subnets_seal(fresh.set);
    subnets_free(locals->set);
    free(locals->networks);
    free(locals->bridged);
    locals->set = fresh.set;
    locals->networks = fresh.networks;
    locals->n_networks = fresh.n_networks;
    locals->bridged = fresh.bridged;
    locals->n_bridged = fresh.n_bridged;
    locals->n_added = 0;
    locals->is_stale = false;
    return 0;
}

/*
 * A router's routes may change thousands of times a second, and only those that make addresses
 * its own matter here: the kernel drops the others before they wake the worker.
 */
static int hear_own_alone(int fd)
{
    const unsigned type = offsetof(struct nlmsghdr, nlmsg_type);
    const unsigned route_type = NLMSG_HDRLEN + offsetof(struct rtmsg, rtm_type);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, type),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWROUTE), 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELROUTE), 0, 4),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, route_type),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RTN_LOCAL, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RTN_BROADCAST, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RTN_ANYCAST, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = { .len = sizeof code / sizeof *code, .filter = code };

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 ? -errno : 0;
}

static int open_events(struct locals *locals)
{
    static const int groups[] = { RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
                                  RTNLGRP_IPV6_ROUTE,  RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE };
    int fd = rtnl_listen(NETLINK_ROUTE, groups, sizeof groups / sizeof *groups);

    if (fd < 0)
        return fd;
    locals->events = fd;
    return hear_own_alone(fd);
}

int locals_new(struct locals **out)
{
    struct locals *locals = calloc(1, sizeof *locals);
    if (!locals)
        return -ENOMEM;

    locals->events = -1;
    int err = open_events(locals);
    if (err == 0) {
        locals->rtnl = rtnl_new();
        err = locals->rtnl ? read_all(locals) : -errno;
    }
    if (err < 0) {
        locals_free(locals);
        return err;
    }
    *out = locals;
    return 0;
}

void locals_free(struct locals *locals)
{
    if (!locals)
        return;
    if (locals->events >= 0)
        close(locals->events);
    rtnl_free(locals->rtnl);
    subnets_free(locals->set);
    free(locals->networks);
    free(locals->bridged);
    free(locals);
}

int locals_follow_bridges(struct locals *locals)
{
    static const int group = RTNLGRP_LINK;

    if (setsockopt(locals->events, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
        return -errno;
    locals->follows_bridges = true;
    locals->is_stale = true;
    return read_all(locals);
}

int locals_fd(const struct locals *locals)
{
    return locals->events;
}

static void count_at_once(struct locals *locals, sa_family_t family, const uint8_t *bytes)
{
    struct addr addr;

    addr_from_bytes(&addr, family, bytes, 0);
    if (locals->n_added < ADDED_MAX && !locals_contain(locals, &addr))
        locals->added[locals->n_added++] = addr;
}

static void take_event(struct locals *locals, const struct nlmsghdr *message)
{
    struct rtnl_address address;
    struct rtnl_route route;

    locals->is_stale = true;
    if (message->nlmsg_type == RTM_NEWADDR && rtnlmsg_address(message, &address))
        count_at_once(locals, address.family, address.address);
    else if (message->nlmsg_type == RTM_NEWROUTE && rtnlmsg_route(message, &route) &&
             route.table == RT_TABLE_LOCAL && route.dst_len == (is_v6(route.family) ? 128 : 32))
        count_at_once(locals, route.family, route.dst);
}

static void take_events(struct locals *locals)
{
    _Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];

    for (;;) {
        ssize_t n = recv(locals->events, buffer, sizeof buffer, 0);
        const struct nlmsghdr *message;
        const void *at = buffer;
        size_t left = n > 0 ? (size_t)n : 0;

        if (n < 0 && errno == ENOBUFS)
            locals->is_stale = true; /* so many at once that some were dropped */
        else if (n < 0 && errno != EINTR)
            return;
        while ((message = rtnlmsg_take(&at, &left)))
            take_event(locals, message);
    }
}

int locals_due_ms(const struct locals *locals)
{
    uint64_t interval = locals->has_failed ? RETRY_MS : READ_INTERVAL_MS;
    uint64_t passed = clock_now_ms() - locals->read_at_ms;

    if (!locals->is_stale)
        return -1;
    return passed >= interval ? 0 : (int)(interval - passed);
}

int locals_update(struct locals *locals)
{
    take_events(locals);
    return locals_due_ms(locals) == 0 ? read_all(locals) : 0;
}

bool locals_contain(const struct locals *locals, const struct addr *addr)
{
    for (size_t i = 0; i < locals->n_added; i++) {
        if (addr_equal_host(&locals->added[i], addr))
            return true;
    }
    return subnets_contain(locals->set, addr);
}

static bool is_in(const struct prefix *network, const struct addr *addr)
{
    const uint8_t *bytes = addr_bytes(addr);
    const uint8_t *prefix = addr_bytes(&network->addr);
    unsigned whole = network->len / 8;
    unsigned rest = network->len % 8;

    if (addr_family(addr) != addr_family(&network->addr) || memcmp(bytes, prefix, whole) != 0)
        return false;
    return rest == 0 || (bytes[whole] ^ prefix[whole]) >> (8 - rest) == 0;
}

bool locals_are_neighbours(const struct locals *locals, const struct addr *a, const struct addr *b)
{
    for (size_t i = 0; i < locals->n_networks; i++) {
        if (is_in(&locals->networks[i], a) && is_in(&locals->networks[i], b))
            return true;
    }
    return false;
}

bool locals_reach_container(const struct locals *locals, const struct addr *addr)
{
    for (size_t i = 0; i < locals->n_bridged; i++) {
        if (is_in(&locals->bridged[i], addr))
            return true;
    }
    return false;
}
