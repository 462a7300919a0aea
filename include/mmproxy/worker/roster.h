/* SPDX-License-Identifier: BSD-2-Clause */
/* roster: the sessions that a worker has. A worker that drains ends with the last of them. */
#ifndef MMPROXY_WORKER_ROSTER_H
#define MMPROXY_WORKER_ROSTER_H

#include "mmproxy/worker/worker.h"

/* A TCP session began, or ended. */
void roster_add(struct worker *worker, struct session *session);
void roster_remove(struct worker *worker, struct session *session);

/* The same for a UDP session, which its receiver lists. */
void roster_add_udp(struct worker *worker);
void roster_remove_udp(struct worker *worker);

/* Ends the worker's loop where it drains and has no session. */
void roster_check_drained(struct worker *worker);

#endif
