/* SPDX-License-Identifier: BSD-2-Clause */
/* roster: the sessions that a worker has. A worker that drains ends with the last of them. */
#ifndef MMPROXY_WORKER_ROSTER_H
#define MMPROXY_WORKER_ROSTER_H

#include "mmproxy/worker/worker.h"

/* A session began: session is whose entry it is, which has set is_udp. */
void roster_add(struct worker *worker, struct roster_entry *entry, void *session);
void roster_remove(struct worker *worker, struct roster_entry *entry);

/* Ends the worker's loop where it drains and has no session. */
void roster_check_drained(struct worker *worker);

#endif
