/* SPDX-License-Identifier: BSD-2-Clause */
/* state: everything the supervisor holds, for the few files that share it. */
#ifndef MMPROXY_SUPERVISOR_STATE_H
#define MMPROXY_SUPERVISOR_STATE_H

#include <ev.h>
#include <stdbool.h>

#include "mmproxy/config/cmdline.h"
#include "mmproxy/supervisor/generation.h"
#include "mmproxy/supervisor/sockets.h"

TAILQ_HEAD(generation_list, generation);

struct supervisor {
    const struct cmdline *cmdline;
    struct ev_loop *loop; /* libev's default one, the only that hears of children */
    struct counters *counters;
    struct sockets sockets;
    struct generation *current;      /* NULL before the first one serves, and when stopping */
    struct generation *pending;      /* a load that is neither committed nor rolled back */
    struct generation_list draining; /* and those that have been killed */
    bool load_wanted;                /* SIGHUP came during a load */
    bool is_stopping;
    int exit_status;
    ev_signal on_hup;
    ev_signal on_term;
    ev_signal on_int;
    ev_child on_child;
    ev_timer watchdog;
    ev_timer drain_news; /* tells of generations that still drain */
    ev_timer stop_timer;
    unsigned stop_urgency; /* see stop.c */
};

/* In a forked child: closes what only the supervisor may hold. context: the supervisor. */
void supervisor_leave(void *context);

/* Ends supervisor_run, which returns exit_status. */
void supervisor_end(struct supervisor *supervisor);

#endif
