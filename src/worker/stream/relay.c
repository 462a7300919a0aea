/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state RELAY: two pumps, each on its own. The regular end of one direction is passed on
 * and the other continues. A failure of either socket is one of the whole session: from then on
 * nothing sends FIN, so that what was cut off does not look complete.
 */
#include <errno.h>
#include <string.h>

#include "mmproxy/net/sock.h"
#include "mmproxy/worker/stream/session.h"

static bool is_peer(const struct session *session, int fd)
{
    return fd == session->peer_fd;
}

/* ENOTCONN is what shutdown(2) says of a socket whose reset has not been read yet. */
static const char *failure_of(const struct session *session, int fd, int error)
{
    if (error != ECONNRESET && error != EPIPE && error != ENOTCONN)
        return strerror(error);
    return is_peer(session, fd) ? "client reset" : "target reset";
}

/* The log names the first failure; a regular end before it no longer counts. */
static void fail(struct session *session, const char *end)
{
    if (!session->has_failed)
        session->end = end;
    session->has_failed = true;
}

/*
 * The other socket hears of a regular end now; unless both directions have ended, when closing
 * the sockets tells. This is the only place that sends FIN while a session lives.
 */
static void pass_on_end(struct session *session, struct pump *pump, const struct pump *back)
{
    if (session->has_failed)
        return;
    if (back->wait != PUMP_DONE && shutdown(pump->to, SHUT_WR) < 0) {
        pump->wait = PUMP_TO_ERROR;
        pump->error = errno;
        return;
    }
    if (!session->end)
        session->end = is_peer(session, pump->from) ? "client closed" : "target closed";
}

static void after_run(struct session *session, struct pump *pump, struct pump *back)
{
    if (pump->wait == PUMP_DONE)
        pass_on_end(session, pump, back);
    if (pump->wait == PUMP_FROM_ERROR)
        fail(session, failure_of(session, pump->from, pump->error));
    if (pump->wait == PUMP_TO_ERROR) {
        fail(session, failure_of(session, pump->to, pump->error));
        pump_cut_off(back);
    }
}

/*
 * The side that ends last has as a rule sent its last byte before. One call then tells that, and
 * that FIN is acknowledged: it replaces reading the end and taking SO_LINGER back. ahead: bytes of
 * `from` that the pump has not seen.
 */
static bool is_over(struct pump *pump, const struct pump *back, uint64_t ahead)
{
    if (!pump->has_ended || pump->is_urgent || pump->bytes == 0 || pump->wait != PUMP_READ ||
        back->wait != PUMP_DONE || !sock_is_over(pump->from, ahead + pump->bytes))
        return false;
    pump->wait = PUMP_DONE;
    return true;
}

/* Counted as they flow: a session may last for days. */
static void count_bytes(const struct session *session, unsigned count, uint64_t n)
{
    if (n > 0)
        counters_add(session->listener->counters, count, n);
}

static void run_up(struct session *session)
{
    uint64_t before = session->up.bytes;

    session->peer_is_over = is_over(&session->up, &session->down, session->proxy_len);
    if (!session->peer_is_over)
        (void)pump_run(&session->up, session->listener->worker->pool);
    count_bytes(session, COUNT_BYTES_IN, session->up.bytes - before);
    after_run(session, &session->up, &session->down);
}

/*
 * The target's first bytes are acknowledged at once, as it may wait for that before it
 * continues. If its end has come too, there is nothing to wait for.
 */
static void acknowledge_first(struct session *session)
{
    if (session->acknowledges_late && !session->down.at_eof)
        sock_acknowledge_now(session->target_fd);
    session->acknowledges_late = false;
}

static void run_down(struct session *session)
{
    uint64_t before = session->down.bytes;

    session->target_is_over = is_over(&session->down, &session->up, 0);
    if (!session->target_is_over)
        (void)pump_run(&session->down, session->listener->worker->pool);
    count_bytes(session, COUNT_BYTES_OUT, session->down.bytes - before);
    acknowledge_first(session);
    after_run(session, &session->down, &session->up);
}

/* There has been no time to send more than what came with the header. */
static void send_payload(struct session *session)
{
    uint64_t before = session->up.bytes;

    (void)pump_flush(&session->up, session->listener->worker->pool);
    count_bytes(session, COUNT_BYTES_IN, session->up.bytes - before);
    after_run(session, &session->up, &session->down);
}

static enum session_state relay_ended(struct session *session)
{
    const struct report_session facts = session_facts(session);

    report_disconnected(session->listener, &facts);
    return session->has_failed ? SESSION_RESET : SESSION_CLOSED;
}

static enum session_state aborted(struct session *session, const char *end)
{
    fail(session, end);
    return relay_ended(session);
}

/* Bytes that the failed side had sent still reach the other, as without a relay. */
static enum session_state cut_off(struct session *session)
{
    if (session->up.wait == PUMP_TO_ERROR)
        run_down(session);
    else if (session->down.wait == PUMP_TO_ERROR)
        run_up(session);
    return relay_ended(session);
}

/* Which of the two sockets failed while it was not being read? */
static enum session_state failed_unread(struct session *session)
{
    int error = 0;
    socklen_t len = sizeof error;

    (void)getsockopt(session->peer_fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0)
        return aborted(session, failure_of(session, session->peer_fd, error));
    (void)getsockopt(session->target_fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return aborted(session,
                   failure_of(session, session->target_fd, error != 0 ? error : ECONNRESET));
}

static bool can_run(const struct pump *pump, unsigned ready, unsigned read, unsigned write)
{
    return (pump->wait == PUMP_READ && (ready & read)) ||
           (pump->wait == PUMP_WRITE && (ready & write));
}

static void tell(struct pump *pump, const struct loop_io *from)
{
    pump_tell(pump, from->told & LOOP_END, from->told & LOOP_URGENT);
}

enum session_state relay_run(struct session *session, unsigned ready)
{
    if (ready & READY_STOP)
        return aborted(session, "stopped");
    if (ready & READY_CLOSE)
        return aborted(session, "closed by mmproxyctl");
    if (ready & READY_DEADLINE)
        return aborted(session, "idle timeout");
    if (ready & READY_REFUSED)
        return aborted(session, strerror(ENOMEM));
    if (ready & READY_ERROR)
        return failed_unread(session);

    tell(&session->up, &session->peer_io);
    tell(&session->down, &session->target_io);
    if (ready & READY_ENTERED)
        send_payload(session);
    if (can_run(&session->up, ready, READY_PEER_READ, READY_TARGET_WRITE))
        run_up(session);
    if (!session->has_failed && can_run(&session->down, ready, READY_TARGET_READ, READY_PEER_WRITE))
        run_down(session);
    if (session->has_failed)
        return cut_off(session);
    if (session->up.wait != PUMP_DONE || session->down.wait != PUMP_DONE)
        return SESSION_RELAY;
    session->ends_with_fin = true;
    return relay_ended(session);
}
