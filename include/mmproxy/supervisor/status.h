/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * status: the line that the service manager shows: which generation serves, how many sessions
 * there are, and how the last load ended. Told when it changes, soon if not at once.
 */
#ifndef MMPROXY_SUPERVISOR_STATUS_H
#define MMPROXY_SUPERVISOR_STATUS_H

#include "mmproxy/supervisor/state.h"

void status_init(struct supervisor *supervisor);

/* For the end. */
void status_close(struct supervisor *supervisor);

/* A load begins, and has no mistakes yet. */
void status_load_begins(struct supervisor *supervisor);

/* A reason for which the load under way will fail. The line has the first. */
void status_mistake(struct supervisor *supervisor, const char *line);

/* The load has ended; the line says how. */
void status_load_ended(struct supervisor *supervisor, bool is_good);

/* Another binary begins to take over, and that has come to nothing. */
void status_upgrade_begins(struct supervisor *supervisor);
void status_upgrade_failed(struct supervisor *supervisor);

/* Tells now what has changed. */
void status_tell(struct supervisor *supervisor);

#endif
