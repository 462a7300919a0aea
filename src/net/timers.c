/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/timers.h"

#include <stddef.h>

/* Joins two heaps into one. */
static struct timer *meld(struct timer *one, struct timer *other)
{
    if (!one)
        return other;
    if (!other)
        return one;
    struct timer *first = other->due_us < one->due_us ? other : one;
    struct timer *later = first == one ? other : one;
    later->prev = first;
    later->next = first->child;
    if (first->child)
        first->child->prev = later;
    first->child = later;
    return first;
}

/* Takes the first two heaps off a row, and joins them. */
static struct timer *take_pair(struct timer **row)
{
    struct timer *one = *row;
    struct timer *other = one->next;

    *row = other ? other->next : NULL;
    one->next = NULL;
    if (other)
        other->next = NULL;
    return meld(one, other);
}

/* Joins a row of heaps: first in pairs, then the pairs from the last to the first. */
static struct timer *meld_row(struct timer *row)
{
    struct timer *pairs = NULL;
    struct timer *heap = NULL;

    while (row) {
        struct timer *pair = take_pair(&row);
        pair->next = pairs;
        pairs = pair;
    }
    while (pairs) {
        struct timer *next = pairs->next;
        pairs->next = NULL;
        heap = meld(heap, pairs);
        pairs = next;
    }
    if (heap)
        heap->prev = NULL;
    return heap;
}

static void cut_out(struct timer *timer)
{
    if (timer->prev->child == timer)
        timer->prev->child = timer->next;
    else
        timer->prev->next = timer->next;
    if (timer->next)
        timer->next->prev = timer->prev;
}

void timers_stop(struct timers *timers, struct timer *timer)
{
    if (!timer->is_active)
        return;
    struct timer *rest = meld_row(timer->child);
    if (timers->first == timer) {
        timers->first = rest;
    } else {
        cut_out(timer);
        timers->first = meld(timers->first, rest);
    }
    timer->child = timer->next = timer->prev = NULL;
    timer->is_active = false;
}

void timers_start(struct timers *timers, struct timer *timer, uint64_t due_us)
{
    timers_stop(timers, timer);
    timer->due_us = due_us;
    timer->is_active = true;
    timers->first = meld(timers->first, timer);
}

void timers_run(struct timers *timers, uint64_t now_us)
{
    while (timers->first && timers->first->due_us <= now_us) {
        struct timer *due = timers->first;
        timers_stop(timers, due);
        due->on_due(due);
    }
}
