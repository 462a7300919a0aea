/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * forwarders: is it docker-proxy, or another forwarder of containers' ports, that listens on a
 * port? Each connects on from an address of its own: a client's address ends there.
 */
#ifndef MMPROXY_ROUTING_KERNEL_FORWARDERS_H
#define MMPROXY_ROUTING_KERNEL_FORWARDERS_H

#include <stdbool.h>
#include <stddef.h>

#include "mmproxy/base/addr.h"
#include "mmproxy/net/listening.h"

enum { FORWARDER_NETNS_LEN = 48 };

/* One socket of such a process. */
struct forwarder {
    unsigned long inode;
    const char *name;                /* static */
    struct addr container;           /* where it connects on to; not set where it does not tell */
    char netns[FORWARDER_NETNS_LEN]; /* path of the container's network namespace; "": not known */
};

/* All zero is none. */
struct forwarders {
    struct forwarder *items; /* owned */
    size_t n_items;
};

/* Looks at every process once. Processes that this one may not see count as absent. */
void forwarders_open(struct forwarders *forwarders);
void forwarders_close(struct forwarders *forwarders);

/* The one that listens on the target's address and port, or on all addresses; NULL: none does. */
const struct forwarder *forwarders_find(const struct forwarders *forwarders,
                                        const struct listening *listening, size_t n_listening,
                                        const struct addr *target);

#endif
