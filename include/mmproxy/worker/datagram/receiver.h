/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * receiver: takes datagrams from load balancers for one UDP listener in one worker, and finds or
 * starts the session that each belongs to. Refused datagrams are dropped and counted under one
 * reason; nothing is ever answered.
 */
#ifndef MMPROXY_WORKER_DATAGRAM_RECEIVER_H
#define MMPROXY_WORKER_DATAGRAM_RECEIVER_H

#include "mmproxy/worker/datagram/udp_session.h"
#include "mmproxy/worker/listener.h"

struct receiver_socket {
    struct loop_io io;
    const struct addr *listen; /* the worker's spec's */
    bool takes_to_many;        /* one socket of the group takes what was sent to all */
    struct receiver *receiver;
};

struct receiver {
    struct listener *listener;
    struct receiver_socket *sockets; /* owned */
    size_t n_sockets;
    struct deadline_queue idle; /* all sessions; the one silent longest is the first */
    struct udp_table *table;    /* the worker's */
    uint64_t peers_key;         /* for udp_header = "first": what stands for it in the peers */
    uint64_t waiting_since_ms;  /* for workers of earlier generations to stop reading */
    struct timer turn;          /* active: it waits, or epoll has refused a socket */
    struct timer limit_check;   /* active while there are sessions and a limit on them */
    struct datagrams *room;     /* the worker's */
};

/*
 * first, n: the listener's sockets, of which it takes those for this worker.
 * returns: 0 or -ENOMEM. Receives nothing yet; receiver_close takes a half-opened one.
 */
int receiver_open(struct receiver *receiver, struct listener *listener,
                  const struct worker_socket *first, size_t n);

/* Receives, as soon as workers of earlier generations do not. */
void receiver_serve(struct receiver *receiver);

/* Takes no more datagrams, but still replies. Later workers count the clients' sessions. */
void receiver_stop(struct receiver *receiver);

/* max_sessions may be exceeded: ends the session silent longest, where it is this worker's. */
void receiver_keep_limit(struct receiver *receiver);

/* The limit is to be looked at while there are sessions. */
void receiver_watch_limit(struct receiver *receiver);

/* Sessions have been used: others see which of this worker's is silent longest. */
void receiver_show_silent(struct receiver *receiver);

/* When the session silent longest was used last; 0: there is none. */
uint64_t receiver_silent_since_us(const struct receiver *receiver);

/* Ends that session. returns: false where there is none. */
bool receiver_end_silent(struct receiver *receiver);

/* Ends every session. end: for the log, static. */
void receiver_end_sessions(struct receiver *receiver, const char *end);

/* The receiver has no session left. */
void receiver_close(struct receiver *receiver);

#endif
