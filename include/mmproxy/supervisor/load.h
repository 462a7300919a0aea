/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load: a configuration takes effect at once or not at all. Load, bind what is new, fork all
 * workers, wait until every one is READY; then commit, or roll back with nothing changed.
 * Each function is a step of the lifecycle.
 */
#ifndef MMPROXY_SUPERVISOR_LOAD_H
#define MMPROXY_SUPERVISOR_LOAD_H

#include "mmproxy/supervisor/state.h"

void load_init(struct supervisor *supervisor);

/*
 * Reads the configuration and opens its addresses. Reports PREPARED, UNCHANGED or FAILED; at a
 * start this may take a second.
 */
void load_prepare(struct supervisor *supervisor);

/* At a start, on PREPARED: from now on lines are written as the configuration says. */
void load_open_log(struct supervisor *supervisor);

/* Starts the next generation. READY or FAILED follows. */
void load_fork(struct supervisor *supervisor);

/* The next generation's on_failed. Reports FAILED. */
void load_generation_failed(struct generation *generation);

/* The next generation's configuration becomes the current one, and the current one the previous. */
void load_promote(struct supervisor *supervisor);

/* Listening sockets that it does not name are shut down; those that stay are as it says. */
void load_commit_ports(struct supervisor *supervisor);

/* Ends a load that is under way, with nothing of it left but workers to be reaped. */
void load_roll_back(struct supervisor *supervisor);

void load_tell_loading(struct supervisor *supervisor);
void load_tell_loaded(struct supervisor *supervisor);
void load_tell_unchanged(struct supervisor *supervisor);
void load_tell_failed(struct supervisor *supervisor);

#endif
