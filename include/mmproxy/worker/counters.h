/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * counters: what the workers of all generations count, in one shared mapping that is made before
 * the first fork.
 *
 * Each worker has pages of its own there. It alone writes them and all read them. What holds at
 * the moment (sessions) is the sum over all workers, made when it is needed. When a worker dies,
 * its pages become zero and nothing of that remains, whatever it was doing. What only grows is
 * added to the listener's totals before; the supervisor alone writes these, by the listener's
 * name, so they outlive workers, generations and reloads.
 *
 * Over SIGUSR2 the new process gets the mapping of the old one, and reads it until the last worker
 * there has ended. Then it takes the sums over. The mapping describes itself, because the two may
 * be different versions.
 *
 * A worker that was taken over can write what it likes in its own pages, so what is read there is
 * bounded by what a worker could have counted since it began; no sum wraps round.
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
 * Room of the supervisor: two generations can have entirely different listeners, and four
 * can have all the workers that there may be. This takes 18 GB of address space; memory is taken
 * only for what is in use. A 32-bit process has less: 64 workers take a quarter of a GiB of it.
 */
enum {
    COUNTERS_LISTENERS = 2 * CONFIG_LISTENERS_MAX,
    COUNTERS_WORKERS = sizeof(void *) > 4 ? 4 * CONFIG_WORKERS_MAX : 64,
};

/* Of connect times; see counters_bucket_us. */
enum { COUNTERS_BUCKETS = 17 };

/* Figures that only grow. */
enum counters_count {
    COUNT_ACCEPTED,      /* connections; over UDP sessions that were asked for */
    COUNT_SERVED,        /* those of them that reached their target */
    COUNT_HEALTH_CHECKS, /* closed without a byte, LOCAL or UNKNOWN */
    COUNT_BYTES_IN,      /* to the targets */
    COUNT_BYTES_OUT,     /* from the targets */
    COUNT_CONNECT_US,    /* the time that connecting took, of those that were served */
    COUNT_CONNECTS,      /* how many took so long: COUNTERS_BUCKETS of them */
    COUNT_REFUSED = COUNT_CONNECTS + COUNTERS_BUCKETS, /* by reason: REASONS of them */
    COUNTS = COUNT_REFUSED + REASONS
};

/* One listener in one worker. */
struct counters_listener {
    _Alignas(64) _Atomic uint32_t sessions; /* at the moment */
    _Atomic uint32_t pending;               /* those of them without a whole header */
    _Atomic uint64_t oldest_pending_us;     /* monotonic: since when the first of these; 0 = none */
    _Atomic uint64_t silent_longest_us; /* UDP: when the session silent longest was used last; 0 =
                                           none */
    _Atomic uint64_t doubted_us;        /* monotonic: when a target was last in doubt; 0 = never */
    _Atomic uint64_t counts[COUNTS];
};

/* The latest client that could not reach its target, at a listener of a worker. */
struct counters_doubt {
    _Atomic uint32_t changes; /* odd while it is written */
    _Atomic uint32_t listener;
    _Atomic uint32_t family;
    _Atomic uint64_t address[2];
    _Atomic uint64_t since_us; /* monotonic: when; 0 = never */
};

/* One worker process. */
struct counters_worker {
    _Atomic uint32_t sessions; /* at the moment, of all listeners */
    /* The latest session's highest, plus 1: that many are open, as the kernel gives the lowest. */
    _Atomic uint32_t descriptors;
    _Atomic uint64_t doubted_us; /* the latest of its listeners */
    struct counters_doubt doubt;
    _Atomic uint32_t forbidden; /* what the jail ended the worker for; see jail/trap.h */
    struct clients clients;
    struct counters_listener listeners[]; /* by their number; those that are not claimed too */
};

struct counters;

/* One listener in all processes. */
struct counters_sums {
    uint64_t sessions;
    uint64_t pending;
    uint64_t counts[COUNTS];
};

/* The meaning of an errno of the functions below, as a sentence. */
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
 * For SIGUSR2: the descriptor of the mapping, for the next process; -1 where the kernel has none.
 * Workers must not have it: counters_leave closes it in a forked child.
 */
int counters_fd(const struct counters *counters);
void counters_leave(struct counters *counters);

/* Is this descriptor, which was handed over, another process's counters? */
bool counters_is(int fd);

/*
 * Includes the counts of an earlier process, and of its workers, in the sums from now on. fd
 * stays the caller's. returns: the number of that process, for counters_end_earlier, or -errno.
 */
int counters_adopt(struct counters *counters, int fd);

/*
 * The process and its workers are gone: its sums become totals here with the next call of
 * counters_take_ended, which waits while another process starts that adopts the same ones: it would
 * count them twice.
 */
void counters_end_earlier(struct counters *counters, unsigned earlier);
void counters_take_ended(struct counters *counters);

/*
 * In a worker, before it reads a byte from the network: from now on it can write no pages but its
 * own. returns: 0 or -errno.
 */
int counters_own(struct counters *counters, unsigned worker);

/* The same in a process that only reads. */
int counters_own_none(struct counters *counters);

struct counters_worker *counters_worker(const struct counters *counters, unsigned worker);

/* The sums over all workers of all generations of this process. */
uint64_t counters_sessions(const struct counters *counters, unsigned listener);
uint64_t counters_pending(const struct counters *counters, unsigned listener);

/* Everything about one listener, earlier processes included; for any process that has forked. */
void counters_sum(const struct counters *counters, unsigned listener, struct counters_sums *out);

/* The descriptors of the worker that has most. */
uint32_t counters_descriptors(const struct counters *counters);

/* The longest connect time that the bucket counts; UINT64_MAX for the last one. */
uint64_t counters_bucket_us(unsigned bucket);

/*
 * When a session last found a target out of reach, of all listeners or of one. It is for the
 * supervisor to find out whether other clients have the same trouble.
 */
uint64_t counters_doubted_us(const struct counters *counters);
uint64_t counters_listener_doubted_us(const struct counters *counters, unsigned listener);

/* In a worker: this client could not reach its target. */
void counters_doubt(struct counters *counters, unsigned worker, unsigned listener,
                    const struct addr *client);

/* The latest such client of the listener and family since then. returns: is there one? */
bool counters_doubted_client(const struct counters *counters, unsigned listener, sa_family_t family,
                             uint64_t since_us, struct addr *out);

/* Is no other worker's oldest pending session older than this worker's? False where it has none. */
bool counters_has_oldest(const struct counters *counters, unsigned worker, unsigned listener);

/* The same for the UDP session that has been silent longest. */
bool counters_has_silent_longest(const struct counters *counters, unsigned worker,
                                 unsigned listener);

/* A client's key at a listener, and its sessions there in all workers. */
uint64_t counters_client(const struct counters *counters, unsigned listener,
                         const struct addr *client);
uint64_t counters_client_sessions(const struct counters *counters, uint64_t client);

/*
 * The sessions of earlier processes at the listener of the same name, all of them and those of one
 * client. An earlier process can't see ours.
 */
uint64_t counters_earlier_sessions(const struct counters *counters, unsigned listener);
uint64_t counters_earlier_client_sessions(const struct counters *counters, unsigned listener,
                                          const struct addr *client);

/* In a worker: a session has got this descriptor. */
void counters_note_descriptor(struct counters *counters, unsigned worker, int fd);

/* Counts a session that has reached its target, which took so long. */
void counters_add_connect(struct counters_listener *own, uint64_t us);

/* Adds to one of the worker's own counters. */
static inline void counters_add(struct counters_listener *own, unsigned count, uint64_t n)
{
    _Atomic uint64_t *counter = &own->counts[count];

    /* One writer: no locked instruction needed. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

#endif
