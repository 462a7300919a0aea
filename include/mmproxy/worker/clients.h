/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clients: one worker's table of how many sessions each client has at each listener, for
 * max_sessions_per_client. Its worker alone writes it, and all others read it; see counters.h. All
 * zero is an empty table.
 */
#ifndef MMPROXY_WORKER_CLIENTS_H
#define MMPROXY_WORKER_CLIENTS_H

#include <stdatomic.h>
#include <stdint.h>

#include "mmproxy/base/hash.h"

enum {
    CLIENTS_BITS = 16,
    CLIENTS_MAX = 48 * 1024, /* different clients at once, counted at each listener */
    CLIENTS_FORM = 1, /* another where keys or entries change: other versions can't read them */
};

struct clients {
    _Atomic uint32_t n_used; /* entries that are not 0 */
    _Atomic uint64_t entries[1 << CLIENTS_BITS];
};

/* The key of a client at a listener, without its port. returns: never 0. */
uint64_t clients_hash(const struct hash_secret *secret, unsigned listener,
                      const struct addr *client);

/* Counts one more session. returns: 0, then clients_end is due; -ENOSPC: the table is full. */
int clients_begin(struct clients *clients, uint64_t hash);
void clients_end(struct clients *clients, uint64_t hash);

/* The sessions that are counted. Reads little of an empty table: reading takes memory. */
uint64_t clients_sessions(const struct clients *clients, uint64_t hash);

#endif
