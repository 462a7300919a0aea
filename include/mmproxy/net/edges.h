/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edges: tells once when a socket becomes ready. It is epoll, edge-triggered, in a set of its own
 * that libev watches.
 *
 * libev tells again and again that a socket is ready, as long as it is. Sockets that have ended and
 * are read to their end would keep a loop busy, so libev takes them out: a call that a session
 * that is over soon need not make. Nor does it say whether the end has arrived along with bytes.
 */
#ifndef MMPROXY_NET_EDGES_H
#define MMPROXY_NET_EDGES_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

enum edge_event {
    EDGE_READ = 1 << 0,
    EDGE_WRITE = 1 << 1,
    EDGE_ERROR = 1 << 2,  /* the socket has failed, as by a reset; READ and WRITE are told too */
    EDGE_END = 1 << 3,    /* the other side has ended, regularly: nothing comes any more */
    EDGE_URGENT = 1 << 4, /* there has been an urgent byte: reads stop before it */
};

/* One socket. Zeroed at first, except for the owner. */
struct edge {
    void *owner;
    uint8_t due;  /* of what is wanted: what will be told without asking again */
    uint8_t told; /* END and URGENT, once they have been told */
    bool is_added;
};

enum { EDGES_BATCH = 64 };

struct edges {
    int epoll_fd;
    struct ev_loop *loop;
    ev_io io;
    void (*on_event)(struct edge *edge, unsigned events);
    struct epoll_event batch[EDGES_BATCH];
    int n_batch; /* 0 between two calls of on_event */
    int next;    /* in the batch */
};

/*
 * on_event may end sessions, its own and others. What was not wanted may be told too.
 * returns: 0 or -errno.
 */
int edges_open(struct edges *edges, struct ev_loop *loop,
               void (*on_event)(struct edge *edge, unsigned events));
/* Harmless on one that was never opened. */
void edges_close(struct edges *edges);

/*
 * wanted: READ, WRITE, ERROR. Each is told once, also where the socket was ready before. An owner
 * that was told READ and has left bytes in the socket calls edges_again first. An error is told
 * again after each call, for as long as it lasts.
 * returns: 0, or -errno: ENOMEM, ENOSPC (fs.epoll.max_user_watches).
 */
int edges_want(struct edges *edges, struct edge *edge, int fd, unsigned wanted);

/* What is ready now is told again, from the next edges_want on. */
void edges_again(struct edge *edge, unsigned events);

/* Nothing more is told of it. To be called before its owner is freed; closing removes it. */
void edges_forget(struct edges *edges, const struct edge *edge);

#endif
