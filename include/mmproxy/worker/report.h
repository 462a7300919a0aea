/* SPDX-License-Identifier: BSD-2-Clause */
/* report: the log lines about connections, and the bounds on those that strangers cause. */
#ifndef MMPROXY_WORKER_REPORT_H
#define MMPROXY_WORKER_REPORT_H

#include "mmproxy/base/addr.h"
#include "mmproxy/base/log.h"

struct listener;
struct session;

/* Kinds of lines that whoever connects can cause; each is limited on its own. */
enum report_cause {
    REPORT_NOT_ALLOWED, /* the peer is in no allowed subnet */
    REPORT_BAD_HEADER,  /* no header, a broken one, or none in time */
    REPORT_REFUSED,     /* limits, a client that may not be */
    REPORT_FAILED,      /* the target was not reached */
    REPORT_CAUSES
};

struct report_limits {
    struct log_limit causes[REPORT_CAUSES];
};

void report_not_allowed(struct listener *listener, const struct addr *peer);

/* "[?] ssh: PEER refused: REASON". client: whom the header named, or NULL. */
void report_refused(struct listener *listener, const struct addr *peer, const struct addr *client,
                    const char *reason);

/* reason: what is wrong; diagnosis: what it looks like instead, or NULL. */
void report_bad_header(const struct session *session, const char *reason, const char *diagnosis);

/* Level debug: a connection that came and went without a header, as health checks do. */
void report_health_check(const struct session *session, const char *what);

/* error: errno of the connection that failed. */
void report_connect_failed(const struct session *session, const struct addr *target, int error);

void report_connected(const struct session *session, const struct addr *target);
void report_disconnected(const struct session *session, const struct addr *target);

/* One line for each kind of which lines were held back since the last call. */
void report_held_back(struct listener *listener);

#endif
