/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * locals: which addresses are this host's own? Kept up to date by the kernel's
 * notifications. What counts is the kernel's table `local`: the interfaces' addresses, their
 * broadcast addresses, and whatever else was routed to the host itself.
 */
#ifndef MMPROXY_NET_LOCALS_H
#define MMPROXY_NET_LOCALS_H

#include <stdbool.h>

#include "mmproxy/base/addr.h"

struct locals;

/*
 * Opens its two rtnetlink sockets and reads the table; opens nothing afterwards, so that a
 * jail may close behind it. returns: 0 with *out for locals_free, or -errno.
 */
int locals_new(struct locals **out);
void locals_free(struct locals *locals);

/* Readable when something changed: then call locals_update. Owned by locals. */
int locals_fd(const struct locals *locals);

/*
 * Never blocks. returns: 0, or -errno with the old knowledge kept; another call, after a while,
 * tries again whether or not something has changed since.
 */
int locals_update(struct locals *locals);

/* port does not count; unmap first. */
bool locals_contain(const struct locals *locals, const struct addr *addr);

#endif
