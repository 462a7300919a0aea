/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reader: watches a descriptor of the supervisor and never stops because memory is short. libev
 * gives a watcher up when the kernel refuses it, which may happen at any time: it makes its epoll
 * set anew after events that it can't place.
 */
#ifndef MMPROXY_SUPERVISOR_READER_H
#define MMPROXY_SUPERVISOR_READER_H

#include <ev.h>

struct reader {
    ev_io io;
    ev_timer retry; /* active: refused, to be tried again */
    void (*on_readable)(void *context);
    void *context;
};

/* fd is the caller's, and non-blocking. */
void reader_open(struct reader *reader, struct ev_loop *loop, int fd,
                 void (*on_readable)(void *context), void *context);

/* Before fd is closed. Harmless if it is all zero, and a second time. */
void reader_close(struct reader *reader, struct ev_loop *loop);

#endif
