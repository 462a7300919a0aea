/* SPDX-License-Identifier: BSD-2-Clause */
/* The state CONNECT: reach the target from the client's own address. */
#include <errno.h>
#include <string.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/net/spoof.h"
#include "mmproxy/worker/stream/session.h"

static enum session_state connect_failed(struct session *session, int err)
{
    const struct report_refusal refusal = { .reason = reason_of_connect_error(-err),
                                            .detail = strerror(-err),
                                            .peer = &session->peer,
                                            .client = session_named_client(session),
                                            .target = &session->choice.target,
                                            .is_health_check = session->is_health_check };

    report_refusal(session->listener, &refusal);
    return SESSION_CLOSED;
}

/* Pacing is for networks. There is none on the way to a target or container on this host. */
static bool avoids_pacing(const struct session *session)
{
    const struct worker *worker = session->listener->worker;
    const struct addr *target = &session->choice.target;

    return worker->is_paced && (locals_contain(worker->locals, target) ||
                                locals_reach_container(worker->locals, target));
}

/* sent: how much of what came with the header is on its way already. */
static enum session_state connected(struct session *session, size_t sent)
{
    session->acknowledges_late = session->header_len > 0; /* see sends_at_once */
    pump_open(&session->up, session->peer_fd, session->target_fd);
    pump_open(&session->down, session->target_fd, session->peer_fd);
    session->up.delays = true;
    session->up.has_more = session->has_unread;
    session->lacks_keepalive = session->listener->config->keepalive_s > 0;
    session->up.bytes = sent;
    counters_add(session->listener->counters, COUNT_BYTES_IN, sent);
    if (sent < session->header_len &&
        pump_prime(&session->up, session->header + sent, session->header_len - sent) < 0)
        return connect_failed(session, -ENOMEM);
    uint64_t now_us = clock_now_us();
    counters_add_connect(session->listener->counters, now_us - session->since_us);
    session->since_us = now_us;
    const struct report_session facts = session_facts(session);
    report_connected(session->listener, &facts);
    return SESSION_RELAY;
}

static enum session_state send_first(struct session *session)
{
    ssize_t n = spoof_send(session->target_fd, session->header, session->header_len);
    if (n == -EAGAIN || n == -EINTR)
        return SESSION_CONNECT;
    return n < 0 ? connect_failed(session, (int)n) : connected(session, (size_t)n);
}

static enum session_state start_connecting(struct session *session)
{
    const struct listener_config *config = session->listener->config;
    struct spoof spoof = {
        .source = session->choice.source,
        .target = session->choice.target,
        .mark = listener_config_socket_mark(config, addr_family(&session->choice.target)),
        .preserve_port = config->preserve_client_port,
        .avoids_pacing = avoids_pacing(session),
        .sends_at_once = session->header_len > 0,
    };
    bool is_connected;

    session->since_us = clock_now_us();
    int fd = spoof_connect(&spoof, &is_connected);
    if ((fd == -EMFILE || fd == -ENFILE) && loop_close_now(session->listener->worker->loop))
        fd = spoof_connect(&spoof, &is_connected);
    if (fd < 0)
        return connect_failed(session, fd);
    session->target_fd = fd;
    if (is_connected)
        return connected(session, 0);
    return spoof.sends_at_once ? send_first(session) : SESSION_CONNECT;
}

enum session_state connect_run(struct session *session, unsigned ready)
{
    if (ready & (READY_STOP | READY_CLOSE))
        return SESSION_CLOSED;
    if (ready & READY_REFUSED)
        return connect_failed(session, -ENOMEM);
    if (ready & READY_DEADLINE)
        return connect_failed(session, -ETIMEDOUT);
    if (session->target_fd < 0)
        return start_connecting(session);

    int err = spoof_finish(session->target_fd, &session->choice.target);
    if (err == -EALREADY)
        return SESSION_CONNECT;
    return err < 0 ? connect_failed(session, err) : connected(session, 0);
}
