/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state RELAY: two pumps, each on its own. The end of one direction is passed on and
 * the other goes on; a failure of either ends both with a reset.
 */
#include <errno.h>
#include <string.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/net/sock.h"
#include "mmproxy/worker/session.h"

/* ENOTCONN is what shutdown(2) says of a socket whose reset nobody has read yet. */
static const char *error_name(const char *whose_reset, int error)
{
    return error == ECONNRESET || error == EPIPE || error == ENOTCONN ? whose_reset
                                                                      : strerror(error);
}

/* The first end seen is the one that the log names. */
static void note_end(struct session *session, const char *end)
{
    if (!session->end)
        session->end = end;
}

static bool has_failed(enum pump_wait wait)
{
    return wait == PUMP_FROM_ERROR || wait == PUMP_TO_ERROR;
}

/*
 * A direction is over: the other end hears of it now, unless both are, when closing the
 * sockets tells.
 */
static bool pass_on_end(int to, enum pump_wait other)
{
    return other == PUMP_DONE || shutdown(to, SHUT_WR) == 0;
}

static void up_ran(struct session *session, enum pump_wait wait)
{
    session->up_wait = wait;
    if (wait == PUMP_DONE && !pass_on_end(session->target_fd, session->down_wait)) {
        session->up_wait = PUMP_TO_ERROR;
        session->up.error = errno;
    }
    if (session->up_wait == PUMP_DONE)
        note_end(session, "client closed");
    else if (session->up_wait == PUMP_FROM_ERROR)
        session->end = error_name("client reset", session->up.error);
    else if (session->up_wait == PUMP_TO_ERROR)
        session->end = error_name("target reset", session->up.error);
}

static void down_ran(struct session *session, enum pump_wait wait)
{
    session->down_wait = wait;
    if (wait == PUMP_DONE && !pass_on_end(session->peer_fd, session->up_wait)) {
        session->down_wait = PUMP_TO_ERROR;
        session->down.error = errno;
    }
    if (session->down_wait == PUMP_DONE)
        note_end(session, "target closed");
    else if (session->down_wait == PUMP_FROM_ERROR)
        session->end = error_name("target reset", session->down.error);
    else if (session->down_wait == PUMP_TO_ERROR)
        session->end = error_name("client reset", session->down.error);
}

static void run_up(struct session *session)
{
    up_ran(session, pump_run(&session->up, session->listener->worker->pool));
}

/*
 * What came first from the target is acknowledged at once, as it may wait for that before it goes
 * on. With its end behind there is nothing to go on with: the client's end will tell.
 */
static void acknowledge_first(struct session *session)
{
    if (session->acknowledges_late && !session->down.at_eof)
        sock_acknowledge_now(session->target_fd);
    session->acknowledges_late = false;
}

static void run_down(struct session *session)
{
    enum pump_wait wait = pump_run(&session->down, session->listener->worker->pool);

    acknowledge_first(session);
    down_ran(session, wait);
}

static enum session_state closed(struct session *session)
{
    const struct listener_config *config = session->listener->config;
    struct counters_worker *counters = session->listener->worker->counters;

    counters_add(&counters->bytes_in, session->up.bytes);
    counters_add(&counters->bytes_out, session->down.bytes);
    report_disconnected(session, listener_config_target(config, addr_family(&session->client)));
    return SESSION_CLOSED;
}

static enum session_state aborted(struct session *session, const char *end)
{
    session->end = end;
    return closed(session);
}

/* Which of the two sockets failed while nobody was reading it? */
static enum session_state socket_failed(struct session *session)
{
    int error = 0;
    socklen_t len = sizeof error;

    (void)getsockopt(session->peer_fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0)
        return aborted(session, error_name("client reset", error));
    (void)getsockopt(session->target_fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return aborted(session, error_name("target reset", error != 0 ? error : ECONNRESET));
}

/* What one side sent before the other failed still reaches it, as without a relay. */
static enum session_state failed(struct session *session)
{
    const char *end = session->end;

    if (!has_failed(session->down_wait) && session->down_wait != PUMP_DONE)
        run_down(session);
    else if (!has_failed(session->up_wait) && session->up_wait != PUMP_DONE)
        run_up(session);
    return aborted(session, end);
}

/* Nobody has had the time to send more than what came with the header. */
static void begin(struct session *session)
{
    session->acknowledges_late = session->up.backlog != NULL; /* see sends_at_once */
    session->down_wait = PUMP_READ;
    up_ran(session, pump_flush(&session->up, session->listener->worker->pool));
}

static void on_activity(struct session *session)
{
    if (session->listener->config->idle_timeout_ms > 0)
        deadline_set(&session->deadline, &session->listener->idle_deadlines);
}

static bool is_ready(enum pump_wait wait, unsigned ready, unsigned read, unsigned write)
{
    return (wait == PUMP_READ && (ready & read)) || (wait == PUMP_WRITE && (ready & write));
}

/* Nobody reads these sockets: from now on hangup tells when one of them fails. */
static void watch_for_errors(struct session *session)
{
    struct hangup *hangup = &session->listener->worker->hangup;

    if (session->up_wait != PUMP_READ && !session->peer_errors_watched)
        session->peer_errors_watched = hangup_add(hangup, session->peer_fd, session) == 0;
    if (session->down_wait != PUMP_READ && !session->target_errors_watched)
        session->target_errors_watched = hangup_add(hangup, session->target_fd, session) == 0;
}

enum session_state relay_run(struct session *session, unsigned ready)
{
    if (ready & READY_STOP)
        return aborted(session, "stopped");
    if (ready & READY_DEADLINE)
        return aborted(session, "idle timeout");
    if (ready & READY_REFUSED)
        return aborted(session, strerror(ENOMEM));
    if (ready & READY_ERROR)
        return socket_failed(session);
    if (ready & READY_QUIET) {
        watch_for_errors(session);
        return SESSION_RELAY;
    }

    if (ready & READY_ENTERED)
        begin(session);
    if (is_ready(session->up_wait, ready, READY_PEER_READ, READY_TARGET_WRITE))
        run_up(session);
    if (!has_failed(session->up_wait) &&
        is_ready(session->down_wait, ready, READY_TARGET_READ, READY_PEER_WRITE))
        run_down(session);
    if (has_failed(session->up_wait) || has_failed(session->down_wait))
        return failed(session);
    if (session->up_wait == PUMP_DONE && session->down_wait == PUMP_DONE) {
        session->ends_with_fin = true;
        return closed(session);
    }
    on_activity(session);
    return SESSION_RELAY;
}
