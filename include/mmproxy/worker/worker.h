/* SPDX-License-Identifier: BSD-2-Clause */
/* worker: a process that serves sessions in one event loop until it has drained. */
#ifndef MMPROXY_WORKER_WORKER_H
#define MMPROXY_WORKER_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "mmproxy/config/config.h"
#include "mmproxy/jail/jail.h"
#include "mmproxy/net/locals.h"
#include "mmproxy/net/loop.h"
#include "mmproxy/net/pump.h"
#include "mmproxy/worker/counters.h"
#include "mmproxy/worker/deadline.h"

/* One byte each way on the channel between supervisor and worker. */
enum worker_message {
    WORKER_READY = 'R',        /* up: everything is open, the jail is closed */
    WORKER_ALIVE = 'A',        /* up: the answer to PING */
    WORKER_INSPECTED = 'i',    /* up: the answer to INSPECT is in the inspection */
    WORKER_SERVE = 'G',        /* down: accept connections from now on */
    WORKER_SERVE_BESIDE = 'B', /* down: the same; the ports are another mmproxy's too */
    WORKER_INSPECT = 'I',      /* down: a question is in the inspection */
    WORKER_PING = 'P',         /* down: is the loop still turning? */
    WORKER_DRAIN = 'D',        /* down: accept no more, exit when the last session has ended */
    WORKER_LEAVE_ALONE = 'L',  /* down: the same; the supervisor is about to exit */
    WORKER_STOP = 'S',         /* down: reset the sessions that are left, exit */
};

struct worker_socket {
    int fd;               /* listening; inherited, closed by the worker when it drains */
    unsigned listener;    /* index in the configuration */
    struct addr addr;     /* the listener's, that it was opened for */
    unsigned member;      /* UDP: its number among the sockets with its address; else 0 */
    bool is_kept_outside; /* a service manager has a copy, which still listens without us */
};

/* The inheritance of a worker. Everything in it outlives the call of worker_run. */
struct worker_spec {
    const struct config *config;
    struct worker_socket *sockets; /* in the order of their listeners */
    size_t n_sockets;
    const unsigned *listener_ids; /* of the configuration's listeners, in the counters */
    struct locals *outside;       /* of the namespace that peers are in; NULL: the worker's own */
    struct jail jail;             /* for prepare */
    struct counters *counters;
    struct peers *peers;           /* for UDP; see peers.h */
    unsigned region;               /* its own there */
    uint32_t epoch;                /* of its generation there */
    unsigned worker_id;            /* its own, in the counters */
    unsigned index;                /* its own, among those that have its sockets: 0, 1, ... */
    unsigned generation;           /* from 1 */
    int channel;                   /* its end; end of file there means that the supervisor died */
    struct inspection *inspection; /* shared with the supervisor */
    int leash; /* readable: reset all sessions and exit; never read. -1 = none */
};

/* A session in the worker's list. */
struct roster_entry {
    LIST_ENTRY(roster_entry) link;
    void *session;      /* a struct session, or a struct udp_session */
    uint64_t number;    /* from 1, in the order in which they began */
    uint64_t active_us; /* when something came or went last, by the loop's time; 0 = never yet */
    bool is_udp;
};

/* Addresses that are kept up to date. */
struct locals_watch {
    struct locals *locals;
    struct loop *loop;
    struct loop_io io;
    struct timer timer; /* active: they are to be read again then */
    bool has_failed;    /* they could not be read, and that has been told */
};

struct datagrams;
struct inspection;
struct listener;
struct peers;
struct session;
struct udp_table;

struct worker {
    const struct worker_spec *spec;
    struct loop *loop;
    struct pump_pool *pool;
    struct locals *locals;                   /* of the network namespace that the targets are in */
    struct deadline_queue lasting_deadlines; /* see session_lasts */
    struct deadline_queue reset_deadlines;   /* of sessions whose target is about to be reset */
    struct listener *listeners;              /* one per listener of the configuration */
    struct datagrams *datagrams;             /* room for UDP; NULL where no listener is UDP */
    struct udp_table *udp_table;             /* the same */
    LIST_HEAD(, roster_entry) roster;        /* all sessions, the latest first */
    struct roster_entry *inspected;          /* the next one that an inspection looks at */
    uint64_t last_number;                    /* of a session */
    unsigned n_sessions;                     /* all */
    unsigned n_udp_sessions;                 /* those of them over UDP */
    unsigned max_udp_sessions;               /* the rest of the descriptors is for others */
    bool is_paced;                           /* TCP, by default: see congestion.h */
    bool has_ports_alone;                    /* from SERVE to DRAIN or STOP */
    bool is_left_alone;                      /* the end of the supervisor is no news */
    bool draining;
    struct loop_io channel_io;
    struct loop_io leash_io;
    struct locals_watch locals_watch;
    struct locals_watch outside_watch; /* of spec->outside */
    struct timer held_back_timer;      /* tells how many log lines were held back */
};

/*
 * Serves until drained, stopped or orphaned; only to be called in a process forked for it,
 * with all signals blocked. prepare is called when every descriptor is open and before the
 * first byte from the network is read: the place to close the jail; it returns 0 or -errno.
 * returns: the process's exit status (sysexits.h); what went wrong has been logged.
 */
int worker_run(const struct worker_spec *spec, int (*prepare)(const struct worker_spec *spec));

#endif
