/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/loop.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"

static unsigned events_of(uint32_t happened)
{
    unsigned events = 0;

    if (happened & (EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR))
        events |= LOOP_READ;
    if (happened & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        events |= LOOP_WRITE;
    if (happened & EPOLLERR)
        events |= LOOP_ERROR;
    else if (happened & EPOLLRDHUP)
        events |= LOOP_END;
    if (happened & EPOLLPRI)
        events |= LOOP_URGENT;
    return events;
}

struct loop *loop_new(void)
{
    struct loop *loop = calloc(1, sizeof *loop);

    if (!loop)
        return NULL;
    loop->now_us = clock_now_us();
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd >= 0)
        return loop;
    free(loop);
    return NULL;
}

void loop_free(struct loop *loop)
{
    if (loop) {
        (void)loop_close_now(loop);
        close(loop->epoll_fd);
    }
    free(loop);
}

static void tell(struct loop_io *io, uint32_t happened)
{
    unsigned events = events_of(happened);

    io->told |= (uint8_t)(events & (LOOP_END | LOOP_URGENT));
    if (events & LOOP_ERROR)
        io->due = 0; /* the owner may read bytes first, and not meet the error */
    io->on_event(io, events);
}

static bool is_ready(int fd)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };

    return poll(&ready, 1, 0) > 0;
}

/* There may be more than a full batch, so these are asked whether they are ready. */
static void tell_first_of_many(struct loop *loop)
{
    for (int i = 0; i < LOOP_MAX_FIRST; i++) {
        struct loop_io *io = loop->first[i];
        if (io && is_ready(io->fd)) {
            loop_forget(loop, io);
            tell(io, EPOLLIN);
        }
    }
}

static void tell_first(struct loop *loop)
{
    for (int i = 0; i < loop->n_batch; i++) {
        struct loop_io *io = loop->batch[i].data.ptr;
        if (!io || !io->is_first)
            continue;
        loop->batch[i].data.ptr = NULL;
        tell(io, loop->batch[i].events);
    }
}

static int timeout_ms(const struct loop *loop)
{
    if (!loop->timers.first)
        return -1;
    uint64_t now_us = clock_now_us();
    uint64_t due_us = loop->timers.first->due_us;
    uint64_t ms = due_us > now_us ? (due_us - now_us + 999) / 1000 : 0;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

void loop_turn(struct loop *loop, bool may_wait)
{
    (void)loop_close_now(loop);
    int n = epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, may_wait ? timeout_ms(loop) : 0);

    loop->now_us = clock_now_us();
    loop->n_batch = n > 0 ? n : 0;
    loop->next = 0;
    if (loop->n_batch == LOOP_BATCH)
        tell_first_of_many(loop);
    tell_first(loop);
    while (loop->next < loop->n_batch) {
        const struct epoll_event *event = &loop->batch[loop->next++];
        if (event->data.ptr) /* else it has been told, or forgotten meanwhile */
            tell(event->data.ptr, event->events);
    }
    loop->n_batch = 0;
    timers_run(&loop->timers, loop->now_us);
}

void loop_run(struct loop *loop)
{
    while (!loop->has_ended)
        loop_turn(loop, true);
}

void loop_end(struct loop *loop)
{
    loop->has_ended = true;
}

uint64_t loop_now_us(const struct loop *loop)
{
    return loop->now_us;
}

/* Puts `to` in the place of `from`. */
static void replace_first(struct loop *loop, const struct loop_io *from, struct loop_io *to)
{
    for (int i = 0; i < LOOP_MAX_FIRST; i++) {
        if (loop->first[i] != from)
            continue;
        loop->first[i] = to;
        return;
    }
}

int loop_watch(struct loop *loop, struct loop_io *io)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = io };

    if (io->is_added)
        return 0;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, io->fd, &event) < 0)
        return -errno;
    io->is_added = true;
    if (io->is_first)
        replace_first(loop, NULL, io);
    return 0;
}

void loop_unwatch(struct loop *loop, struct loop_io *io)
{
    struct epoll_event event = { 0 };

    if (!io->is_added)
        return;
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, io->fd, &event);
    io->is_added = false;
    if (io->is_first)
        replace_first(loop, io, NULL);
    loop_forget(loop, io);
}

/* An urgent byte, an error and the end are told whatever is wanted. */
int loop_want(struct loop *loop, struct loop_io *io, unsigned wanted)
{
    struct epoll_event event = { .events = EPOLLET | EPOLLRDHUP | EPOLLPRI, .data.ptr = io };
    bool is_news = (wanted & ~(unsigned)io->due) != 0;

    io->due = (uint8_t)wanted;
    if (!is_news)
        return 0;
    if (wanted & LOOP_READ)
        event.events |= EPOLLIN;
    if (wanted & LOOP_WRITE)
        event.events |= EPOLLOUT;
    /* Adding and changing look at the socket anew: what it is ready for already is told. */
    if (epoll_ctl(loop->epoll_fd, io->is_added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, io->fd, &event) < 0)
        return -errno;
    io->is_added = true;
    return 0;
}

void loop_again(struct loop_io *io, unsigned events)
{
    io->due &= (uint8_t)~events;
}

void loop_forget(struct loop *loop, const struct loop_io *io)
{
    for (int i = loop->next; i < loop->n_batch; i++)
        if (loop->batch[i].data.ptr == io)
            loop->batch[i].data.ptr = NULL;
}

void loop_close(struct loop *loop, int fd)
{
    int at = loop->n_closing;

    if (fd < 0)
        return;
    for (; at > 0 && loop->closing[at - 1] > fd; at--)
        loop->closing[at] = loop->closing[at - 1];
    loop->closing[at] = fd;
    if (++loop->n_closing == LOOP_CLOSING)
        (void)loop_close_now(loop);
}

/* fds: so many descriptors whose numbers follow each other. */
static void close_neighbours(const int *fds, int n)
{
    if (n > 1 && close_range((unsigned)fds[0], (unsigned)fds[n - 1], 0) == 0)
        return;
    for (int i = 0; i < n; i++)
        close(fds[i]);
}

bool loop_close_now(struct loop *loop)
{
    int n = loop->n_closing;
    int first = 0;

    for (int i = 1; i <= n; i++) {
        if (i < n && loop->closing[i] == loop->closing[i - 1] + 1)
            continue;
        close_neighbours(loop->closing + first, i - first);
        first = i;
    }
    loop->n_closing = 0;
    return n > 0;
}

void loop_start_timer(struct loop *loop, struct timer *timer, uint64_t delay_us)
{
    timers_start(&loop->timers, timer, clock_now_us() + delay_us);
}

void loop_stop_timer(struct loop *loop, struct timer *timer)
{
    timers_stop(&loop->timers, timer);
}
