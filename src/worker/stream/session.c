/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/stream/session.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/net/sock.h"
#include "mmproxy/worker/roster.h"

static enum session_state (*const run_state[SESSION_STATES])(struct session *, unsigned) = {
    [SESSION_HEADER] = header_run,
    [SESSION_CONNECT] = connect_run,
    [SESSION_RELAY] = relay_run,
    [SESSION_RESET] = reset_run,
};

/* EV_ERROR: epoll refused the descriptor. Trying again at once might go on for ever. */
static void on_socket(struct session *session, int revents, unsigned read, unsigned write)
{
    session_drive(session, (revents & EV_ERROR) ? (unsigned)READY_REFUSED
                                                : ((revents & EV_READ) ? read : 0u) |
                                                      ((revents & EV_WRITE) ? write : 0u));
}

static void on_peer(struct ev_loop *loop, ev_io *io, int revents)
{
    (void)loop;
    on_socket(io->data, revents, READY_PEER_READ, READY_PEER_WRITE);
}

static void on_target(struct ev_loop *loop, ev_io *io, int revents)
{
    (void)loop;
    on_socket(io->data, revents, READY_TARGET_READ, READY_TARGET_WRITE);
}

/* What the state waits for, as libev's events. */
static int peer_events(const struct session *session)
{
    if (session->state == SESSION_HEADER)
        return EV_READ;
    if (session->state != SESSION_RELAY)
        return 0;
    return (session->up.wait == PUMP_READ ? EV_READ : 0) |
           (session->down.wait == PUMP_WRITE ? EV_WRITE : 0);
}

static int target_events(const struct session *session)
{
    if (session->state == SESSION_CONNECT)
        return EV_WRITE;
    if (session->state != SESSION_RELAY)
        return 0;
    return (session->down.wait == PUMP_READ ? EV_READ : 0) |
           (session->up.wait == PUMP_WRITE ? EV_WRITE : 0);
}

static void watch(struct ev_loop *loop, ev_io *io, int fd, int events)
{
    int current = ev_is_active(io) ? io->events & (EV_READ | EV_WRITE) : 0;

    if (events == current)
        return;
    ev_io_stop(loop, io);
    if (events) {
        ev_io_set(io, fd, events);
        ev_io_start(loop, io);
    }
}

/*
 * Most sessions are over soon. What only others need waits for a second: keepalive towards the
 * target, and hangup, as a socket that is not being read reports no error.
 */
static void prepare_to_last(struct session *session, int peer, int target)
{
    bool is_due =
        session->state == SESSION_RELAY &&
        (session->lacks_keepalive || (!(peer & EV_READ) && !session->peer_errors_watched) ||
         (!(target & EV_READ) && !session->target_errors_watched));

    if (!is_due)
        deadline_clear(&session->lasting_due);
    else if (!session->lasting_due.queue)
        deadline_set(&session->lasting_due, &session->listener->worker->lasting_deadlines);
}

static void arm(struct session *session)
{
    struct ev_loop *loop = session->listener->worker->loop;
    int peer = peer_events(session);
    int target = target_events(session);

    watch(loop, &session->peer_io, session->peer_fd, peer);
    watch(loop, &session->target_io, session->target_fd, target);
    prepare_to_last(session, peer, target);
}

static void set_deadline(struct session *session)
{
    struct listener *listener = session->listener;

    deadline_clear(&session->deadline);
    if (session->state == SESSION_HEADER)
        deadline_set(&session->deadline, &listener->header_deadlines);
    else if (session->state == SESSION_CONNECT)
        deadline_set(&session->deadline, &listener->connect_deadlines);
    else if (session->state == SESSION_RELAY && listener->config->idle_timeout_ms > 0)
        deadline_set(&session->deadline, &listener->idle_deadlines);
    else if (session->state == SESSION_RESET)
        deadline_set(&session->deadline, &listener->worker->reset_deadlines);
}

static void hang_up(const struct session *session, int fd)
{
    if (fd >= 0 && session->ends_with_fin && !session->has_failed)
        sock_finish(fd);
    else if (fd >= 0)
        close(fd);
}

static void session_free(struct session *session)
{
    struct worker *worker = session->listener->worker;

    deadline_clear(&session->deadline);
    deadline_clear(&session->lasting_due);
    ev_io_stop(worker->loop, &session->peer_io);
    ev_io_stop(worker->loop, &session->target_io);
    pump_close(&session->up, worker->pool);
    pump_close(&session->down, worker->pool);
    hang_up(session, session->target_fd);
    hang_up(session, session->peer_fd);
    free(session->header);
    free(session->notes);
    admission_leave(&session->listener->admission, &session->admitted);
    roster_remove(worker, &session->entry);
    free(session);
}

enum reason session_start(struct listener *listener, const struct addr *local, int fd,
                          const struct addr *peer)
{
    struct session *session = calloc(1, sizeof *session);
    enum reason reason = admission_enter(&listener->admission, session ? &session->admitted : NULL,
                                         peer, clock_now_us());

    if (!session || reason != REASON_NONE) {
        close(fd); /* a reset: see sock_listen */
        free(session);
        return reason;
    }
    session->listener = listener;
    session->local = local;
    session->peer_fd = fd;
    session->target_fd = -1;
    session->peer = *peer;
    session->deadline.owner = session;
    session->lasting_due.owner = session;
    ev_io_init(&session->peer_io, on_peer, fd, 0);
    session->peer_io.data = session;
    ev_io_init(&session->target_io, on_target, -1, 0);
    session->target_io.data = session;
    roster_add(listener->worker, &session->entry, session);

    set_deadline(session);
    session_drive(session, READY_ENTERED);
    return REASON_NONE;
}

const struct addr *session_named_client(const struct session *session)
{
    return session->admitted.is_direct ? NULL : &session->client;
}

struct report_session session_facts(const struct session *session)
{
    return (struct report_session){
        .peer = &session->peer,
        .client = &session->client,
        .target = &session->choice.target,
        .is_health_check = session->is_health_check,
        .notes = session->notes,
        .is_direct = session->admitted.is_direct,
        .since_us = session->since_us,
        .bytes_in = session->up.bytes,
        .bytes_out = session->down.bytes,
        .end = session->end,
    };
}

void session_lasts(struct session *session)
{
    struct hangup *hangup = &session->listener->worker->hangup;

    if (session->lacks_keepalive)
        (void)sock_set_keepalive(session->target_fd, session->listener->config->keepalive_s);
    session->lacks_keepalive = false;
    if (!(peer_events(session) & EV_READ) && !session->peer_errors_watched)
        session->peer_errors_watched = hangup_add(hangup, session->peer_fd, session) == 0;
    if (!(target_events(session) & EV_READ) && !session->target_errors_watched)
        session->target_errors_watched = hangup_add(hangup, session->target_fd, session) == 0;
    arm(session);
}

/* The peer is gone, and so is what had not been delivered. */
static void drop_peer(struct session *session)
{
    struct worker *worker = session->listener->worker;

    ev_io_stop(worker->loop, &session->peer_io);
    pump_close(&session->up, worker->pool);
    pump_close(&session->down, worker->pool);
    hang_up(session, session->peer_fd);
    session->peer_fd = -1;
}

static void leave_state(struct session *session, enum session_state next)
{
    if (next == SESSION_RESET)
        drop_peer(session);
    if (session->state == SESSION_CONNECT) {
        free(session->header); /* the pump has a copy of what was behind it */
        session->header = NULL;
    }
}

/* idle_timeout begins anew with everything that comes or goes; RESET looks again and again. */
static bool restarts_deadline(const struct session *session, unsigned ready)
{
    return (session->state == SESSION_RELAY && (ready & READY_SOCKETS)) ||
           (session->state == SESSION_RESET && (ready & READY_DEADLINE));
}

void session_drive(struct session *session, unsigned ready)
{
    enum session_state next;

    if (ready & READY_SOCKETS)
        session->entry.active = ev_now(session->listener->worker->loop);
    while ((next = run_state[session->state](session, ready)) != session->state) {
        leave_state(session, next);
        session->state = next;
        if (next == SESSION_CLOSED) {
            session_free(session);
            return;
        }
        set_deadline(session);
        ready = READY_ENTERED;
    }
    if (restarts_deadline(session, ready))
        set_deadline(session);
    arm(session);
}
