/* SPDX-License-Identifier: BSD-2-Clause */
/* state: everything the supervisor holds, for the few files that share it. */
#ifndef MMPROXY_SUPERVISOR_STATE_H
#define MMPROXY_SUPERVISOR_STATE_H

#include <ev.h>
#include <stdbool.h>
#include <time.h>

#include "mmproxy/config/cmdline.h"
#include "mmproxy/supervisor/generation.h"
#include "mmproxy/supervisor/reader.h"
#include "mmproxy/supervisor/signals.h"
#include "mmproxy/supervisor/sockets.h"

struct managed;
struct preflight_results;

TAILQ_HEAD(generation_list, generation);

/* See upgrade.h; one process may be both, one after the other. */
struct upgrade {
    char *const *argv;
    int tell_fd;  /* new process: where READY is told; -1 = it was not started by an old one */
    int ready_fd; /* old process: where READY is heard; -1 = no upgrade is under way */
    pid_t pid;    /* old process: the new one, which is no child of its */
    int end_fd;   /* old process: pidfd of the new one; -1 = the kernel has none */
    struct reader ready;
    struct reader end;
    ev_timer timeout;
};

/* What the service manager is told; see status.h. */
struct status {
    char mistake[256]; /* the first of the load under way, or of the last one */
    bool has_failed;   /* the last load */
    time_t loaded_at;  /* when the last load ended */
    bool is_reload;    /* ... which was not the first */
    char told[640];    /* what the manager knows */
    ev_timer refresh;
};

struct supervisor {
    const struct cmdline *cmdline;
    struct ev_loop *loop;
    struct signals signals;
    struct counters *counters;
    struct sockets sockets;
    struct generation *current;      /* NULL before the first one serves, and when stopping */
    struct generation *pending;      /* a load that is neither committed nor rolled back */
    struct generation_list draining; /* and those that have been killed */
    bool load_wanted;                /* SIGHUP came during a load or an upgrade */
    bool upgrade_wanted;             /* SIGUSR2 came during a load */
    struct managed *return_path;     /* NULL where there is none: nothing can be managed then */
    struct reader return_path_reader;
    pid_t preflight;                    /* 0 = none runs */
    struct preflight_results *checking; /* what that process fills in */
    struct preflight_results *checked;  /* of the last that came to its end; NULL = none has */
    struct upgrade upgrade;
    struct status status;
    bool is_stopping;
    bool has_handed_over; /* to a new binary: sockets and return path are its business now */
    int exit_status;
    ev_timer watchdog;
    ev_timer drain_news; /* tells of generations that still drain */
    ev_timer stop_timer;
    unsigned drain_timeout_ms; /* of the configuration that served last */
    unsigned stop_urgency;     /* see stop.c */
};

/* In a forked child: closes what only the supervisor may hold. context: the supervisor. */
void supervisor_leave(void *context);

/* Ends supervisor_run, which returns exit_status. */
void supervisor_end(struct supervisor *supervisor);

#endif
