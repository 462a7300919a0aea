/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rtnlmsg: rtnetlink messages about rules, routes, addresses and interfaces, from bytes to values.
 * Pure: what is truncated or malformed is refused, never read past its end.
 *
 * spec: rtnetlink(7), <linux/fib_rules.h>
 */
#ifndef MMPROXY_NET_RTNLMSG_H
#define MMPROXY_NET_RTNLMSG_H

#include <libmnl/libmnl.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { RTNL_LO_INDEX = 1 }; /* lo is interface 1 in every network namespace */

/* One rule of `ip rule`. */
struct rtnl_rule {
    sa_family_t family;
    uint8_t action; /* FR_ACT_TO_TBL, ... */
    uint8_t protocol;
    bool invert;     /* "not" */
    bool unresolved; /* a goto to a rule that does not exist: it does nothing */
    bool special;    /* a selector that is not known here */
    bool is_tunnel;  /* for packets of a tunnel alone */
    bool is_l3mdev;  /* for packets of a VRF alone; the table is that of the VRF */
    bool has_uids;   /* for sockets of these users alone */
    uint8_t tos;     /* 0 = any */
    uint32_t priority;
    uint32_t table; /* 0 unless the action is a lookup */
    uint32_t mark;
    uint32_t mask;       /* 0: the mark does not count */
    uint8_t ip_protocol; /* 0 = any */
    uint8_t src_len;     /* bits; 0 = all */
    uint8_t dst_len;
    uint8_t src[16];
    uint8_t dst[16];
    uint32_t goto_priority; /* 0 unless the action is a goto */
    uint32_t first_uid;
    uint32_t last_uid;
    uint16_t first_sport; /* both 0: any */
    uint16_t last_sport;
    uint16_t first_dport;
    uint16_t last_dport;
    int32_t suppress_group; /* routes of this group of interfaces don't count; -1 = all do */
    int32_t suppress_len;   /* routes with a prefix this long or shorter don't count; -1 = all do */
    char iif[IF_NAMESIZE];
    char oif[IF_NAMESIZE];
};

/* One route, or the kernel's answer about one. */
struct rtnl_route {
    sa_family_t family;
    uint8_t type; /* RTN_LOCAL, ... */
    uint8_t protocol;
    uint8_t tos;
    uint8_t dst_len;
    uint32_t table;
    uint32_t oif; /* interface index; 0 = none or several */
    uint32_t metric;
    bool has_gateway;
    uint8_t gateway[16];
    sa_family_t gateway_family;
    uint8_t dst[16];
    const char *congestion; /* to be added with that congestion control, or NULL; never told */
};

/* All zero is empty; items owned, see rtnl_rules_close. */
struct rtnl_rules {
    struct rtnl_rule *items;
    size_t n_items;
};

struct rtnl_routes {
    struct rtnl_route *items;
    size_t n_items;
};

/* An interface. */
struct rtnl_link {
    uint32_t index;
    uint32_t master; /* the bridge, say, that it is a port of; 0 = none */
    bool is_bridge;
    bool is_veth; /* one end of a pair; the other one is in another namespace as a rule */
};

/* An address of an interface of this host. */
struct rtnl_address {
    sa_family_t family;
    uint32_t interface;
    uint8_t address[16];
    uint8_t len; /* bits of its network's prefix */
    bool has_broadcast;
    uint8_t broadcast[16];
};

/*
 * The message at bytes, NULL where there is no whole one; *len, the bytes there are, and
 * *bytes are moved behind it. bytes: aligned as a struct nlmsghdr.
 */
const struct nlmsghdr *rtnlmsg_take(const void **bytes, size_t *len);

/*
 * All expect a whole message, as rtnlmsg_take gives it.
 * returns: false where it is of another type, too short or malformed.
 */
bool rtnlmsg_rule(const struct nlmsghdr *msg, struct rtnl_rule *out);
bool rtnlmsg_route(const struct nlmsghdr *msg, struct rtnl_route *out);
bool rtnlmsg_address(const struct nlmsghdr *msg, struct rtnl_address *out);
bool rtnlmsg_link(const struct nlmsghdr *msg, struct rtnl_link *out);

#endif
