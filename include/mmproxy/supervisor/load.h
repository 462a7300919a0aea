/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load: a configuration takes effect at once or not at all. Load, bind what is new, fork all
 * workers, wait until every one is READY; then commit, or roll back with nothing changed.
 */
#ifndef MMPROXY_SUPERVISOR_LOAD_H
#define MMPROXY_SUPERVISOR_LOAD_H

#include "mmproxy/supervisor/state.h"

/*
 * Begins the first load, which ends in the loop. returns: EX_OK, or the exit status of a
 * start that has failed; what is wrong has been logged.
 */
int load_first(struct supervisor *supervisor);

/* Begins a reload, or remembers it where a load or an upgrade is under way. */
void load_again(struct supervisor *supervisor);

/* A load or an upgrade has ended: begins what was asked for meanwhile. */
void load_next(struct supervisor *supervisor);

/* Rolls a load back that is under way. */
void load_abort(struct supervisor *supervisor);

#endif
