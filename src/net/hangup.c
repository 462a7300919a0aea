/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/hangup.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

static void on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
    struct hangup *hangup = io->data;
    struct epoll_event event;

    (void)loop;
    (void)revents;
    /*
     * One at a time: on_error frees a session and so closes sockets whose own events may be
     * waiting in the kernel, where closing removes them.
     */
    while (epoll_wait(hangup->epoll_fd, &event, 1, 0) == 1)
        /* EPOLLHUP alone is both directions' regular end. */
        if (event.events & EPOLLERR)
            hangup->on_error(event.data.ptr);
}

int hangup_open(struct hangup *hangup, struct ev_loop *loop, void (*on_error)(void *data))
{
    hangup->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (hangup->epoll_fd < 0)
        return -errno;
    hangup->loop = loop;
    hangup->on_error = on_error;
    ev_io_init(&hangup->io, on_readable, hangup->epoll_fd, EV_READ);
    hangup->io.data = hangup;
    ev_io_start(loop, &hangup->io);
    return 0;
}

void hangup_close(struct hangup *hangup)
{
    if (!hangup->loop)
        return;
    ev_io_stop(hangup->loop, &hangup->io);
    close(hangup->epoll_fd);
    hangup->loop = NULL;
}

int hangup_add(struct hangup *hangup, int fd, void *data)
{
    /* Edge-triggered, so that what is reported once is not reported for ever. */
    struct epoll_event event = { .events = EPOLLET, .data.ptr = data };

    return epoll_ctl(hangup->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}
