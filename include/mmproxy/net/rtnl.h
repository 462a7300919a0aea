/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rtnl: the kernel's rules and routes, read and changed over rtnetlink. No call waits: the
 * kernel has answered when the request is sent.
 */
#ifndef MMPROXY_NET_RTNL_H
#define MMPROXY_NET_RTNL_H

#include <stddef.h>

#include "mmproxy/base/addr.h"
#include "mmproxy/net/rtnlmsg.h"

struct rtnl;

/* errors: NULL, errno tells. Needs no privilege; changing things needs CAP_NET_ADMIN. */
struct rtnl *rtnl_new(void);
void rtnl_free(struct rtnl *rtnl);

struct rtnl_addresses {
    struct rtnl_address *items;
    size_t n_items;
};

/*
 * A non-blocking socket that hears what these groups tell (RTNLGRP_...). bus: NETLINK_ROUTE or
 * another. returns: the descriptor, owned by the caller, or -errno.
 */
int rtnl_listen(int bus, const int *groups, size_t n_groups);

/* Appends all rules of the family, in the kernel's order of evaluation. returns: 0 or -errno. */
int rtnl_dump_rules(struct rtnl *rtnl, sa_family_t family, struct rtnl_rules *out);

/* Which routes; 0 stands for all of them. */
struct rtnl_filter {
    uint32_t table;
    uint8_t protocol; /* that installed it */
    uint8_t type;     /* RTN_LOCAL, ... */
};

/*
 * Appends the routes that pass the filter, none where there is no such table. The kernel looks
 * through all routes where no table is named. returns: 0 or -errno.
 */
int rtnl_dump_routes(struct rtnl *rtnl, sa_family_t family, struct rtnl_filter filter,
                     struct rtnl_routes *out);

/* Appends the addresses of all interfaces, both families. returns: 0 or -errno. */
int rtnl_dump_addresses(struct rtnl *rtnl, struct rtnl_addresses *out);

struct rtnl_links {
    struct rtnl_link *items;
    size_t n_items;
};

/* Appends all interfaces. returns: 0 or -errno. */
int rtnl_dump_links(struct rtnl *rtnl, struct rtnl_links *out);

void rtnl_addresses_close(struct rtnl_addresses *addresses);
void rtnl_links_close(struct rtnl_links *links);
void rtnl_rules_close(struct rtnl_rules *rules);
void rtnl_routes_close(struct rtnl_routes *routes);

/*
 * Which route would a TCP segment of this host take? out is that route as it stands in its
 * table, with its own prefix. src: may be NULL; mark 0: none.
 * returns: 0, or -errno: what a sender would get (-ENETUNREACH, -EACCES for prohibit, ...).
 */
int rtnl_lookup(struct rtnl *rtnl, const struct addr *dst, const struct addr *src, uint32_t mark,
                struct rtnl_route *out);

/*
 * What traffic control does on an interface beyond nothing. kind: "tbf", "clsact", ... returns: is
 * there anything? False where it can't be read, too.
 */
enum { RTNL_KIND_MAX = 16 };
bool rtnl_find_qdisc(struct rtnl *rtnl, uint32_t interface, char kind[RTNL_KIND_MAX]);

/* Adds (-EEXIST where its equal is there) or removes (-ENOENT where it is not). */
int rtnl_rule_add(struct rtnl *rtnl, const struct rtnl_rule *rule);
int rtnl_rule_remove(struct rtnl *rtnl, const struct rtnl_rule *rule);

/* The same for a route; -ESRCH where there is none to remove. */
int rtnl_route_add(struct rtnl *rtnl, const struct rtnl_route *route);
int rtnl_route_remove(struct rtnl *rtnl, const struct rtnl_route *route);

#endif
