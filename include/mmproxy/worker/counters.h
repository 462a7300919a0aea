/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * counters: what the workers of all generations count, in one shared mapping that is made before
 * the first fork.
 *
 * Each worker has pages of its own there. It alone writes them and all read them, so there are no
 * totals: a total is the sum over all workers, made when it is needed. When a worker dies, its
 * pages become zero and nothing of what it counted remains, whatever it was doing.
 */
#ifndef MMPROXY_WORKER_COUNTERS_H
#define MMPROXY_WORKER_COUNTERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mmproxy/config/config.h"
#include "mmproxy/worker/clients.h"
#include "mmproxy/worker/reason.h"

/*
 * What the supervisor has room for: two generations can have entirely different listeners, and four
 * can have all the workers that there may be. This takes 18 GB of address space; memory is taken
 * only for what is in use. A 32-bit process has less: 64 workers take a quarter of a GiB of it.
 */
enum {
    COUNTERS_LISTENERS = 2 * CONFIG_LISTENERS_MAX,
    COUNTERS_WORKERS = sizeof(void *) > 4 ? 4 * CONFIG_WORKERS_MAX : 64,
};

/* One listener in one worker. */
struct counters_listener {
    _Alignas(64) _Atomic uint32_t sessions; /* at the moment */
    _Atomic uint32_t pending;               /* those of them without a whole header */
    _Atomic uint64_t oldest_pending_us;     /* monotonic: since when the first of these; 0 = none */
    /* From here on they only grow. */
    _Atomic uint64_t accepted;
    _Atomic uint64_t health_checks; /* closed without a byte, LOCAL or UNKNOWN */
    _Atomic uint64_t bytes_in;      /* to the targets, of sessions that have ended */
    _Atomic uint64_t bytes_out;     /* from the targets, the same */
    _Atomic uint64_t refused[REASONS];
};

/* One worker process. */
struct counters_worker {
    _Atomic uint32_t sessions;  /* at the moment, of all listeners */
    _Atomic uint32_t forbidden; /* what the jail ended the worker for; see jail/trap.h */
    struct clients clients;
    struct counters_listener listeners[]; /* by their number; those that are not claimed too */
};

struct counters;

/* What an errno of the functions below means, as a sentence. */
const char *counters_strerror(int error);

/*
 * For so many workers and listeners at once: COUNTERS_WORKERS and COUNTERS_LISTENERS, but for
 * tests. returns: NULL when memory is short.
 */
struct counters *counters_new(unsigned workers, unsigned listeners);
void counters_free(struct counters *counters);

/*
 * For the supervisor: the number under which a listener is counted, by its name. All generations
 * that have the name get the same one. Claims are counted; a number is free again when the last
 * claim is released, which must be after the last worker that counted under it.
 * returns: the number, or -ENOSPC, -ENOMEM.
 */
int counters_claim_listener(struct counters *counters, const char *name);
void counters_release_listener(struct counters *counters, unsigned listener);

/*
 * For the supervisor: the number of a worker, with pages that are zero. It is released when the
 * process is dead. returns: the number, or -ENOSPC.
 */
int counters_claim_worker(struct counters *counters);
void counters_release_worker(struct counters *counters, unsigned worker);

/*
 * In a worker, before it reads a byte from the network: from now on it can write no pages but its
 * own. returns: 0 or -errno.
 */
int counters_own(struct counters *counters, unsigned worker);

struct counters_worker *counters_worker(const struct counters *counters, unsigned worker);

/* The sums over all workers of all generations. */
uint64_t counters_sessions(const struct counters *counters, unsigned listener);
uint64_t counters_pending(const struct counters *counters, unsigned listener);

/* Is no other worker's oldest pending session older than this worker's? False where it has none. */
bool counters_has_oldest(const struct counters *counters, unsigned worker, unsigned listener);

/* What stands for a client at a listener, and its sessions there in all workers. */
uint64_t counters_client(const struct counters *counters, unsigned listener,
                         const struct addr *client);
uint64_t counters_client_sessions(const struct counters *counters, uint64_t client);

/* Adds to one of the worker's own counters. */
static inline void counters_add(_Atomic uint64_t *counter, uint64_t n)
{
    /* One writer: no locked instruction needed. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

#endif
