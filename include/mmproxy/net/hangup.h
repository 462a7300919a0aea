/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hangup: hears a reset on sockets that are not being read at the moment.
 *
 * libev tells of errors only along with readiness, and a socket with unread bytes, or at its
 * end of file, is ready all the time. So sockets whose direction has ended or is stuck are
 * put under this second watch, which reports errors and nothing else.
 */
#ifndef MMPROXY_NET_HANGUP_H
#define MMPROXY_NET_HANGUP_H

#include <ev.h>

struct hangup {
    int epoll_fd;
    struct ev_loop *loop;
    ev_io io;
    void (*on_error)(void *data);
};

/* on_error gets the data of hangup_add. returns: 0 or -errno. */
int hangup_open(struct hangup *hangup, struct ev_loop *loop, void (*on_error)(void *data));
void hangup_close(struct hangup *hangup);

/*
 * Watches until the descriptor is closed.
 * returns: 0 or -errno (EEXIST: it is watched already).
 */
int hangup_add(struct hangup *hangup, int fd, void *data);

#endif
