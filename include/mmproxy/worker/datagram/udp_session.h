/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * udp_session: one client address and port at one UDP listener, and the socket from which its
 * datagrams reach the target. It starts with the client's first datagram and ends after
 * idle_timeout without one in either direction.
 *
 * No datagram may ever leave in the name of another client:
 *
 * - A session's socket is bound to its client's address when the session starts. Neither changes. A
 *   session that a new header ends leaves its socket to the next one of the same client alone.
 * - A session is found by the client that the datagram's own header names and the target's port
 *   (every, spp), or by the peer's address and port (first). No datagram is sent by a session that
 *   was not found so.
 * - A session that has ended is in no table: the next datagram is judged as a first one. Without a
 *   header it is dropped, unless peers (peers.h) know for whom its peer speaks.
 */
#ifndef MMPROXY_WORKER_DATAGRAM_UDP_SESSION_H
#define MMPROXY_WORKER_DATAGRAM_UDP_SESSION_H

#include <stdint.h>

#include "mmproxy/net/datagram.h"
#include "mmproxy/proxyproto/proxyproto.h"
#include "mmproxy/worker/admission.h"
#include "mmproxy/worker/datagram/udp_table.h"
#include "mmproxy/worker/deadline.h"
#include "mmproxy/worker/worker.h"

struct peers_entry;
struct receiver;
struct receiver_socket;

/* There are many, and most of them are silent: no more fields than are needed. */
struct udp_session {
    struct udp_table_entry place;   /* its receiver, and what it is found by */
    struct receiver_socket *socket; /* that the latest datagram came in by, and replies leave by */
    struct loop_io io;              /* towards the target */
    struct roster_entry entry;
    struct deadline idle;     /* in the receiver's queue: the head is silent longest */
    struct admitted admitted; /* since when, too */
    struct addr client;
    struct addr peer;  /* where the latest datagram came from, and replies go to */
    struct addr local; /* the address that it was sent to, and replies leave from */
    bool is_connected; /* the socket is; else replies are compared with the target */
    bool owns_target;
    bool is_named;             /* a header names its client; else it is the peer */
    const struct addr *target; /* the configuration's, or the session's own */
    struct notes *notes;       /* owned; NULL: none */
    union {                    /* by the receiver's udp_header */
        struct {
            uint64_t named_us;         /* when the header came that names the client */
            struct peers_entry *noted; /* where other workers can read that */
        } first;
        struct {
            struct addr *proxy; /* owned: what the header says besides the client */
        } spp;
    };
    uint64_t bytes_in; /* payload to the target */
    uint64_t bytes_out;
};

/* The origin of a datagram. */
struct udp_origin {
    struct addr client;
    struct addr proxy;        /* spp; else not set */
    bool is_named;            /* the header names the client; else the client is the peer */
    uint16_t port;            /* that the client sent to, by the header; else 0 */
    const struct addr *local; /* of the listener: where the datagram came in */
    const uint8_t *header;    /* a v2 header's bytes; NULL: there is none */
    size_t tlvs_at;           /* as in struct proxyproto */
    size_t header_len;
    bool is_direct;    /* there was no header: the peer's address says that it sends none */
    uint64_t named_us; /* first: when the header came, perhaps to another worker */
};

/* Why the system did not let a session start. */
struct udp_failure {
    int error;
    struct addr target; /* that it was meant for; not set: it did not come so far */
};

/* The header's facts for the functions of proxyproto, where there is a header. */
struct proxyproto udp_origin_header(const struct udp_origin *origin);

/* The facts that target_choose needs. */
struct target_facts udp_origin_facts(const struct udp_origin *origin);

/*
 * The receiver's session that is found by key and port, or NULL: the client's address and port, or
 * the peer's (first); and the target's port, or 0 (first).
 */
struct udp_session *udp_session_find(const struct receiver *receiver, const struct addr *key,
                                     uint16_t port);

/*
 * Starts a session for a datagram that belongs to none; the one silent longest ends where there is
 * no room. returns: REASON_NONE with *out, or why there is none; *failure says more where the
 * system refused it.
 */
enum reason udp_session_start(struct receiver *receiver, const struct udp_origin *origin,
                              const struct addr *peer, struct udp_session **out,
                              struct udp_failure *failure);

/*
 * Ends it for a header from its peer, and starts the session that this header is the first of.
 * Where that is one between the same client and port of the target, it has the same socket: no
 * answer on its way is lost. Else as udp_session_start.
 */
enum reason udp_session_restart(struct udp_session *session, const struct udp_origin *origin,
                                struct udp_session **out, struct udp_failure *failure);

/* n received datagrams of this session, from the first on, go to the target. */
void udp_session_forward(struct udp_session *session, unsigned first, unsigned n);

/* Something came or went: its idle_timeout begins anew. */
void udp_session_set_idle(struct udp_session *session);

/* Whose entry it is. */
struct udp_session *udp_session_of(struct udp_table_entry *place);

/* Ends it: end is for the log, static. */
void udp_session_end(struct udp_session *session, const char *end);

/* For a receiver's queue of idle sessions. */
void udp_session_on_idle(struct deadline *deadline);

#endif
