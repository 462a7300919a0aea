/* SPDX-License-Identifier: BSD-2-Clause */
/* takeover: the new process's side of SIGUSR2; upgrade.h is the old one's. */
#ifndef MMPROXY_SUPERVISOR_TAKEOVER_H
#define MMPROXY_SUPERVISOR_TAKEOVER_H

#include "mmproxy/supervisor/state.h"

/* Finds out whether an old process started this one. To be called first of all. */
void takeover_init(struct supervisor *supervisor);

/* Did one? */
bool takeover_is(const struct supervisor *supervisor);

/* Does a service manager have a copy of the i-th descriptor handed over? */
bool takeover_socket_is_kept(size_t i);

/* ... and does it have it because we asked it to? */
bool takeover_socket_is_stored(size_t i);

/* From now on the old process is heard: ANSWERED or OLD_GONE will be reported. */
void takeover_open(struct supervisor *supervisor);

/* A step of the lifecycle: tells the old process that this one serves. */
void takeover_announce(struct supervisor *supervisor);

/*
 * Hands the old process a client of the control socket that asks for sessions there. client stays
 * the caller's. returns: 0, -ENOTCONN: there is no old process, or it is a version that does not
 * answer, or another -errno.
 */
int takeover_ask(struct supervisor *supervisor, int client, bool may_change);

/* For the end and for forked children. */
void takeover_close(struct supervisor *supervisor);

#endif
