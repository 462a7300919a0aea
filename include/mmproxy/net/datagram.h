/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * datagram: many UDP datagrams with one system call, each with the local address that it was sent
 * to. Nothing is allocated for a datagram.
 */
#ifndef MMPROXY_NET_DATAGRAM_H
#define MMPROXY_NET_DATAGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmproxy/base/addr.h"

enum {
    DATAGRAM_BATCH = 32,        /* messages a call */
    DATAGRAM_PREFIX_MAX = 64,   /* bytes in front of a payload */
    DATAGRAM_SEGMENTS_MAX = 128 /* datagrams that the kernel may put into one message (UDP_GRO) */
};

struct datagram {
    uint8_t *bytes; /* in the room of the datagrams that received it */
    size_t len;
    struct addr peer;  /* where it came from; v4-mapped is not unmapped */
    struct addr local; /* to answer from; port 0; not set: the kernel chooses */
    bool is_to_many;   /* sent to a broadcast or multicast address: each socket there has a copy */
};

/* The datagrams that were received last. */
struct datagrams;

/* Takes address space; memory follows what is received. returns: NULL when memory is short. */
struct datagrams *datagrams_new(void);
void datagrams_free(struct datagrams *datagrams);

/*
 * Receives what is there, a batch at the most, instead of what was received before.
 * *is_all: nothing is left. returns: how many, or -errno of the socket: ECONNREFUSED, ...
 */
int datagrams_receive(struct datagrams *datagrams, int fd, bool *is_all);

/* The i-th of those. Its bytes and len may be changed, to leave a header out. */
struct datagram *datagrams_at(struct datagrams *datagrams, unsigned i);

/* One way for all datagrams of a call. */
struct datagram_way {
    const struct addr *to; /* NULL: where the socket is connected to */
    const struct addr
        *from; /* address to send from, its port does not matter; NULL: the kernel's choice */
    uint8_t prefix[DATAGRAM_PREFIX_MAX]; /* in front of each payload */
    size_t prefix_len;
};

/* The outcome. */
struct datagram_sent {
    unsigned n;   /* that the kernel took */
    uint64_t len; /* their payloads' bytes, prefixes not counted */
    int error;    /* errno of the last that it did not take, or of an earlier one; 0 = none */
};

/*
 * Sends so many received datagrams, from the first on. One that can't be sent is left out and those
 * behind it are sent. An error that the socket still had from an earlier datagram is noted, and
 * costs none of these.
 */
struct datagram_sent datagrams_send(struct datagrams *datagrams, int fd, unsigned first, unsigned n,
                                    const struct datagram_way *way);

#endif
