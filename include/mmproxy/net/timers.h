/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * timers: what is due when. A pairing heap whose links are in the timers themselves, so starting
 * one can't fail for lack of memory.
 */
#ifndef MMPROXY_NET_TIMERS_H
#define MMPROXY_NET_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

struct timer {
    void (*on_due)(struct timer *timer); /* it is no longer active, and may be started again */
    void *owner;
    uint64_t due_us; /* monotonic */
    bool is_active;
    struct timer *child; /* the first of those that are due later */
    struct timer *next;  /* the parent's next child */
    struct timer *prev;  /* the parent's child before it, or the parent; NULL: it is the first */
};

struct timers {
    struct timer *first; /* due next; NULL: none is active */
};

/* Moves it where it is active already. */
void timers_start(struct timers *timers, struct timer *timer, uint64_t due_us);

/* Harmless where it is not active. */
void timers_stop(struct timers *timers, struct timer *timer);

/* Calls all that were due by then; they may start and stop themselves and others. */
void timers_run(struct timers *timers, uint64_t now_us);

#endif
