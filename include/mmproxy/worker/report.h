/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report: the log lines about connections, and the bounds on those that any peer can cause. What is
 * refused is counted here as well, so that counter and line have the same reason.
 */
#ifndef MMPROXY_WORKER_REPORT_H
#define MMPROXY_WORKER_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "mmproxy/base/addr.h"
#include "mmproxy/base/log.h"
#include "mmproxy/worker/reason.h"

struct listener;
struct notes;

struct report_limits {
    struct log_limit kinds[REASON_KINDS]; /* of lines that any peer can cause */
};

/* A connection that was not served. */
struct report_refusal {
    enum reason reason;
    const char *detail; /* the same as a sentence; NULL where reason says it all */
    const struct addr *peer;
    const struct addr *client; /* whom the header named; NULL or unset where that is unknown */
    const struct addr *target; /* for reasons of the kind connect_failed */
    bool is_health_check;      /* its line is of level debug */
};

/* Counts it under its reason and writes its line, within limits. */
void report_refusal(struct listener *listener, const struct report_refusal *refusal);

/* Level debug: a connection that came and went without a header, as health checks do. */
void report_health_check(const struct listener *listener, const struct addr *peer,
                         const char *what);

/* A session, over TCP or UDP. */
struct report_session {
    const struct addr *peer;
    const struct addr *client;
    const struct addr *target;
    bool is_health_check;      /* its lines are of level debug */
    const struct notes *notes; /* NULL: none */
    bool is_direct;            /* the peer is the client: no header named it */
    /* From here on for report_disconnected. */
    uint64_t since_us; /* monotonic: when report_connected was called */
    uint64_t bytes_in; /* to the target */
    uint64_t bytes_out;
    const char *end; /* how it ended */
};

/* Will the lines about such a session have fields for notes? */
bool report_has_notes(const struct listener *listener, bool is_health_check);

void report_connected(const struct listener *listener, const struct report_session *session);
void report_disconnected(const struct listener *listener, const struct report_session *session);

/* For each kind of refusal: one line that says how many lines were held back since the last call.
 */
void report_held_back(struct listener *listener);

#endif
