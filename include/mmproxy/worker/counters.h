/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * counters: what all workers of all generations count together, in one shared anonymous
 * mapping that is made before the first fork. A worker writes only its own slot and the
 * listeners' totals; when it dies, whatever it still counted is taken off.
 */
#ifndef MMPROXY_WORKER_COUNTERS_H
#define MMPROXY_WORKER_COUNTERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mmproxy/worker/clients.h"

/* Address space is reserved for so many; memory is taken only for those in use. */
enum { COUNTERS_LISTENERS = 4096, COUNTERS_WORKERS = 1024 };

/* One worker process. Monotonic but for sessions; read by the supervisor for its status. */
struct counters_worker {
    _Alignas(4096) _Atomic uint32_t sessions; /* at the moment; on pages of its own */
    _Atomic uint64_t accepted;
    _Atomic uint64_t refused;       /* peer not allowed, limit, client not acceptable */
    _Atomic uint64_t bad_headers;   /* header_timeout too */
    _Atomic uint64_t health_checks; /* closed without a byte, or LOCAL without an address */
    _Atomic uint64_t failed;        /* target not reached */
    _Atomic uint64_t bytes_in;      /* to the targets, of sessions that have ended */
    _Atomic uint64_t bytes_out;     /* from the targets, the same */
    _Atomic uint32_t forbidden;     /* what the jail ended the worker for; see jail/trap.h */
    /* Sessions at the moment, by listener: what is taken off when the worker dies. */
    _Atomic uint32_t by_listener[COUNTERS_LISTENERS];
    _Atomic uint32_t pending_by_listener[COUNTERS_LISTENERS]; /* those without a whole header */
    /* Since when (monotonic) the first of them is pending; 0 = there is none. */
    _Atomic uint64_t oldest_pending_us[COUNTERS_LISTENERS];
};

struct counters;

/* returns: NULL when memory is short. */
struct counters *counters_new(void);
void counters_free(struct counters *counters);

/*
 * A listener's place, by name: the same one for all generations that have the name. Claims
 * are counted; a place is free again when its claims and its sessions are gone.
 * returns: the place, or -ENOSPC, -ENOMEM.
 */
int counters_claim_listener(struct counters *counters, const char *name);
void counters_release_listener(struct counters *counters, unsigned listener);

/* A worker's slot, zeroed. returns: the slot, or -ENOSPC. */
int counters_claim_worker(struct counters *counters);
void counters_release_worker(struct counters *counters, unsigned worker);

struct counters_worker *counters_worker(struct counters *counters, unsigned worker);

/*
 * Counts one more session, which is pending, unless max (0 = no limit) are there already, in all
 * processes. returns: whether it was counted; then counters_end_session is due.
 */
bool counters_begin_session(struct counters *counters, unsigned worker, unsigned listener,
                            unsigned max);
/* Its header is complete, or it ends without one: it is pending no more. */
void counters_end_pending(struct counters *counters, unsigned worker, unsigned listener);
void counters_end_session(struct counters *counters, unsigned worker, unsigned listener);

/* Sessions of a listener at the moment, all workers and generations together. */
uint32_t counters_sessions(const struct counters *counters, unsigned listener);
/* Those of them that one worker has. */
uint32_t counters_own_sessions(struct counters *counters, unsigned worker, unsigned listener);
/* Those of all workers that are pending. */
uint32_t counters_pending(const struct counters *counters, unsigned listener);

/* Tells the other workers since when this one's first pending session is; 0 = it has none. */
void counters_show_oldest(struct counters *counters, unsigned worker, unsigned listener,
                          uint64_t since_us);
/* Is none of the others' older than this worker's? False where it has none. */
bool counters_has_oldest(struct counters *counters, unsigned worker, unsigned listener);

/*
 * From the next fork on sessions can be counted by client as well; to be called before it wherever
 * a configuration asks for that. returns: 0 or -ENOMEM.
 */
int counters_track_clients(struct counters *counters);

/* NULL where nobody has asked for them. The counters' own; forgotten with the worker's slot. */
struct clients *counters_clients(const struct counters *counters);

/* Adds to one of the worker's own counters. */
static inline void counters_add(_Atomic uint64_t *counter, uint64_t n)
{
    /* One writer: no locked instruction needed. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

#endif
