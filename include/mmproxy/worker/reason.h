/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reason: why a connection was not served. This is the one list of reasons: a refusal has exactly
 * one of them, in its log line and as the label of the counter that counts it.
 */
#ifndef MMPROXY_WORKER_REASON_H
#define MMPROXY_WORKER_REASON_H

enum reason {
    REASON_NONE,                    /* it is served */
    REASON_NOT_ALLOWED,             /* the peer is in no subnet         */
    REASON_MAX_SESSIONS,            /* max_sessions is reached */
    REASON_MAX_PENDING,             /* the oldest without a whole header, when there are too many */
    REASON_MAX_SESSIONS_PER_CLIENT, /* this client's limit is reached */
    REASON_TOO_MANY_CLIENTS,        /* more clients at once than can be counted */
    REASON_LOCAL_CLIENT,            /* the header names an address of this host */
    REASON_IMPOSSIBLE_CLIENT,       /* no connection can come from the address in the header */
    REASON_NEIGHBOUR_CLIENT,        /* in the target's own network, whose replies don't come here */
    REASON_NO_TARGET,               /* there is no target for clients of that family */
    REASON_WRONG_ENDPOINT,          /* the header has none of the listener's endpoints */
    REASON_WRONG_PORT,              /* the header's port is not in header_ports */
    REASON_NO_CLIENT,      /* the header names no client where endpoints or a port are asked for */
    REASON_BAD_HEADER,     /* a broken header, or none at all */
    REASON_TIMEOUT,        /* no whole header within header_timeout */
    REASON_PEER_LOST,      /* the connection from the peer failed before it was served */
    REASON_NO_RESOURCES,   /* no memory left, or the kernel could not watch the socket */
    REASON_TARGET_REFUSED, /* nothing listens at the target */
    REASON_TARGET_TIMEOUT, /* no answer from the target within connect_timeout */
    REASON_TARGET_UNREACHABLE, /* no route to the target */
    REASON_TARGET_FAILED,      /* another error on the way to the target */
    REASONS
};

/* Which log line tells of it. Each kind has a limit of its own on lines. */
enum reason_kind {
    REASON_KIND_NOT_ALLOWED,
    REASON_KIND_REFUSED,
    REASON_KIND_BAD_HEADER,
    REASON_KIND_CONNECT_FAILED,
    REASON_KINDS
};

/* The word for it: [a-z_], unique, never changed. Not for REASON_NONE. */
const char *reason_word(enum reason reason);

enum reason_kind reason_kind(enum reason reason);

/* The reason for a connection to the target that failed with this errno. */
enum reason reason_of_connect_error(int error);

#endif
