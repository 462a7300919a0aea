/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * upgrade: another binary takes over (SIGUSR2). The new process gets the listening sockets
 * as a service manager would hand them over and says when it serves; then the old one drains.
 */
#ifndef MMPROXY_SUPERVISOR_UPGRADE_H
#define MMPROXY_SUPERVISOR_UPGRADE_H

#include "mmproxy/supervisor/state.h"

/* Remembers the binary's path and arguments; to be called before anything can replace it. */
void upgrade_init(struct supervisor *supervisor, char *const argv[]);

/* Starts the new binary. Reports NEW_READY or NEW_FAILED, at once or later. */
void upgrade_start(struct supervisor *supervisor);

/* In the new process: was it started by upgrade_start, and has it not told READY yet? */
bool upgrade_is_under_way(const struct supervisor *supervisor);

/* In the new process: does a service manager have a copy of the i-th socket handed over? */
bool upgrade_socket_is_kept(size_t i);

/* ... and does it have it because we asked it to? */
bool upgrade_socket_is_stored(size_t i);

/* In the old process: the new one, if it is not READY yet, ends with this one. */
void upgrade_abort(struct supervisor *supervisor);

/* In the old process, on NEW_READY: everything is the new one's business but the sessions here. */
void upgrade_hand_over(struct supervisor *supervisor);

/* In the old process: the configuration may have changed since the new one read it. */
void upgrade_pass_on_hup(struct supervisor *supervisor);

void upgrade_refuse(struct supervisor *supervisor);
void upgrade_tell_done(struct supervisor *supervisor);
void upgrade_tell_failed(struct supervisor *supervisor);

/* In the new process: it serves. Does nothing in any other, and the second time. */
void upgrade_announce(struct supervisor *supervisor);

/* Closes what it holds in either role; for the end and for forked children. */
void upgrade_close(struct supervisor *supervisor);

#endif
