/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/report.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/base/shell.h"
#include "mmproxy/worker/listener.h"

enum {
    HELD_BACK_TOLD_AFTER_US = 10 * 1000000,
    SOCKET_PATH_MAX = 107, /* of a Unix socket */
    WHY_MAX = SHELL_QUOTED_MAX(SOCKET_PATH_MAX) + 128,
};

static const char *const events[REASON_KINDS] = {
    [REASON_KIND_NOT_ALLOWED] = "not_allowed",
    [REASON_KIND_REFUSED] = "refused",
    [REASON_KIND_BAD_HEADER] = "bad_header",
    [REASON_KIND_CONNECT_FAILED] = "connect_failed",
};

/* The same endpoint whole, as lines have it, and in parts for a search by address. */
struct endpoint {
    char whole[ADDR_STRLEN];
    char address[ADDR_STRLEN];
};

/* The facts that every line about a connection has. */
struct facts {
    struct log_field fields[17 + NOTES_FIELDS_MAX];
    size_t n;
    struct endpoint peer;
    struct endpoint client;
    char mapped[ADDR_STRLEN + sizeof " as "]; /* " as ADDR", or "" */
    struct endpoint target;
};

static void add(struct facts *facts, struct log_field field)
{
    facts->fields[facts->n++] = field;
}

static void begin_facts(struct facts *facts, const char *event, const struct listener *listener)
{
    facts->n = 0;
    facts->client.whole[0] = '\0';
    facts->mapped[0] = '\0';
    add(facts, LOG_TEXT("event", event));
    if (listener->config->name[0])
        add(facts, LOG_TEXT("listener", listener->config->name));
}

static void add_peer(struct facts *facts, const struct addr *peer)
{
    add(facts, LOG_TEXT("peer", addr_format(peer, facts->peer.whole)));
    add(facts, LOG_TEXT("peer_address", addr_format_host(peer, facts->peer.address)));
    add(facts, LOG_NUMBER("peer_port", addr_port(peer)));
}

static void add_client(struct facts *facts, const struct addr *client)
{
    add(facts, LOG_TEXT("client", addr_format(client, facts->client.whole)));
    add(facts, LOG_TEXT("client_address", addr_format_host(client, facts->client.address)));
    add(facts, LOG_NUMBER("client_port", addr_port(client)));
}

/* The address that the service sees, where it is not the client's. */
static void add_mapped(struct facts *facts, const struct listener_config *config,
                       const struct addr *client)
{
    char text[ADDR_STRLEN];

    if (!listener_config_maps(config, addr_family(client)))
        return;
    const struct addr source = target_source(config, client);
    (void)snprintf(facts->mapped, sizeof facts->mapped, " as %s", addr_format_host(&source, text));
    add(facts, LOG_TEXT("mapped_address", facts->mapped + sizeof " as " - 1));
}

static void add_target(struct facts *facts, const struct addr *target)
{
    add(facts, LOG_TEXT("target", addr_format(target, facts->target.whole)));
    add(facts, LOG_TEXT("target_address", addr_format_host(target, facts->target.address)));
    add(facts, LOG_NUMBER("target_port", addr_port(target)));
}

/* May this line be written? Those that may not are counted, and told later. */
static bool pass(struct listener *listener, enum reason_kind kind, enum log_level level)
{
    struct worker *worker = listener->worker;

    if (!log_enabled(level))
        return false;
    if (log_limit_pass(&listener->limits.kinds[kind], clock_now_ms()))
        return true;
    if (!worker->held_back_timer.is_active)
        loop_start_timer(worker->loop, &worker->held_back_timer, HELD_BACK_TOLD_AFTER_US);
    return false;
}

static void add_refusal(struct facts *facts, const struct report_refusal *refusal)
{
    add_peer(facts, refusal->peer);
    if (refusal->client && addr_is_set(refusal->client))
        add_client(facts, refusal->client);
    if (refusal->target)
        add_target(facts, refusal->target);
    add(facts, LOG_TEXT("reason", reason_word(refusal->reason)));
    if (refusal->detail)
        add(facts, LOG_TEXT("detail", refusal->detail));
}

/* The supervisor then checks whether the target can be reached; for UDP it can't know. */
static void doubt_target(const struct listener *listener)
{
    const struct worker_spec *spec = listener->worker->spec;
    uint64_t now_us = clock_now_us();

    if (listener->config->protocol != PROTOCOL_TCP)
        return;
    atomic_store(&listener->counters->doubted_us, now_us);
    atomic_store(&counters_worker(spec->counters, spec->worker_id)->doubted_us, now_us);
}

/* Its very address is tried then: a rule may be in the way of some clients alone. */
static void doubt_for(const struct listener *listener, const struct addr *client)
{
    const struct worker_spec *spec = listener->worker->spec;
    const struct counters_worker *own = counters_worker(spec->counters, spec->worker_id);
    struct addr source;

    if (listener->config->protocol != PROTOCOL_TCP || !client || !addr_is_set(client))
        return;
    source = target_source(listener->config, client);
    counters_doubt(spec->counters, spec->worker_id, (unsigned)(listener->counters - own->listeners),
                   &source);
}

/* ", or mmproxyctl check" where there is a control socket, else "". */
static void name_control(const struct config *config, char out[WHY_MAX])
{
    const char *path = config->control;
    char quoted[SHELL_QUOTED_MAX(SOCKET_PATH_MAX)];

    out[0] = '\0';
    if (!config->path || !path || path[0] == '\0')
        return;
    if (strcmp(path, CONFIG_DEFAULT_CONTROL) == 0)
        snprintf(out, WHY_MAX, ", or mmproxyctl check");
    else if (strlen(path) <= SOCKET_PATH_MAX)
        snprintf(out, WHY_MAX, ", or mmproxyctl -s %s check",
                 shell_quote(path, quoted, sizeof quoted));
}

/* Why the target is silent can be found out; why it refuses is plain, or this client's affair. */
static const char *what_says_why(const struct listener *listener, enum reason reason,
                                 char out[WHY_MAX])
{
    char control[WHY_MAX];

    out[0] = '\0';
    if (reason != REASON_TARGET_TIMEOUT && reason != REASON_TARGET_UNREACHABLE)
        return out;
    name_control(listener->worker->spec->config, control);
    snprintf(out, WHY_MAX, "; to see why: mmproxy --check%.*s", WHY_MAX - 64, control);
    return out;
}

void report_refusal(struct listener *listener, const struct report_refusal *refusal)
{
    enum reason_kind kind = reason_kind(refusal->reason);
    enum log_level level = refusal->is_health_check ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING;
    struct facts facts;
    char why[WHY_MAX];

    counters_add(listener->counters, COUNT_REFUSED + (unsigned)refusal->reason, 1);
    if (kind == REASON_KIND_CONNECT_FAILED) {
        doubt_target(listener);
        doubt_for(listener, refusal->client);
    }
    if (!pass(listener, kind, level))
        return;
    begin_facts(&facts, events[kind], listener);
    add_refusal(&facts, refusal);
    switch (kind) {
    case REASON_KIND_NOT_ALLOWED:
        log_event(level, facts.fields, facts.n, "[?] %s%s is not allowed to connect",
                  listener->label, facts.peer.whole);
        break;
    case REASON_KIND_BAD_HEADER:
        log_event(level, facts.fields, facts.n, "[?] %s%s broke with bad proxy-protocol header: %s",
                  listener->label, facts.peer.whole, refusal->detail);
        break;
    case REASON_KIND_CONNECT_FAILED:
        log_event(level, facts.fields, facts.n, "[-] %s%s to %s failed: %s%s%s%s", listener->label,
                  facts.peer.whole, facts.target.whole, refusal->detail,
                  facts.client.whole[0] ? ", proxy protocol source " : "", facts.client.whole,
                  what_says_why(listener, refusal->reason, why));
        break;
    default:
        log_event(level, facts.fields, facts.n, "[?] %s%s refused%s%s: %s", listener->label,
                  facts.peer.whole, facts.client.whole[0] ? ", proxy protocol source " : "",
                  facts.client.whole, refusal->detail);
        break;
    }
}

void report_health_check(const struct listener *listener, const struct addr *peer, const char *what)
{
    struct facts facts;

    if (listener->config->close_when_down)
        doubt_target(listener); /* a load balancer asks whether the service is up */
    if (!log_enabled(LOG_LEVEL_DEBUG))
        return;
    begin_facts(&facts, "health_check", listener);
    add_peer(&facts, peer);
    log_event(LOG_LEVEL_DEBUG, facts.fields, facts.n, "[ ] %s%s %s", listener->label,
              facts.peer.whole, what);
}

/* A health check comes every second or so: its lines would fill the log. */
static enum log_level session_level(const struct report_session *session)
{
    return session->is_health_check ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

static enum log_connections wanted_lines(const struct listener *listener)
{
    return listener->worker->spec->config->log_connections;
}

bool report_has_notes(const struct listener *listener, bool is_health_check)
{
    return log_has_fields() && wanted_lines(listener) != LOG_CONNECTIONS_NONE &&
           log_enabled(is_health_check ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
}

/* The last fields of a line: what does not fit is left out from behind. */
static void add_notes(struct facts *facts, const struct report_session *session)
{
    if (session->notes)
        facts->n += notes_fields(session->notes, facts->fields + facts->n);
}

static void begin_session(struct facts *facts, const char *event, const struct listener *listener,
                          const struct report_session *session)
{
    begin_facts(facts, event, listener);
    add_peer(facts, session->peer);
    add_client(facts, session->client);
    add_mapped(facts, listener->config, session->client);
    add_target(facts, session->target);
}

/* A direct peer is the client: its line has one address, and no word of a protocol. */
static const char *source_words(const struct report_session *session)
{
    return session->is_direct ? "" : ", proxy protocol source ";
}

static const char *source_text(const struct report_session *session, const struct facts *facts)
{
    return session->is_direct ? "" : facts->client.whole;
}

void report_connected(const struct listener *listener, const struct report_session *session)
{
    enum log_level level = session_level(session);
    struct facts facts;

    if (wanted_lines(listener) != LOG_CONNECTIONS_BOTH || !log_enabled(level))
        return;
    begin_session(&facts, "connected", listener, session);
    add_notes(&facts, session);
    log_event(level, facts.fields, facts.n, "[+] %s%s connected%s%s%s, local destination %s",
              listener->label, facts.peer.whole, source_words(session),
              source_text(session, &facts), facts.mapped, facts.target.whole);
}

void report_disconnected(const struct listener *listener, const struct report_session *session)
{
    uint64_t duration_ms = (clock_now_us() - session->since_us) / 1000;
    enum log_level level = session_level(session);
    struct facts facts;

    if (wanted_lines(listener) == LOG_CONNECTIONS_NONE || !log_enabled(level))
        return;
    begin_session(&facts, "disconnected", listener, session);
    add(&facts, LOG_NUMBER("duration_ms", (int64_t)duration_ms));
    add(&facts, LOG_NUMBER("bytes_in", (int64_t)session->bytes_in));
    add(&facts, LOG_NUMBER("bytes_out", (int64_t)session->bytes_out));
    add(&facts, LOG_TEXT("reason", session->end));
    add_notes(&facts, session);
    log_event(level, facts.fields, facts.n,
              "[-] %s%s disconnected%s%s%s, %" PRIu64 ".%03u s, %" PRIu64 " bytes in, %" PRIu64
              " bytes out, %s",
              listener->label, facts.peer.whole, source_words(session),
              source_text(session, &facts), facts.mapped, duration_ms / 1000,
              (unsigned)(duration_ms % 1000), session->bytes_in, session->bytes_out, session->end);
}

void report_held_back(struct listener *listener)
{
    static const char *const what[REASON_KINDS] = {
        [REASON_KIND_NOT_ALLOWED] = "peers were not allowed to connect",
        [REASON_KIND_BAD_HEADER] = "connections broke with bad proxy-protocol headers",
        [REASON_KIND_REFUSED] = "sessions were refused",
        [REASON_KIND_CONNECT_FAILED] = "connections to the target failed",
    };

    for (int kind = 0; kind < REASON_KINDS; kind++) {
        uint32_t n = log_limit_take_held_back(&listener->limits.kinds[kind]);
        if (n == 0)
            continue;
        struct facts facts;
        begin_facts(&facts, "held_back", listener);
        add(&facts, LOG_TEXT("detail", what[kind]));
        add(&facts, LOG_NUMBER("held_back", n));
        log_event(LOG_LEVEL_WARNING, facts.fields, facts.n, "[?] %s%" PRIu32 " more %s",
                  listener->label, n, what[kind]);
    }
}
