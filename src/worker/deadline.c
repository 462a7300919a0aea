/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/deadline.h"

#include <assert.h>
#include <stddef.h>

#include "mmproxy/base/clock.h"

static uint64_t timeout_us(const struct deadline_queue *queue)
{
    return (uint64_t)queue->timeout_ms * 1000;
}

static void on_timer(struct timer *timer)
{
    struct deadline_queue *queue = timer->owner;
    uint64_t now_us = clock_now_us();
    struct deadline *first;

    while ((first = deadline_queue_first(queue)) && first->due_us <= now_us) {
        deadline_clear(first);
        queue->on_due(first);
    }
    if (first && !queue->timer.is_active)
        loop_start_timer(queue->loop, &queue->timer, first->due_us - now_us);
}

void deadline_queue_open(struct deadline_queue *queue, struct loop *loop, unsigned timeout_ms,
                         void (*on_due)(struct deadline *deadline))
{
    TAILQ_INIT(&queue->head);
    queue->loop = loop;
    queue->timeout_ms = timeout_ms;
    queue->on_due = on_due;
    queue->timer = (struct timer){ .on_due = on_timer, .owner = queue };
}

void deadline_queue_close(struct deadline_queue *queue)
{
    if (!queue->loop)
        return;
    assert(TAILQ_EMPTY(&queue->head));
    loop_stop_timer(queue->loop, &queue->timer);
    queue->loop = NULL;
}

struct deadline *deadline_queue_first(const struct deadline_queue *queue)
{
    return TAILQ_FIRST(&queue->head);
}

void deadline_set(struct deadline *deadline, struct deadline_queue *queue)
{
    deadline_clear(deadline);
    deadline->queue = queue;
    deadline->due_us = clock_now_us() + timeout_us(queue);
    TAILQ_INSERT_TAIL(&queue->head, deadline, link);
    /* A running timer is due no later than this one; it finds the next when it fires. */
    if (!queue->timer.is_active)
        loop_start_timer(queue->loop, &queue->timer, timeout_us(queue));
}

void deadline_clear(struct deadline *deadline)
{
    if (!deadline->queue)
        return;
    TAILQ_REMOVE(&deadline->queue->head, deadline, link);
    deadline->queue = NULL;
}
