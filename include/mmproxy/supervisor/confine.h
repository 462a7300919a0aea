/* SPDX-License-Identifier: BSD-2-Clause */
/* confine: where supervisor and workers are put into their jails, and what is said of it. */
#ifndef MMPROXY_SUPERVISOR_CONFINE_H
#define MMPROXY_SUPERVISOR_CONFINE_H

#include "mmproxy/config/config.h"
#include "mmproxy/worker/worker.h"

enum { CONFINE_REASON_MAX = 256 };

/* Before the first load. returns: EX_OK, or the exit status; what is wrong has been logged. */
int confine_supervisor(void);

/*
 * At each load, before anything is opened for it: confines the supervisor's calls and makes
 * the plan for the workers. returns: EX_OK, or the exit status with a line in reason.
 */
int confine_plan(struct jail *out, const struct config *config, char reason[CONFINE_REASON_MAX]);

/* When the plan takes effect: says it in the log, once, and again when it is another one. */
void confine_tell(const struct worker_spec *spec);

/*
 * Around work on the return path, and in the preflight process: the privilege for it, which
 * nothing else uses. Where it can't be had, what needs it will say so.
 */
void confine_begin_routing(void);
void confine_end_routing(void);

/* A worker's prepare (see worker_run). returns: 0, or -errno; what is wrong has been logged. */
int confine_worker(const struct worker_spec *spec);

/* No listener has targets in another network namespace: what entering one takes is given up. */
void confine_give_up_namespaces(const struct config *config);

#endif
