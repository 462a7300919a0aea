/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * upgrade: another binary takes over (SIGUSR2), seen from the old process. The new one gets the
 * listening sockets as a service manager would hand them over and says when it serves; then this
 * one drains. takeover.h is the new one's side.
 */
#ifndef MMPROXY_SUPERVISOR_UPGRADE_H
#define MMPROXY_SUPERVISOR_UPGRADE_H

#include "mmproxy/supervisor/state.h"

/* Remembers the binary's path and arguments; to be called before anything can replace it. */
void upgrade_init(struct supervisor *supervisor, char *const argv[]);

/* Starts the new binary. Reports NEW_READY or NEW_FAILED, at once or later. */
void upgrade_start(struct supervisor *supervisor);

/* The new process, if it is not READY yet, ends with this one. */
void upgrade_abort(struct supervisor *supervisor);

/*
 * On NEW_READY: everything is the new one's business but the sessions here, whose number it is
 * told from time to time.
 */
void upgrade_hand_over(struct supervisor *supervisor);

/* The configuration may have changed since the new one read it. */
void upgrade_pass_on_hup(struct supervisor *supervisor);

void upgrade_refuse(struct supervisor *supervisor);
void upgrade_tell_done(struct supervisor *supervisor);
void upgrade_tell_failed(struct supervisor *supervisor);

/* For the end and for forked children. */
void upgrade_close(struct supervisor *supervisor);

#endif
