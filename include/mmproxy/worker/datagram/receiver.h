/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * receiver: takes datagrams from load balancers for one UDP listener in one worker, and finds or
 * starts the session that each belongs to. What is refused is dropped and counted under one reason;
 * nothing is ever answered.
 */
#ifndef MMPROXY_WORKER_DATAGRAM_RECEIVER_H
#define MMPROXY_WORKER_DATAGRAM_RECEIVER_H

#include <ev.h>

#include "mmproxy/worker/datagram/udp_session.h"
#include "mmproxy/worker/listener.h"

struct receiver_socket {
    ev_io io;
    int fd;
    struct receiver *receiver;
};

struct receiver {
    struct listener *listener;
    struct receiver_socket *sockets; /* owned */
    size_t n_sockets;
    struct deadline_queue idle; /* all sessions; the one silent longest is the first */
    struct udp_table *table;    /* the worker's */
    struct datagrams *room;     /* the worker's */
};

/* returns: 0 or -ENOMEM. Receives nothing yet. Takes any half-opened receiver in _close. */
int receiver_open(struct receiver *receiver, struct listener *listener, unsigned index);
void receiver_serve(struct receiver *receiver);

/* Takes no more datagrams; replies go on. */
void receiver_stop(struct receiver *receiver);

/* Ends every session. end: for the log, static. */
void receiver_end_sessions(struct receiver *receiver, const char *end);

/* The receiver has no session left. */
void receiver_close(struct receiver *receiver);

#endif
