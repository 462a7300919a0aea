/* SPDX-License-Identifier: BSD-2-Clause */
/* listening: which programs take connections, or datagrams, in this network namespace. */
#ifndef MMPROXY_NET_LISTENING_H
#define MMPROXY_NET_LISTENING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mmproxy/base/addr.h"

struct listening {
    struct addr addr;
    bool takes_v4; /* an IPv6 socket that takes IPv4 connections too */
    uid_t uid;     /* of the process that made it */
    uint32_t inode;
    uint32_t device;  /* the index of the interface that it is bound to; 0 = none */
    uint32_t waiting; /* TCP: connections that it has not accepted yet ... */
    uint32_t backlog; /* ... and how many there may be */
};

/* Reads them all; needs no privilege. returns: 0 with *out to be freed, or -errno. */
int listening_read(struct listening **out, size_t *n);

/* The same for UDP sockets that are not connected. */
int listening_read_udp(struct listening **out, size_t *n);

/* Would the socket keep another one from listening on that address (IPv6 alone for [::])? */
bool listening_takes(const struct listening *listening, const struct addr *addr);

#endif
