/* SPDX-License-Identifier: BSD-2-Clause */
/* stop: how generations end. Its functions are steps of the lifecycle unless they say more. */
#ifndef MMPROXY_SUPERVISOR_STOP_H
#define MMPROXY_SUPERVISOR_STOP_H

#include "mmproxy/supervisor/state.h"

void stop_init(struct supervisor *supervisor);

/* Has the generation that was replaced drain, and tells of it from time to time while it does. */
void stop_retire(struct supervisor *supervisor);

/* The same with the generation that serves; none serves afterwards. */
void stop_retire_all(struct supervisor *supervisor);

/* Tells how long the sessions that are left may take. Reports TIMER when that is over. */
void stop_grant_time(struct supervisor *supervisor);

/*
 * Resets the sessions that are left, those of earlier processes too. Reports TIMER when their
 * workers should be gone.
 */
void stop_reset(struct supervisor *supervisor);

/* Kills the workers that are left. */
void stop_kill(struct supervisor *supervisor);

/* Reports ALONE where no generation is left, and no earlier process. */
void stop_end_if_alone(struct supervisor *supervisor);

/* This process is about to exit; its workers serve their sessions to the end. */
void stop_abandon(struct supervisor *supervisor);

/* A generation's on_gone. Frees it and reports GONE. */
void stop_generation_gone(struct generation *generation);

#endif
