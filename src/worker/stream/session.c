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

/* What the state waits for. A socket that has failed is heard of also while it is not read. */
static unsigned wanted_of_peer(const struct session *session)
{
    if (session->state == SESSION_HEADER)
        return LOOP_READ;
    if (session->state != SESSION_RELAY)
        return 0;
    return LOOP_ERROR | (session->up.wait == PUMP_READ ? LOOP_READ : 0u) |
           (session->down.wait == PUMP_WRITE ? LOOP_WRITE : 0u);
}

static unsigned wanted_of_target(const struct session *session)
{
    if (session->state == SESSION_CONNECT)
        return LOOP_WRITE;
    if (session->state == SESSION_RESET)
        return LOOP_ERROR;
    if (session->state != SESSION_RELAY)
        return 0;
    return LOOP_ERROR | (session->down.wait == PUMP_READ ? LOOP_READ : 0u) |
           (session->up.wait == PUMP_WRITE ? LOOP_WRITE : 0u);
}

/* Reading meets an error behind what came before it. */
static unsigned ready_of(unsigned events, unsigned read, unsigned write)
{
    unsigned ready = (events & LOOP_READ ? read : 0u) | (events & LOOP_WRITE ? write : 0u);

    return (events & LOOP_ERROR) && !(events & LOOP_READ) ? ready | READY_ERROR : ready;
}

void session_on_event(struct loop_io *io, unsigned events)
{
    struct session *session = io->owner;
    unsigned ready =
        io == &session->peer_io
            ? ready_of(events & wanted_of_peer(session), READY_PEER_READ, READY_PEER_WRITE)
            : ready_of(events & wanted_of_target(session), READY_TARGET_READ, READY_TARGET_WRITE);

    if (ready)
        session_drive(session, ready);
}

static void look_again(struct pump *pump, struct loop_io *from, struct loop_io *to)
{
    if (!pump_take_more(pump))
        return;
    loop_again(from, pump->wait == PUMP_READ ? LOOP_READ : 0u);
    loop_again(to, pump->wait == PUMP_WRITE ? LOOP_WRITE : 0u);
}

/* returns: 0 or -errno: the kernel won't tell. */
static int arm(struct session *session)
{
    struct loop *loop = session->listener->worker->loop;

    look_again(&session->up, &session->peer_io, &session->target_io);
    look_again(&session->down, &session->target_io, &session->peer_io);
    session->target_io.fd = session->target_fd;
    int err = loop_want(loop, &session->peer_io, wanted_of_peer(session));
    return err < 0 ? err : loop_want(loop, &session->target_io, wanted_of_target(session));
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

static void hang_up(const struct session *session)
{
    if (session->ends_with_fin && !session->has_failed) {
        if (!session->peer_is_over)
            sock_set_orderly(session->peer_fd);
        if (session->target_fd >= 0 && !session->target_is_over)
            sock_set_orderly(session->target_fd);
    }
    loop_close(session->listener->worker->loop, session->peer_fd);
    loop_close(session->listener->worker->loop, session->target_fd);
}

static void session_free(struct session *session)
{
    struct worker *worker = session->listener->worker;

    deadline_clear(&session->deadline);
    deadline_clear(&session->lasting_due);
    loop_forget(worker->loop, &session->peer_io);
    loop_forget(worker->loop, &session->target_io);
    pump_close(&session->up, worker->pool);
    pump_close(&session->down, worker->pool);
    hang_up(session);
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
    session->peer_io = (struct loop_io){ .on_event = session_on_event, .owner = session, .fd = fd };
    session->target_io = (struct loop_io){ .on_event = session_on_event, .owner = session };
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
    (void)sock_set_keepalive(session->target_fd, session->listener->config->keepalive_s);
    session->lacks_keepalive = false;
}

/* The peer is gone, and so is what had not been delivered. */
static void drop_peer(struct session *session)
{
    struct worker *worker = session->listener->worker;

    loop_forget(worker->loop, &session->peer_io);
    pump_close(&session->up, worker->pool);
    pump_close(&session->down, worker->pool);
    close(session->peer_fd); /* a reset: see sock_listen */
    session->peer_fd = -1;
}

static void leave_state(struct session *session, enum session_state next)
{
    deadline_clear(&session->lasting_due);
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

/* returns: whether it still exists. */
static bool run_states(struct session *session, unsigned ready)
{
    enum session_state next;

    while ((next = run_state[session->state](session, ready)) != session->state) {
        leave_state(session, next);
        session->state = next;
        if (next == SESSION_CLOSED) {
            session_free(session);
            return false;
        }
        set_deadline(session);
        if (next == SESSION_RELAY && session->lacks_keepalive)
            deadline_set(&session->lasting_due, &session->listener->worker->lasting_deadlines);
        ready = READY_ENTERED;
    }
    if (restarts_deadline(session, ready))
        set_deadline(session);
    return true;
}

/* Where the kernel won't tell when a socket is ready, trying again at once might have no end. */
void session_drive(struct session *session, unsigned ready)
{
    if (ready & READY_SOCKETS)
        session->entry.active_us = loop_now_us(session->listener->worker->loop);
    if (run_states(session, ready) && arm(session) < 0)
        (void)run_states(session, READY_REFUSED);
}
