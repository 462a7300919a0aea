/* SPDX-License-Identifier: BSD-2-Clause */
/* The state HEADER: read the PROXY header, find out who the client is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "mmproxy/net/sock.h"
#include "mmproxy/proxyproto/proxyproto.h"
#include "mmproxy/worker/session.h"

/* Most headers come in one piece and never need this buffer. */
enum { FIRST_SIZE = 256 };

static enum session_state bad_header(struct session *session, const char *reason,
                                     const char *diagnosis)
{
    struct counters_worker *counters = session->listener->worker->counters;

    counters_add(&counters->bad_headers, 1);
    report_bad_header(session, reason, diagnosis);
    return SESSION_CLOSED;
}

static enum session_state refused(struct session *session, const char *reason)
{
    counters_add(&session->listener->worker->counters->refused, 1);
    report_refused(session->listener, &session->peer, &session->client, reason);
    return SESSION_CLOSED;
}

static enum session_state ended_early(struct session *session)
{
    if (session->header_len > 0)
        return bad_header(session, "connection ended within the header",
                          proxyproto_diagnose(session->header, session->header_len));

    counters_add(&session->listener->worker->counters->health_checks, 1);
    report_health_check(session, "closed without a byte");
    session->ends_with_fin = true;
    return SESSION_CLOSED;
}

/* A service would take such a client for a local user. */
static bool claims_to_be_local(const struct session *session)
{
    const struct listener *listener = session->listener;

    return !session->was_local && !listener->config->allow_local_clients &&
           (addr_is_local_claim(&session->client) ||
            locals_contain(listener->worker->locals, &session->client));
}

/*
 * No connection can come from such an address: the target is not to blame. A load balancer's
 * own may well be link-local, with the interface that a header can't name.
 */
static const char *why_impossible(const struct session *session)
{
    const struct in6_addr *address = &session->client.in6.sin6_addr;

    if (session->was_local || addr_family(&session->client) != AF_INET6)
        return NULL;
    if (IN6_IS_ADDR_LINKLOCAL(address))
        return "the header names a link-local client, but no interface";
    return IN6_IS_ADDR_MULTICAST(address) ? "the header names a multicast address as the client"
                                          : NULL;
}

/* max_sessions_per_client is for clients that a header names. */
static enum session_state count_client(struct session *session)
{
    const struct worker_spec *spec = session->listener->worker->spec;
    unsigned max = session->listener->config->max_sessions_per_client;
    char reason[80];

    if (max == 0 || session->was_local)
        return SESSION_CONNECT;
    int err = clients_begin(counters_clients(spec->counters), spec->slot, session->listener->place,
                            &session->client, max);
    session->is_client_counted = err == 0;
    if (err == 0)
        return SESSION_CONNECT;
    if (err != -EDQUOT)
        return refused(session, "there are too many clients to count their sessions");
    snprintf(reason, sizeof reason, "%u sessions are this client's limit (max_sessions_per_client)",
             max);
    return refused(session, reason);
}

/* The header is complete: is its client one that may go on to a target? */
static enum session_state judge_client(struct session *session, const struct proxyproto *header)
{
    session->was_local = header->is_local;
    session->client = header->is_local ? session->peer : header->client;
    if (header->is_health_check) {
        session->is_health_check = true;
        counters_add(&session->listener->worker->counters->health_checks, 1);
    }
    if (claims_to_be_local(session))
        return refused(session, "the header names a local address as the client");
    const char *reason = why_impossible(session);
    if (reason)
        return refused(session, reason);
    if (!listener_config_target(session->listener->config, addr_family(&session->client)))
        return refused(session, addr_family(&session->client) == AF_INET
                                    ? "no target for IPv4 clients (target_v4)"
                                    : "no target for IPv6 clients (target_v6)");
    return count_client(session);
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

    switch (proxyproto_parse(bytes, len, &header)) {
    case PROXYPROTO_BAD:
        return bad_header(session, header.reason, proxyproto_diagnose(bytes, len));
    case PROXYPROTO_OK:
        if (keep_payload(session, bytes + header.length, len - header.length) < 0)
            return refused(session, strerror(ENOMEM));
        if (header.length == len)
            ask_for_more(session);
        return judge_client(session, &header);
    case PROXYPROTO_MORE:
        break;
    }
    if (session->header)
        return SESSION_HEADER;
    ask_for_more(session);
    return keep(session, bytes, len) < 0 ? refused(session, strerror(ENOMEM)) : SESSION_HEADER;
}

static enum session_state read_failed(struct session *session, int error)
{
    if (error != ECONNRESET)
        return refused(session, strerror(error));
    if (session->header_len == 0)
        return ended_early(session); /* reset before the first byte, as some checks do */
    return bad_header(session, "connection was reset within the header", NULL);
}

/* One recv: into the shared buffer at first, behind what is there already later. */
static enum session_state read_some(struct session *session, bool *is_all)
{
    size_t size;
    uint8_t *bytes = pump_pool_buffer(session->listener->worker->pool, &size);
    size_t had = session->header_len;

    if (session->header) {
        if (had == session->header_size && grow(session) < 0)
            return refused(session, strerror(ENOMEM));
        bytes = session->header;
        size = session->header_size;
    }
    ssize_t n = recv(session->peer_fd, bytes + had, size - had, MSG_DONTWAIT);
    *is_all = n < (ssize_t)(size - had);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return SESSION_HEADER;
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
    char reason[64];

    snprintf(reason, sizeof reason, "not complete within %g s",
             session->listener->config->header_timeout_ms / 1000.0);
    return bad_header(session, reason, proxyproto_diagnose(session->header, session->header_len));
}

enum session_state header_run(struct session *session, unsigned ready)
{
    if (ready & READY_STOP)
        return SESSION_CLOSED;
    if (ready & READY_REFUSED)
        return refused(session, strerror(ENOMEM));
    if (ready & READY_DEADLINE)
        return timed_out(session);
    if (ready & READY_OLDEST)
        return refused(session, "the oldest of max_pending sessions without a whole header");

    enum session_state next;
    bool is_all;
    do
        next = read_some(session, &is_all);
    while (next == SESSION_HEADER && !is_all);
    return next;
}
