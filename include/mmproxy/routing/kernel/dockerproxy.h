/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dockerproxy: is it docker-proxy that listens on a port? It relays published ports of
 * containers, from its own address: a client's address ends there.
 */
#ifndef MMPROXY_ROUTING_KERNEL_DOCKERPROXY_H
#define MMPROXY_ROUTING_KERNEL_DOCKERPROXY_H

#include <stdbool.h>
#include <stddef.h>

#include "mmproxy/base/addr.h"
#include "mmproxy/net/listening.h"

/* The listening sockets of all docker-proxy processes; all zero is none. */
struct dockerproxy {
    unsigned long *inodes; /* owned */
    size_t n_inodes;
};

/* Looks at every process once. Processes that this one may not see count as absent. */
void dockerproxy_open(struct dockerproxy *dockerproxy);
void dockerproxy_close(struct dockerproxy *dockerproxy);

/* Does it listen on the target's address and port, or on all addresses? */
bool dockerproxy_holds(const struct dockerproxy *dockerproxy, const struct listening *listening,
                       size_t n_listening, const struct addr *target);

#endif
