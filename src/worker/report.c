/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/report.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/worker/session.h"

enum { HELD_BACK_TOLD_AFTER_S = 10 };

/* The facts that every line about a connection has. */
struct facts {
    struct log_field fields[10];
    size_t n;
    char peer[ADDR_STRLEN];
    char client[ADDR_STRLEN];
    char target[ADDR_STRLEN];
};

static void add(struct facts *facts, struct log_field field)
{
    facts->fields[facts->n++] = field;
}

static void begin(struct facts *facts, const char *event, const struct listener *listener)
{
    facts->n = 0;
    add(facts, LOG_TEXT("event", event));
    if (listener->config->name[0])
        add(facts, LOG_TEXT("listener", listener->config->name));
}

static void add_peer(struct facts *facts, const struct addr *peer)
{
    add(facts, LOG_TEXT("peer", addr_format(peer, facts->peer)));
}

static void add_client(struct facts *facts, const struct addr *client)
{
    add(facts, LOG_TEXT("client", addr_format(client, facts->client)));
}

static void add_target(struct facts *facts, const struct addr *target)
{
    add(facts, LOG_TEXT("target", addr_format(target, facts->target)));
}

/* May this line be written? If not, when it was held back is told later. */
static bool pass(struct listener *listener, enum report_cause cause, enum log_level level)
{
    struct worker *worker = listener->worker;

    if (!log_enabled(level))
        return false;
    if (log_limit_pass(&listener->limits.causes[cause], clock_now_ms()))
        return true;
    if (!ev_is_active(&worker->held_back_timer)) {
        ev_timer_set(&worker->held_back_timer, HELD_BACK_TOLD_AFTER_S, 0.);
        ev_timer_start(worker->loop, &worker->held_back_timer);
    }
    return false;
}

void report_not_allowed(struct listener *listener, const struct addr *peer)
{
    struct facts facts;

    if (!pass(listener, REPORT_NOT_ALLOWED, LOG_LEVEL_WARNING))
        return;
    begin(&facts, "not_allowed", listener);
    add_peer(&facts, peer);
    log_event(LOG_LEVEL_WARNING, facts.fields, facts.n, "[?] %s%s is not allowed to connect",
              listener->label, facts.peer);
}

void report_refused(struct listener *listener, const struct addr *peer, const struct addr *client,
                    const char *reason)
{
    struct facts facts;

    if (!pass(listener, REPORT_REFUSED, LOG_LEVEL_WARNING))
        return;
    begin(&facts, "refused", listener);
    add_peer(&facts, peer);
    if (client && addr_is_set(client))
        add_client(&facts, client);
    add(&facts, LOG_TEXT("reason", reason));
    if (client && addr_is_set(client))
        log_event(LOG_LEVEL_WARNING, facts.fields, facts.n,
                  "[?] %s%s refused, proxy protocol source %s: %s", listener->label, facts.peer,
                  facts.client, reason);
    else
        log_event(LOG_LEVEL_WARNING, facts.fields, facts.n, "[?] %s%s refused: %s", listener->label,
                  facts.peer, reason);
}

void report_bad_header(const struct session *session, const char *reason, const char *diagnosis)
{
    struct listener *listener = session->listener;
    struct facts facts;
    char why[256];

    if (!pass(listener, REPORT_BAD_HEADER, LOG_LEVEL_WARNING))
        return;
    snprintf(why, sizeof why, "%s%s%s", reason, diagnosis ? ": " : "", diagnosis ? diagnosis : "");
    begin(&facts, "bad_header", listener);
    add_peer(&facts, &session->peer);
    add(&facts, LOG_TEXT("reason", why));
    log_event(LOG_LEVEL_WARNING, facts.fields, facts.n,
              "[?] %s%s broke with bad proxy-protocol header: %s", listener->label, facts.peer,
              why);
}

void report_health_check(const struct session *session, const char *what)
{
    struct facts facts;

    if (!log_enabled(LOG_LEVEL_DEBUG))
        return;
    begin(&facts, "health_check", session->listener);
    add_peer(&facts, &session->peer);
    log_event(LOG_LEVEL_DEBUG, facts.fields, facts.n, "[ ] %s%s %s", session->listener->label,
              facts.peer, what);
}

void report_connect_failed(const struct session *session, const struct addr *target, int error)
{
    struct listener *listener = session->listener;
    struct facts facts;

    if (!pass(listener, REPORT_FAILED, LOG_LEVEL_WARNING))
        return;
    begin(&facts, "connect_failed", listener);
    add_peer(&facts, &session->peer);
    add_client(&facts, &session->client);
    add_target(&facts, target);
    add(&facts, LOG_TEXT("reason", strerror(error)));
    log_event(LOG_LEVEL_WARNING, facts.fields, facts.n, "[-] %s%s to %s failed: %s",
              listener->label, facts.peer, facts.target, strerror(error));
}

/* Whoever checks every second is not news. */
static enum log_level session_level(const struct session *session)
{
    return session->is_health_check ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

static bool is_told(const struct session *session)
{
    return session->listener->worker->spec->config->log_connections &&
           log_enabled(session_level(session));
}

void report_connected(const struct session *session, const struct addr *target)
{
    struct facts facts;

    if (!is_told(session))
        return;
    begin(&facts, "connected", session->listener);
    add_peer(&facts, &session->peer);
    add_client(&facts, &session->client);
    add_target(&facts, target);
    log_event(session_level(session), facts.fields, facts.n,
              "[+] %s%s connected, proxy protocol source %s, local destination %s",
              session->listener->label, facts.peer, facts.client, facts.target);
}

void report_disconnected(const struct session *session, const struct addr *target)
{
    uint64_t duration_ms = (clock_now_us() - session->since_us) / 1000;
    struct facts facts;

    if (!is_told(session))
        return;
    begin(&facts, "disconnected", session->listener);
    add_peer(&facts, &session->peer);
    add_client(&facts, &session->client);
    add_target(&facts, target);
    add(&facts, LOG_NUMBER("duration_ms", (int64_t)duration_ms));
    add(&facts, LOG_NUMBER("bytes_in", (int64_t)session->up.bytes));
    add(&facts, LOG_NUMBER("bytes_out", (int64_t)session->down.bytes));
    add(&facts, LOG_TEXT("reason", session->end));
    log_event(session_level(session), facts.fields, facts.n,
              "[-] %s%s disconnected, proxy protocol source %s, %" PRIu64 ".%03u s, %" PRIu64
              " bytes in, %" PRIu64 " bytes out, %s",
              session->listener->label, facts.peer, facts.client, duration_ms / 1000,
              (unsigned)(duration_ms % 1000), session->up.bytes, session->down.bytes, session->end);
}

void report_held_back(struct listener *listener)
{
    static const char *const what[REPORT_CAUSES] = {
        [REPORT_NOT_ALLOWED] = "peers were not allowed to connect",
        [REPORT_BAD_HEADER] = "connections broke with bad proxy-protocol headers",
        [REPORT_REFUSED] = "sessions were refused",
        [REPORT_FAILED] = "connections to the target failed",
    };

    for (int cause = 0; cause < REPORT_CAUSES; cause++) {
        uint32_t n = log_limit_take_held_back(&listener->limits.causes[cause]);
        if (n == 0)
            continue;
        struct facts facts;
        begin(&facts, "held_back", listener);
        add(&facts, LOG_TEXT("reason", what[cause]));
        add(&facts, LOG_NUMBER("held_back", n));
        log_event(LOG_LEVEL_WARNING, facts.fields, facts.n, "[?] %s%" PRIu32 " more %s",
                  listener->label, n, what[cause]);
    }
}
