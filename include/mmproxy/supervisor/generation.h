/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * generation: the workers that serve one configuration, from their forks until the last of
 * them has exited. It keeps its number of workers up by itself while it serves.
 */
#ifndef MMPROXY_SUPERVISOR_GENERATION_H
#define MMPROXY_SUPERVISOR_GENERATION_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "mmproxy/supervisor/process.h"
#include "mmproxy/supervisor/sockets.h"

enum generation_state {
    GENERATION_STARTING, /* not all workers are READY */
    GENERATION_SERVING,
    GENERATION_DRAINING, /* told to drain: workers that exit are not replaced */
};

/* Calls to the owner. They may not free the generation. */
struct generation_events {
    /* STARTING only: all workers are READY. */
    void (*on_ready)(struct generation *generation);
    /* STARTING only: a worker could not be had; it has been logged why. */
    void (*on_failed)(struct generation *generation);
    /* DRAINING only: no worker is left; the owner frees it later. */
    void (*on_gone)(struct generation *generation);
};

struct generation {
    TAILQ_ENTRY(generation) link; /* for the owner */
    unsigned number;              /* from 1 */
    enum generation_state state;
    struct config *config; /* owned */
    struct process_start start;
    struct generation_events events;
    struct worker_socket *sockets; /* owned; as start.spec has them */
    uint64_t *namespaces;          /* owned; in each there are config->workers */
    size_t n_namespaces;
    unsigned *listener_ids; /* owned, claimed in the counters; the same */
    TAILQ_HEAD(, process) processes;
    unsigned n_processes;
    uint64_t began_ms;
    uint64_t draining_since_ms;
    uint64_t
        next_notice_ms; /* for the owner: age at which the next log line about draining is due */
    bool is_killed;
    enum worker_message serve_message; /* for workers that become ready later */
    unsigned deaths_in_a_row; /* of workers that did not live long: the measure of back-off */
    unsigned round;           /* of starts: a death of the latest begins a new one */
    const char *failure;      /* after on_failed: why; static */
    int start_error;          /* errno of the fork that failed while STARTING; 0 = none */
    unsigned missing;         /* workers that could not be started, or died */
    /* STARTING: until on_failed. SERVING: until missing ones are tried. DRAINING: on_gone. */
    ev_timer timer;
};

TAILQ_HEAD(generation_list, generation);

/*
 * Makes a generation and forks its workers, which accept nothing before generation_serve. Takes
 * config, on success only. template: loop, leave, context, prepare and spec.counters.
 * returns: 0 with *out for generation_free (set before leave is called), or -errno; -ENOSPC: more
 * listeners than counters. Workers that can't be forked are on_failed's matter.
 */
int generation_new(struct generation **out, struct config *config, const struct sockets *sockets,
                   const struct process_start *template, const struct generation_events *events);

/* Its processes must be gone. Takes NULL. */
void generation_free(struct generation *generation);

/*
 * After on_ready: it may accept connections now. May be called again. is_alone: no other process
 * has the listening sockets, so that its workers may shut them down where the supervisor dies.
 */
void generation_serve(struct generation *generation, bool is_alone);

/* No more connections; on_gone follows, not before the caller's next turn of the loop. */
void generation_drain(struct generation *generation);

/* Resets the sessions that are left; on_gone follows soon. */
void generation_stop(struct generation *generation);

/*
 * No more connections, and the supervisor is about to exit: its workers live on alone. Frees the
 * generation.
 */
void generation_leave_alone(struct generation *generation);

/* Kills what is left of it, for workers that do not listen; on_gone follows. */
void generation_kill(struct generation *generation);

/* A child was reaped. returns: whether it was one of this generation's. */
bool generation_reaped(struct generation *generation, pid_t pid, int status);

/* Sessions of its workers at the moment. */
unsigned generation_sessions(const struct generation *generation);

/* The same, of all in a list. */
unsigned generation_list_sessions(const struct generation_list *list);

/*
 * For a service manager's watchdog: asks all serving workers whether they live.
 * returns: whether all of them have answered since the last call, or are younger than it.
 */
bool generation_ping(struct generation *generation);

/* Closes every channel, in a forked child; nothing else of it may be used afterwards. */
void generation_leave(struct generation *generation);

#endif
