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
#include "mmproxy/worker/datagram/receiver.h"
#include "mmproxy/worker/stream/session.h"

enum {
    ACCEPT_BATCH = 8,      /* per wake-up, then the sessions that exist have their turn */
    PAUSE_US = 200 * 1000, /* out of descriptors: how long until the next try */
    PAUSE_TOLD_EVERY_S = 60,
    YIELD_US = 1000, /* how long a worker with more than its share lets others accept first */
    YIELD_EVERY_MS = 20,
    PENDING_CHECK_US = 50 * 1000, /* how long one too many may stay pending in another worker */
};

static void limit_pending(struct listener *listener)
{
    struct admitted *admitted;

    while ((admitted = admission_excess(&listener->admission)))
        session_drive(session_of(admitted), READY_OLDEST);
}

/* Most headers are there already: their sessions are not pending any more. */
static void check_pending_later(struct listener *listener)
{
    if (admission_has_pending(&listener->admission) && !listener->pending_check.is_active)
        loop_start_timer(listener->worker->loop, &listener->pending_check, PENDING_CHECK_US);
}

static void on_pending_check(struct timer *timer)
{
    struct listener *listener = timer->owner;

    limit_pending(listener);
    check_pending_later(listener);
}

static void report_refused(struct listener *listener, enum reason reason, const struct addr *peer)
{
    char text[ADMISSION_TEXT_MAX];
    struct report_refusal refusal = { .reason = reason, .peer = peer };

    if (reason == REASON_NO_RESOURCES)
        refusal.detail = strerror(ENOMEM);
    else if (reason != REASON_NOT_ALLOWED)
        refusal.detail = admission_explain(&listener->admission, reason, NULL, text);
    report_refusal(listener, &refusal);
}

static void take_connection(const struct listener_socket *socket, int fd, struct addr *peer)
{
    struct listener *listener = socket->listener;
    const struct worker_spec *spec = listener->worker->spec;

    counters_note_descriptor(spec->counters, spec->worker_id, fd);
    addr_unmap(peer);
    enum reason reason = session_start(listener, socket->local, fd, peer);
    if (reason != REASON_NONE) {
        report_refused(listener, reason, peer);
        return;
    }
    /* Not before: a session whose header was there already takes no other session's place. */
    limit_pending(listener);
    check_pending_later(listener);
}

static void unwatch_sockets(struct listener *listener)
{
    for (size_t i = 0; i < listener->n_sockets; i++)
        loop_unwatch(listener->worker->loop, &listener->sockets[i].io);
}

/*
 * The kernel wakes all workers for a connection. The first to call accept takes it, and also those
 * behind it: in a burst that is the worker that is running already. A worker with more than its
 * share waits for a moment so that others accept first. It does so only now and then, because the
 * others may be busy or stuck, and no connection may wait for them. Other ports of the listener do
 * not wait: to stop watching thousands of them would take longer than the moment.
 */
static bool yield_to_others(struct listener_socket *socket)
{
    struct listener *listener = socket->listener;

    if (!admission_is_above_share(&listener->admission))
        return false;
    uint64_t now_ms = clock_now_ms();
    if (now_ms - listener->yielded_ms < YIELD_EVERY_MS)
        return false;
    listener->yielded_ms = now_ms;
    loop_unwatch(listener->worker->loop, &socket->io);
    loop_start_timer(listener->worker->loop, &listener->pause, YIELD_US);
    return true;
}

/* Connections wait in the kernel's queue meanwhile; asking for them at once would spin. */
static void pause_accepting(struct listener *listener, int error)
{
    uint64_t now_ms = clock_now_ms();

    unwatch_sockets(listener);
    loop_start_timer(listener->worker->loop, &listener->pause, PAUSE_US);
    if (listener->pause_told_ms != 0 &&
        now_ms - listener->pause_told_ms < (uint64_t)PAUSE_TOLD_EVERY_S * 1000)
        return;
    listener->pause_told_ms = now_ms;
    log_error("no_resources", "[!] %saccepting no connections for lack of resources: %s",
              listener->label, strerror(error));
}

/* Where epoll has no room for a socket, all of them wait until the next try. */
static void watch_sockets(struct listener *listener)
{
    int err = 0;

    for (size_t i = 0; i < listener->n_sockets && err == 0; i++)
        err = loop_watch(listener->worker->loop, &listener->sockets[i].io);
    if (err < 0)
        pause_accepting(listener, -err);
}

static void on_pause_over(struct timer *timer)
{
    watch_sockets(timer->owner);
}

/* returns: may there be more to accept? */
static bool accept_failed(struct listener_socket *socket, int error)
{
    switch (error) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
        if (loop_close_now(socket->listener->worker->loop))
            return true;
        pause_accepting(socket->listener, error);
        return false;
    case ENOBUFS:
    case ENOMEM:
        pause_accepting(socket->listener, error);
        return false;
    case EINVAL: /* the supervisor has shut the socket down */
    case EBADF:
    case ENOTSOCK:
    case EOPNOTSUPP:
        loop_unwatch(socket->listener->worker->loop, &socket->io);
        return false;
    default: /* that connection is gone before it was here: ECONNABORTED, ENETDOWN, EPERM ... */
        return true;
    }
}

static void on_acceptable(struct loop_io *io, unsigned events)
{
    struct listener_socket *socket = io->owner;

    (void)events;
    if (yield_to_others(socket))
        return;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct addr peer = { 0 };
        socklen_t len = sizeof peer;
        int fd = accept4(io->fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            take_connection(socket, fd, &peer);
        else if (!accept_failed(socket, errno))
            break;
    }
}

static void on_deadline(struct deadline *deadline)
{
    session_drive(deadline->owner, READY_DEADLINE);
}

/* Those of one listener. returns: how many, side by side from *first on. */
static size_t find_sockets(const struct worker_spec *spec, unsigned index,
                           const struct worker_socket **first)
{
    size_t low = 0;
    size_t n = spec->n_sockets;

    while (n > 0) {
        size_t half = n / 2;
        bool is_before = spec->sockets[low + half].listener < index;
        low += is_before ? half + 1 : 0;
        n = is_before ? n - half - 1 : half;
    }
    *first = &spec->sockets[low];
    while (low + n < spec->n_sockets && spec->sockets[low + n].listener == index)
        n++;
    return n;
}

static int open_sockets(struct listener *listener, const struct worker_socket *first, size_t n)
{
    listener->sockets = calloc(n + 1, sizeof *listener->sockets);
    if (!listener->sockets)
        return -ENOMEM;
    listener->n_sockets = n;
    for (size_t i = 0; i < n; i++) {
        struct listener_socket *socket = &listener->sockets[i];
        socket->io =
            (struct loop_io){ .on_event = on_acceptable, .owner = socket, .fd = first[i].fd };
        socket->local = &first[i].addr;
        socket->listener = listener;
    }
    return 0;
}

static int open_receiver(struct listener *listener, const struct worker_socket *first, size_t n)
{
    listener->receiver = calloc(1, sizeof *listener->receiver);
    return listener->receiver ? receiver_open(listener->receiver, listener, first, n) : -ENOMEM;
}

int listener_open(struct listener *listener, struct worker *worker, unsigned index)
{
    const struct listener_config *config = &worker->spec->config->listeners[index];

    listener->worker = worker;
    listener->config = config;
    listener->admission = (struct admission){
        .config = config,
        .locals = worker->locals,
        .outside = worker->spec->outside,
        .counters = worker->spec->counters,
        .worker = worker->spec->worker_id,
        .listener = worker->spec->listener_ids[index],
        .n_workers = worker->spec->config->workers,
    };
    admission_open(&listener->admission);
    listener->counters = listener->admission.own;
    listener->is_open = true;
    if (config->name[0])
        snprintf(listener->label, sizeof listener->label, "%s: ", config->name);
    deadline_queue_open(&listener->header_deadlines, worker->loop, config->header_timeout_ms,
                        on_deadline);
    deadline_queue_open(&listener->connect_deadlines, worker->loop, config->connect_timeout_ms,
                        on_deadline);
    deadline_queue_open(&listener->idle_deadlines, worker->loop, config->idle_timeout_ms,
                        on_deadline);
    listener->pause = (struct timer){ .on_due = on_pause_over, .owner = listener };
    listener->pending_check = (struct timer){ .on_due = on_pending_check, .owner = listener };
    const struct worker_socket *first;
    size_t n = find_sockets(worker->spec, index, &first);
    return config->protocol == PROTOCOL_UDP ? open_receiver(listener, first, n)
                                            : open_sockets(listener, first, n);
}

enum reason listener_judge_header(const struct listener *listener, const uint8_t *header,
                                  const struct proxyproto *parsed)
{
    struct proxyproto_facts facts;

    if (!listener->config->endpoints)
        return REASON_NONE;
    proxyproto_facts(header, parsed, &facts);
    return admission_judge_header(&listener->admission, parsed->is_local, &facts);
}

struct notes *listener_take_notes(const struct listener *listener, const uint8_t *header,
                                  const struct proxyproto *parsed)
{
    struct proxyproto_facts facts;

    if (!report_has_notes(listener, parsed->is_local))
        return NULL;
    proxyproto_facts(header, parsed, &facts);
    return notes_new(&facts);
}

void listener_serve(struct listener *listener)
{
    if (listener->receiver)
        receiver_serve(listener->receiver);
    watch_sockets(listener);
}

void listener_stop(struct listener *listener)
{
    if (listener->receiver)
        receiver_stop(listener->receiver);
    loop_stop_timer(listener->worker->loop, &listener->pause);
    unwatch_sockets(listener);
}

void listener_end_datagrams(struct listener *listener)
{
    if (listener->receiver)
        receiver_end_sessions(listener->receiver, "stopped");
}

void listener_close(struct listener *listener)
{
    if (!listener->is_open)
        return;
    listener_stop(listener);
    loop_stop_timer(listener->worker->loop, &listener->pending_check);
    deadline_queue_close(&listener->header_deadlines);
    deadline_queue_close(&listener->connect_deadlines);
    deadline_queue_close(&listener->idle_deadlines);
    if (listener->receiver)
        receiver_close(listener->receiver);
    free(listener->receiver);
    listener->receiver = NULL;
    free(listener->sockets);
    listener->sockets = NULL;
    listener->n_sockets = 0;
    listener->is_open = false;
}
