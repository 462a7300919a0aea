/* SPDX-License-Identifier: BSD-2-Clause */
/* listener: accepts connections for one listener of the configuration, in one worker. */
#ifndef MMPROXY_WORKER_LISTENER_H
#define MMPROXY_WORKER_LISTENER_H

#include "mmproxy/worker/admission.h"
#include "mmproxy/worker/notes.h"
#include "mmproxy/worker/report.h"
#include "mmproxy/worker/worker.h"

struct receiver;

struct listener_socket {
    struct loop_io io;
    const struct addr *local; /* the worker's spec's */
    struct listener *listener;
};

struct listener {
    struct worker *worker;
    const struct listener_config *config;
    struct admission admission;
    struct counters_listener *counters; /* this worker's own */
    char label[LISTENER_NAME_MAX + 3];  /* "ssh: ", or "" where it has no name */
    struct listener_socket *sockets;
    size_t n_sockets;
    bool is_open;
    struct timer pause;  /* active: nothing is accepted, for lack of resources or to let others */
    uint64_t yielded_ms; /* when the other workers were last let accept first */
    uint64_t pause_told_ms;
    struct deadline_queue header_deadlines;
    struct deadline_queue connect_deadlines;
    struct deadline_queue idle_deadlines;
    struct timer pending_check; /* active while sessions are pending: must one of them end? */
    struct report_limits limits;
    struct receiver *receiver; /* UDP: takes the datagrams, instead of all from sockets on; owned */
};

/* With its sockets of the worker's spec. Accepts nothing yet. returns: 0 or -ENOMEM. */
int listener_open(struct listener *listener, struct worker *worker, unsigned index);

void listener_serve(struct listener *listener);

/* May this good header come in, by its TLVs? returns: REASON_NONE, or why not. */
enum reason listener_judge_header(const struct listener *listener, const uint8_t *header,
                                  const struct proxyproto *parsed);

/*
 * Keeps facts of the header's TLVs for the log lines of the session.
 * returns: for free; NULL where they say nothing.
 */
struct notes *listener_take_notes(const struct listener *listener, const uint8_t *header,
                                  const struct proxyproto *parsed);

/* Stops accepting, for good; sessions live on. The worker closes the sockets. */
void listener_stop(struct listener *listener);

/* Ends the sessions of a UDP listener; those of TCP are the worker's to end. */
void listener_end_datagrams(struct listener *listener);

/* The worker has no session left. Harmless if it was never opened. */
void listener_close(struct listener *listener);

#endif
