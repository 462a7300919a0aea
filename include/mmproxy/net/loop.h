/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * loop: what a worker sleeps in: one epoll set and its timers.
 *
 * A descriptor is watched in one of two ways. loop_watch tells that it is readable for as long as
 * it is (level-triggered): for listening sockets, orders, datagrams. loop_want tells each event
 * once (edge-triggered), and tells the end together with the last bytes: for sessions' sockets.
 * Each of these takes two calls, one to add it and one to close it.
 */
#ifndef MMPROXY_NET_LOOP_H
#define MMPROXY_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "mmproxy/net/timers.h"

enum loop_event {
    LOOP_READ = 1 << 0,
    LOOP_WRITE = 1 << 1,
    LOOP_ERROR = 1 << 2,  /* the socket has failed, as by a reset; READ and WRITE are told too */
    LOOP_END = 1 << 3,    /* the other side has ended, regularly: nothing comes any more */
    LOOP_URGENT = 1 << 4, /* there has been an urgent byte: reads stop before it */
};

/* One descriptor. Its owner sets on_event, owner, fd and is_first; all else is zero at first. */
struct loop_io {
    void (*on_event)(struct loop_io *io, unsigned events); /* may end its owner, and others */
    void *owner;
    int fd;
    uint8_t due;  /* loop_want: what will be told without asking again */
    uint8_t told; /* END and URGENT, once they have been told */
    bool is_added;
    bool is_first; /* loop_watch: told before whatever else is ready */
};

enum { LOOP_BATCH = 64, LOOP_MAX_FIRST = 4, LOOP_CLOSING = 64 };

struct loop {
    int epoll_fd;
    bool has_ended;
    uint64_t now_us; /* when it last woke up */
    struct timers timers;
    struct loop_io *first[LOOP_MAX_FIRST]; /* those that are watched and is_first */
    struct epoll_event batch[LOOP_BATCH];
    int n_batch;               /* events of this turn; 0 between two turns */
    int next;                  /* the first of them that has not been told */
    int closing[LOOP_CLOSING]; /* those of loop_close, in ascending order */
    int n_closing;
};

/* returns: NULL, with errno. */
struct loop *loop_new(void);
/* NULL is harmless. */
void loop_free(struct loop *loop);

/* Until loop_end is called, now or earlier. */
void loop_run(struct loop *loop);
void loop_end(struct loop *loop);
/* One turn. may_wait: until something happens or is due. */
void loop_turn(struct loop *loop, bool may_wait);

/* When it last woke up: monotonic. */
uint64_t loop_now_us(const struct loop *loop);

/*
 * Tells LOOP_READ while it is readable.
 * returns: 0, or -errno: ENOMEM, ENOSPC (fs.epoll.max_user_watches).
 */
int loop_watch(struct loop *loop, struct loop_io *io);
/* Before it is closed: others may have it open too. Harmless where it is not watched. */
void loop_unwatch(struct loop *loop, struct loop_io *io);

/*
 * wanted: READ, WRITE, ERROR. Each is told once, also where the socket was ready before; what was
 * not wanted may be told too. An owner that was told READ and has left bytes in the socket calls
 * loop_again first. An error is told again after each call, for as long as it lasts.
 * returns: 0, or -errno as loop_watch.
 */
int loop_want(struct loop *loop, struct loop_io *io, unsigned wanted);
/* What is ready now is told again, from the next loop_want on. */
void loop_again(struct loop_io *io, unsigned events);
/* Nothing more is told of it. To be called before its owner is freed; closing removes it. */
void loop_forget(struct loop *loop, const struct loop_io *io);

/*
 * Closes a descriptor, but not before the turn is over: neighbours are closed in one call, a
 * session's two and those of sessions that end in the same turn. -1 is harmless.
 */
void loop_close(struct loop *loop, int fd);
/* For a caller that lacks descriptors: not later but now. returns: were there any? */
bool loop_close_now(struct loop *loop);

/* Moves it where it is active already. See timers.h. */
void loop_start_timer(struct loop *loop, struct timer *timer, uint64_t delay_us);
void loop_stop_timer(struct loop *loop, struct timer *timer);

#endif
