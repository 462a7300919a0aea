/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/base/subnets.h"
#include "mmproxy/worker/session.h"

enum {
    ACCEPT_BATCH = 8, /* per wake-up, then the sessions that exist have their turn */
    PAUSE_MS = 200,   /* out of descriptors: how long until the next try */
    PAUSE_TOLD_EVERY_S = 60,
    SHARE_SLACK = 4, /* sessions more than its share, and a worker lets others accept first */
    LEAVE_MS = 1,    /* ... for so long */
    LEAVE_EVERY_MS = 20,
    CROWD_LOOK_MS = 50, /* how long one too many may stay where another worker has the oldest */
    CROWD_SLACK = 16,   /* so many too many, and the oldest here goes instead */
};

static unsigned excess_of_pending(const struct listener *listener)
{
    uint32_t n_pending = counters_pending(listener->worker->spec->counters, listener->place);
    unsigned max = listener->config->max_pending;

    return n_pending > max ? n_pending - max : 0;
}

/*
 * max_pending is for all workers together, and the oldest goes, wherever it is. Each worker tells
 * how old its own first one is, and looks often enough whether that has to go.
 */
static void limit_pending(struct listener *listener)
{
    const struct worker_spec *spec = listener->worker->spec;

    while (excess_of_pending(listener) > 0) {
        struct deadline *oldest = deadline_queue_first(&listener->header_deadlines);
        if (!oldest)
            return;
        bool is_oldest_of_all = counters_has_oldest(spec->counters, spec->slot, listener->place);
        /* Counted again: the one that was the oldest until now may just have gone. */
        unsigned excess = excess_of_pending(listener);
        if (excess == 0 || (excess <= CROWD_SLACK && !is_oldest_of_all))
            return;
        session_drive(oldest->owner, READY_OLDEST);
    }
}

static void show_oldest(struct listener *listener)
{
    const struct worker_spec *spec = listener->worker->spec;
    const struct deadline *oldest = deadline_queue_first(&listener->header_deadlines);
    const struct session *session = oldest ? oldest->owner : NULL;

    counters_show_oldest(spec->counters, spec->slot, listener->place,
                         session ? session->since_us : 0);
}

void listener_pending_began(struct listener *listener)
{
    show_oldest(listener);
}

void listener_pending_ended(struct listener *listener)
{
    const struct worker_spec *spec = listener->worker->spec;

    counters_end_pending(spec->counters, spec->slot, listener->place);
    show_oldest(listener);
}

static void on_crowd(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct listener *listener = timer->data;

    (void)revents;
    limit_pending(listener);
    if (!deadline_queue_first(&listener->header_deadlines))
        ev_timer_stop(loop, timer);
}

/* Most headers are there already: their sessions are not pending any more. */
static void watch_crowd(struct listener *listener)
{
    if (!deadline_queue_first(&listener->header_deadlines) || ev_is_active(&listener->crowd))
        return;
    ev_timer_set(&listener->crowd, CROWD_LOOK_MS / 1000., CROWD_LOOK_MS / 1000.);
    ev_timer_start(listener->worker->loop, &listener->crowd);
}

static void refuse(struct listener *listener, int fd)
{
    counters_add(&listener->worker->counters->refused, 1);
    close(fd); /* a reset: see sock_listen */
}

static void take_connection(struct listener *listener, int fd, struct addr *peer)
{
    const struct listener_config *config = listener->config;
    const struct worker_spec *spec = listener->worker->spec;

    counters_add(&listener->worker->counters->accepted, 1);
    addr_unmap(peer);
    if (!subnets_contain(config->allowed, peer)) {
        report_not_allowed(listener, peer);
        refuse(listener, fd);
        return;
    }
    if (!counters_begin_session(spec->counters, spec->slot, listener->place,
                                config->max_sessions)) {
        char reason[64];
        snprintf(reason, sizeof reason, "%u sessions are the limit (max_sessions)",
                 config->max_sessions);
        report_refused(listener, peer, NULL, reason);
        refuse(listener, fd);
        return;
    }
    if (session_start(listener, fd, peer) < 0) {
        counters_end_pending(spec->counters, spec->slot, listener->place);
        counters_end_session(spec->counters, spec->slot, listener->place);
        report_refused(listener, peer, NULL, strerror(ENOMEM));
    }
    /* Not before: one whose header was there already takes nobody's place. */
    limit_pending(listener);
    watch_crowd(listener);
}

static void watch_sockets(struct listener *listener, bool on)
{
    for (size_t i = 0; i < listener->n_sockets; i++) {
        if (on)
            ev_io_start(listener->worker->loop, &listener->sockets[i].io);
        else
            ev_io_stop(listener->worker->loop, &listener->sockets[i].io);
    }
}

static void on_pause_over(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    watch_sockets(timer->data, true);
}

static void stop_accepting_for(struct listener *listener, unsigned ms)
{
    watch_sockets(listener, false);
    ev_timer_set(&listener->pause, ms / 1000., 0.);
    ev_timer_start(listener->worker->loop, &listener->pause);
}

static bool has_more_than_its_share(const struct listener *listener)
{
    const struct worker_spec *spec = listener->worker->spec;
    uint32_t all = counters_sessions(spec->counters, listener->place);

    return counters_own_sessions(spec->counters, spec->slot, listener->place) >
           all / spec->config->workers + SHARE_SLACK;
}

/*
 * All workers hear of a connection and the first to look takes it, with what is behind it: in a
 * burst that is the one that is running already. Who has more than its share lets the others look
 * first, but seldom and not for long: they may be busy, or stuck, and then nobody is to wait.
 */
static bool leaves_to_others(struct listener *listener)
{
    if (!has_more_than_its_share(listener))
        return false;
    uint64_t now_ms = clock_now_ms();
    if (now_ms - listener->left_ms < LEAVE_EVERY_MS)
        return false;
    listener->left_ms = now_ms;
    stop_accepting_for(listener, LEAVE_MS);
    return true;
}

/* Connections wait in the kernel's queue meanwhile; asking for them at once would spin. */
static void pause_accepting(struct listener *listener, int error)
{
    uint64_t now_ms = clock_now_ms();

    stop_accepting_for(listener, PAUSE_MS);
    if (listener->pause_told_ms != 0 &&
        now_ms - listener->pause_told_ms < (uint64_t)PAUSE_TOLD_EVERY_S * 1000)
        return;
    listener->pause_told_ms = now_ms;
    log_error("no_resources", "[!] %saccepting no connections for lack of resources: %s",
              listener->label, strerror(error));
}

/* returns: whether to go on accepting. */
static bool accept_failed(struct listener_socket *socket, int error)
{
    switch (error) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        pause_accepting(socket->listener, error);
        return false;
    case EINVAL: /* the supervisor has shut the socket down */
    case EBADF:
    case ENOTSOCK:
    case EOPNOTSUPP:
        ev_io_stop(socket->listener->worker->loop, &socket->io);
        return false;
    default: /* that connection is gone before it was here: ECONNABORTED, ENETDOWN, EPERM ... */
        return true;
    }
}

static void on_acceptable(struct ev_loop *loop, ev_io *io, int revents)
{
    struct listener_socket *socket = io->data;

    (void)loop;
    if (revents & EV_ERROR) {
        pause_accepting(socket->listener, ENOMEM); /* epoll refused it, and libev gave it up */
        return;
    }
    if (leaves_to_others(socket->listener))
        return;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct addr peer = { 0 };
        socklen_t len = sizeof peer;
        int fd = accept4(io->fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            take_connection(socket->listener, fd, &peer);
        else if (!accept_failed(socket, errno))
            break;
    }
}

static void on_deadline(struct deadline *deadline)
{
    session_drive(deadline->owner, READY_DEADLINE);
}

static int open_sockets(struct listener *listener, unsigned index)
{
    const struct worker_spec *spec = listener->worker->spec;

    listener->sockets = calloc(listener->config->n_listen, sizeof *listener->sockets);
    if (!listener->sockets)
        return -ENOMEM;
    for (size_t i = 0; i < spec->n_sockets; i++) {
        if (spec->sockets[i].listener != index)
            continue;
        struct listener_socket *socket = &listener->sockets[listener->n_sockets++];
        ev_io_init(&socket->io, on_acceptable, spec->sockets[i].fd, EV_READ);
        socket->io.data = socket;
        socket->listener = listener;
    }
    return 0;
}

int listener_open(struct listener *listener, struct worker *worker, unsigned index)
{
    const struct listener_config *config = &worker->spec->config->listeners[index];

    listener->worker = worker;
    listener->config = config;
    listener->place = worker->spec->places[index];
    listener->is_open = true;
    if (config->name[0])
        snprintf(listener->label, sizeof listener->label, "%s: ", config->name);
    deadline_queue_open(&listener->header_deadlines, worker->loop, config->header_timeout_ms,
                        on_deadline);
    deadline_queue_open(&listener->connect_deadlines, worker->loop, config->connect_timeout_ms,
                        on_deadline);
    deadline_queue_open(&listener->idle_deadlines, worker->loop, config->idle_timeout_ms,
                        on_deadline);
    ev_timer_init(&listener->pause, on_pause_over, 0., 0.);
    listener->pause.data = listener;
    ev_timer_init(&listener->crowd, on_crowd, 0., 0.);
    listener->crowd.data = listener;
    return open_sockets(listener, index);
}

void listener_serve(struct listener *listener)
{
    watch_sockets(listener, true);
}

void listener_stop(struct listener *listener)
{
    ev_timer_stop(listener->worker->loop, &listener->pause);
    watch_sockets(listener, false);
}

void listener_close(struct listener *listener)
{
    if (!listener->is_open)
        return;
    listener_stop(listener);
    ev_timer_stop(listener->worker->loop, &listener->crowd);
    deadline_queue_close(&listener->header_deadlines);
    deadline_queue_close(&listener->connect_deadlines);
    deadline_queue_close(&listener->idle_deadlines);
    free(listener->sockets);
    listener->sockets = NULL;
    listener->n_sockets = 0;
    listener->is_open = false;
}
