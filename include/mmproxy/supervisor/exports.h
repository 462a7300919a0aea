/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exports: the exporter (exporter.h) seen from the supervisor. It is started, replaced at a reload,
 * started again when it dies, and told what the supervisor knows.
 */
#ifndef MMPROXY_SUPERVISOR_EXPORTS_H
#define MMPROXY_SUPERVISOR_EXPORTS_H

#include "mmproxy/supervisor/state.h"

void exports_init(struct supervisor *supervisor);

/* One for the current configuration takes the place of the one before, if either wants one. */
void exports_start(struct supervisor *supervisor);

/* Ends the exporter if there is one; its socket is left alone. */
void exports_stop(struct supervisor *supervisor);

/* A child was reaped. returns: whether it was the exporter. */
bool exports_reaped(struct supervisor *supervisor, pid_t pid, int status);

/* A check of the targets has come to its end. */
void exports_take_checks(struct supervisor *supervisor);

/* The board of an exporter that starts now. returns: for board_free, or NULL: memory is short. */
struct board *exports_board(struct supervisor *supervisor);

/* In a forked child: closes what only the supervisor may hold. */
void exports_leave(struct supervisor *supervisor);

void exports_close(struct supervisor *supervisor);

#endif
