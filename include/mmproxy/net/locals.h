/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * locals: which addresses are this host's own? Kept up to date by the kernel's notifications.
 *
 * Own is what the kernel delivers to this host without a firewall mark: the addresses of all
 * interfaces (those in a VRF too) and their broadcast addresses, and every destination of a
 * local route, whatever its table. Two kinds of local routes do not count, because they bring
 * replies to clients back: a route for all addresses, and one in a table that rules reach by a
 * mark or from loopback alone.
 */
#ifndef MMPROXY_NET_LOCALS_H
#define MMPROXY_NET_LOCALS_H

#include <stdbool.h>

#include "mmproxy/base/addr.h"

struct locals;

/*
 * Opens its two rtnetlink sockets and reads everything; opens nothing afterwards, so that a
 * jail may close behind it. returns: 0 with *out for locals_free, or -errno.
 */
int locals_new(struct locals **out);
void locals_free(struct locals *locals);

/* Readable when something changed: then call locals_update. Owned by locals. */
int locals_fd(const struct locals *locals);

/*
 * Never blocks. An address that was added counts at once. All else is read again five times a
 * second at most, however many changes there are: locals_due_ms says when to call it for that.
 * returns: 0, or -errno with the old knowledge kept: a later call tries again.
 */
int locals_update(struct locals *locals);

/* In how many milliseconds is locals_update to be called without an event? -1: not at all. */
int locals_due_ms(const struct locals *locals);

/* port does not count; unmap first. */
bool locals_contain(const struct locals *locals, const struct addr *addr);

/*
 * Are both in one network that this host has an address in? Then each sends to the other without
 * this host. Ports do not count. A network that is new counts after 200 ms at most.
 */
bool locals_are_neighbours(const struct locals *locals, const struct addr *a, const struct addr *b);

/*
 * From now on locals_reach_container answers. To be called before a jail closes. returns: 0, or
 * -errno: it answers false.
 */
int locals_follow_bridges(struct locals *locals);

/*
 * Is it in the network of a bridge of this host whose ports are all veth pairs? Then containers are
 * behind it, and no other machine. Ports do not count. What changes counts after 200 ms at most.
 */
bool locals_reach_container(const struct locals *locals, const struct addr *addr);

#endif
