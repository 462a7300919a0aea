/* SPDX-License-Identifier: BSD-2-Clause */
/* The state HEADER: find out the client, by the PROXY header or, of a direct peer, at once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "mmproxy/net/sock.h"
#include "mmproxy/proxyproto/proxyproto.h"
#include "mmproxy/worker/stream/session.h"

/* Most headers come in one piece and never need this buffer. */
enum { FIRST_SIZE = 256 };

static enum session_state refused(struct session *session, enum reason reason, const char *detail)
{
    const struct report_refusal refusal = { .reason = reason,
                                            .detail = detail,
                                            .peer = &session->peer,
                                            .client = session_named_client(session),
                                            .is_health_check = session->is_health_check };

    report_refusal(session->listener, &refusal);
    return SESSION_CLOSED;
}

/* diagnosis: what it looks like instead, or NULL. */
static enum session_state bad_header(struct session *session, enum reason reason, const char *wrong,
                                     const char *diagnosis)
{
    char detail[256];

    (void)snprintf(detail, sizeof detail, "%s%s%s", wrong, diagnosis ? ": " : "",
                   diagnosis ? diagnosis : "");
    return refused(session, reason, detail);
}

static enum session_state not_admitted(struct session *session, enum reason reason)
{
    char text[ADMISSION_TEXT_MAX];

    return refused(
        session, reason,
        admission_explain(&session->listener->admission, reason, &session->client, text));
}

static enum session_state out_of_memory(struct session *session)
{
    return refused(session, REASON_NO_RESOURCES, strerror(ENOMEM));
}

/* May this client be connected to a target? */
static enum session_state judge_client(struct session *session, const struct target_facts *facts)
{
    session->client = facts->client;
    enum reason reason = admission_identify(&session->listener->admission, &session->admitted,
                                            session->local, facts, &session->choice);
    return reason == REASON_NONE ? SESSION_CONNECT : not_admitted(session, reason);
}

static void count_health_check(const struct session *session)
{
    counters_add(session->listener->counters, COUNT_HEALTH_CHECKS, 1);
}

static enum session_state ended_early(struct session *session)
{
    if (session->header_len > 0)
        return bad_header(session, REASON_BAD_HEADER, "connection ended within the header",
                          proxyproto_diagnose(session->header, session->header_len));

    count_health_check(session);
    report_health_check(session->listener, &session->peer, "closed without a byte");
    session->ends_with_fin = true;
    return SESSION_CLOSED;
}

/* bytes: of the header, which are not needed afterwards. */
static enum reason look_at_header(struct session *session, const struct proxyproto *header,
                                  const uint8_t *bytes)
{
    session->is_health_check = header->is_local;
    if (header->is_local)
        count_health_check(session);
    else
        session->client = header->client; /* for the line of a refusal */
    session->notes = listener_take_notes(session->listener, bytes, header);
    return listener_judge_header(session->listener, bytes, header);
}

static enum session_state judge_header(struct session *session, const struct proxyproto *header)
{
    const struct target_facts facts = { .client = header->is_local ? session->peer : header->client,
                                        .is_named = !header->is_local,
                                        .port = addr_port(&header->destination) };

    return judge_client(session, &facts);
}

/* Keeps bytes for later: a header's beginning, or the payload behind it. */
static int keep(struct session *session, const uint8_t *bytes, size_t len)
{
    size_t size = len > FIRST_SIZE ? len : FIRST_SIZE;

    session->header = malloc(size);
    if (!session->header)
        return -ENOMEM;
    memcpy(session->header, bytes, len);
    session->header_len = (uint32_t)len;
    session->header_size = (uint32_t)size;
    return 0;
}

/* Doubles, so that memory follows what has arrived and not what a header announces. */
static int grow(struct session *session)
{
    size_t size = (size_t)session->header_size * 2;
    uint8_t *larger = realloc(session->header, size);

    if (!larger)
        return -ENOMEM;
    session->header = larger;
    session->header_size = (uint32_t)size;
    return 0;
}

/* Drops the header; what follows it is the client's and waits in the same buffer. */
static int keep_payload(struct session *session, const uint8_t *bytes, size_t len)
{
    if (!session->header)
        return len > 0 ? keep(session, bytes, len) : 0;
    memmove(session->header, bytes, len);
    session->header_len = (uint32_t)len;
    return 0;
}

/*
 * Accepted sockets acknowledge late, for headers that come with a request: the answer follows.
 * Here none does, and the rest may be held back until what has come is acknowledged.
 */
static void ask_for_more(const struct session *session)
{
    sock_acknowledge_now(session->peer_fd);
}

static enum session_state judge(struct session *session, const uint8_t *bytes, size_t len)
{
    struct proxyproto header;
    enum reason reason;

    switch (proxyproto_parse(bytes, len, &header)) {
    case PROXYPROTO_BAD:
        return bad_header(session, REASON_BAD_HEADER, header.reason,
                          proxyproto_diagnose(bytes, len));
    case PROXYPROTO_OK:
        reason = look_at_header(session, &header, bytes);
        if (reason != REASON_NONE)
            return not_admitted(session, reason);
        session->proxy_len = (uint32_t)header.length;
        if (keep_payload(session, bytes + header.length, len - header.length) < 0)
            return out_of_memory(session);
        if (header.length == len)
            ask_for_more(session);
        return judge_header(session, &header);
    case PROXYPROTO_MORE:
        break;
    }
    if (session->header)
        return SESSION_HEADER;
    ask_for_more(session);
    return keep(session, bytes, len) < 0 ? out_of_memory(session) : SESSION_HEADER;
}

static enum session_state read_failed(struct session *session, int error)
{
    if (error != ECONNRESET)
        return refused(session, REASON_PEER_LOST, strerror(error));
    if (session->header_len == 0)
        return ended_early(session); /* reset before the first byte, as some checks do */
    return bad_header(session, REASON_BAD_HEADER, "connection was reset within the header", NULL);
}

/* One recv: into the shared buffer at first, behind what is there already later. */
static enum session_state read_some(struct session *session, bool *is_all)
{
    size_t size;
    uint8_t *bytes = pump_pool_buffer(session->listener->worker->pool, &size);
    size_t had = session->header_len;

    if (session->header) {
        if (had == session->header_size && grow(session) < 0)
            return out_of_memory(session);
        bytes = session->header;
        size = session->header_size;
    }
    ssize_t n = recv(session->peer_fd, bytes + had, size - had, MSG_DONTWAIT);
    /* Not where reads stop before an urgent byte, or the end is behind and won't be told again. */
    bool is_told = n > 0 && (session->peer_io.told & (LOOP_END | LOOP_URGENT));
    *is_all = n < (ssize_t)(size - had) && !is_told;
    session->has_unread = !*is_all;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        loop_again(&session->peer_io, LOOP_READ);
        return SESSION_HEADER;
    }
    if (n < 0)
        return read_failed(session, errno);
    if (n == 0)
        return ended_early(session);
    if (session->header)
        session->header_len += (uint32_t)n;
    return judge(session, bytes, had + (size_t)n);
}

static enum session_state timed_out(struct session *session)
{
    char wrong[64];

    (void)snprintf(wrong, sizeof wrong, "not complete within %g s",
                   session->listener->config->header_timeout_ms / 1000.0);
    return bad_header(session, REASON_TIMEOUT, wrong,
                      proxyproto_diagnose(session->header, session->header_len));
}

enum session_state header_run(struct session *session, unsigned ready)
{
    if (ready & (READY_STOP | READY_CLOSE))
        return SESSION_CLOSED;
    if (ready & READY_REFUSED)
        return out_of_memory(session);
    if (ready & READY_DEADLINE)
        return timed_out(session);
    if (ready & READY_OLDEST)
        return not_admitted(session, REASON_MAX_PENDING);

    /* Nothing is read: a service that speaks first may do so, and a header would be payload. */
    if (session->admitted.is_direct) {
        const struct target_facts facts = { .client = session->peer };
        return judge_client(session, &facts);
    }

    enum session_state next;
    bool is_all;
    do
        next = read_some(session, &is_all);
    while (next == SESSION_HEADER && !is_all);
    return next;
}
