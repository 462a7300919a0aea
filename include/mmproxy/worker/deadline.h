/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * deadline: many timeouts of one length at the cost of one timer.
 *
 * All deadlines of a queue are the same time ahead when they are set, so the queue is sorted
 * by itself and setting, moving and clearing one are O(1). The oldest is at the head.
 */
#ifndef MMPROXY_WORKER_DEADLINE_H
#define MMPROXY_WORKER_DEADLINE_H

#include <stdint.h>
#include <sys/queue.h>

#include "mmproxy/net/loop.h"

struct deadline {
    TAILQ_ENTRY(deadline) link;
    struct deadline_queue *queue; /* NULL = not set */
    uint64_t due_us;              /* monotonic */
    void *owner;                  /* whose it is: for the queue's callback */
};

struct deadline_queue {
    TAILQ_HEAD(, deadline) head;
    struct loop *loop;
    struct timer timer;
    unsigned timeout_ms;
    void (*on_due)(struct deadline *deadline); /* it has been cleared; may free its owner */
};

void deadline_queue_open(struct deadline_queue *queue, struct loop *loop, unsigned timeout_ms,
                         void (*on_due)(struct deadline *deadline));
/* The queue must be empty. */
void deadline_queue_close(struct deadline_queue *queue);

/* The deadline that is due first; NULL where there is none. */
struct deadline *deadline_queue_first(const struct deadline_queue *queue);

/* (Re)starts the deadline: due in the queue's timeout from now. It may be in another queue. */
void deadline_set(struct deadline *deadline, struct deadline_queue *queue);

/* Harmless if it is not set. */
void deadline_clear(struct deadline *deadline);

#endif
