/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * preflight: is the return path there, does every target answer? Asked after each load by a
 * process of its own, since the answers take time and traffic must not wait for them.
 */
#ifndef MMPROXY_SUPERVISOR_PREFLIGHT_H
#define MMPROXY_SUPERVISOR_PREFLIGHT_H

#include <stdbool.h>

#include "mmproxy/routing/report/report_sink.h"
#include "mmproxy/supervisor/state.h"

/* What the last check of each target came to; shared with the process that checks. */
struct preflight_results {
    size_t n;
    size_t max;
    struct preflight_result {
        struct addr target;
        bool holds;
    } items[];
};

/*
 * Verifies and reports the return path (where is_verifying) and checks all targets, in this
 * process, which waits. returns: whether everything holds.
 */
bool preflight_run(const struct config *config, bool is_verifying, const struct report_sink *sink);

/* Starts the process for the current configuration; an older one that still runs is ended. */
void preflight_start(struct supervisor *supervisor);

/* A child was reaped. returns: whether it was the preflight process. */
bool preflight_reaped(struct supervisor *supervisor, pid_t pid, int status);

/* Ends the process if there is one; the last results stay. */
void preflight_stop(struct supervisor *supervisor);

/* For the end: forgets the results too. */
void preflight_close(struct supervisor *supervisor);

#endif
