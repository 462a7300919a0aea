/* SPDX-License-Identifier: BSD-2-Clause */
/* process: one worker process, seen from the supervisor. */
#ifndef MMPROXY_SUPERVISOR_PROCESS_H
#define MMPROXY_SUPERVISOR_PROCESS_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "mmproxy/supervisor/reader.h"
#include "mmproxy/worker/worker.h"

enum process_state {
    PROCESS_STARTING, /* forked, not READY yet */
    PROCESS_SERVING,
    PROCESS_DRAINING, /* told to drain or to stop */
};

struct process {
    TAILQ_ENTRY(process) link; /* of its generation's list */
    struct generation *generation;
    pid_t pid;
    int channel;           /* our end; owned */
    unsigned worker_id;    /* in the counters */
    unsigned region;       /* in the peers of UDP; released with the process */
    uint64_t namespace_id; /* of its targets */
    unsigned index;        /* among the workers of its generation in that namespace */
    unsigned round;        /* of its generation's starts */
    enum process_state state;
    bool has_answered;             /* the last PING */
    struct inspection *inspection; /* shared with it; owned. NULL: memory was short */
    void (*inspected)(void *context, const struct inspection *answer); /* NULL: none is asked */
    void *inspected_context;
    unsigned due; /* messages that may come: one READY, one ALIVE for each PING */
    uint64_t started_ms;
    struct ev_loop *loop;
    struct reader reader;
    ev_timer retry;           /* active: owed could not be sent */
    enum worker_message owed; /* the last message that matters; each makes those before it moot */
    void (*on_message)(struct process *process, enum worker_message message);
};

/* How to start one. */
struct process_start {
    struct ev_loop *loop;
    struct worker_spec spec; /* worker_id, index and channel are filled in by process_new */
    /* In the child, first of all: closes what a worker must not hold. */
    void (*leave)(void *context);
    /* Behind it: goes to the network namespace, and closes all others. returns: 0 or -errno. */
    int (*enter)(void *context, uint64_t namespace_id);
    void *context;
    int (*prepare)(const struct worker_spec *spec); /* see worker_run */
    void (*on_message)(struct process *process, enum worker_message message);
};

/*
 * Forks a worker for targets in that namespace, with this index among those of its generation
 * there. returns: 0 with *out for process_free, or -errno.
 */
int process_new(struct process **out, const struct process_start *start, uint64_t namespace_id,
                unsigned index);

/* The process has been reaped, or is of no concern any more. Takes NULL. */
void process_free(struct process *process, const struct process_start *start);

/* The same while the process lives on: its counters stay. */
void process_forget(struct process *process);

/* fork(2), with all signals blocked in the child, which is to set handlers of its own. */
pid_t process_fork(void);

/*
 * The same for a process that is to outlive this one: it is a child of the process that started
 * this one, as a service manager waits for no process that is not its own. For exec only.
 */
pid_t process_fork_beside(void);

/*
 * Asks it for sessions (inspection.h). inspected is called once, from the loop, with the answer,
 * which may be any bytes but for is_done and n, or with NULL where it has died. returns: 0, -EBUSY:
 * another question is under way, or -errno.
 */
int process_inspect(struct process *process, const struct inspection *question,
                    void (*inspected)(void *context, const struct inspection *answer),
                    void *context);

/* inspected is not called any more; the worker may still be at work on the question. */
void process_forget_question(struct process *process);

/* Never blocks. A message that can't be sent at once is sent later; a PING is dropped. */
void process_send(struct process *process, enum worker_message message);

#endif
