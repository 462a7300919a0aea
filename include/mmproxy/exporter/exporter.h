/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exporter: the process behind the key "metrics". It reads counters and board, which it can't
 * write, and answers HTTP. It has no descriptor of a session, and ends with the supervisor.
 */
#ifndef MMPROXY_EXPORTER_EXPORTER_H
#define MMPROXY_EXPORTER_EXPORTER_H

#include "mmproxy/exporter/board.h"
#include "mmproxy/exporter/history.h"
#include "mmproxy/jail/jail.h"
#include "mmproxy/worker/counters.h"

/* Written by an exporter, in shared memory: its history, and the call that its jail ended it for.
 */
struct exporter_notes {
    _Atomic uint32_t forbidden; /* see jail/trap.h */
    struct history history;
};

struct exporter_spec {
    struct jail jail;
    struct counters *counters;
    struct board *board;
    struct exporter_notes *notes;
    int listen_fd;
    int channel; /* end of file there: no more connections, and exit when they have ended */
};

/*
 * Serves until the channel ends; only to be called in a process forked for it, with all signals
 * blocked. returns: the process's exit status; what went wrong has been logged.
 */
int exporter_run(const struct exporter_spec *spec);

#endif
