/* SPDX-License-Identifier: BSD-2-Clause */
/* return_path: keeps the host's return path at what all living generations need together. */
#ifndef MMPROXY_SUPERVISOR_RETURN_PATH_H
#define MMPROXY_SUPERVISOR_RETURN_PATH_H

#include "mmproxy/supervisor/state.h"

/* returns: 0 or -errno. Changes nothing yet. */
int return_path_open(struct supervisor *supervisor);

/*
 * A step of the lifecycle: the return path becomes what all living generations and the one that
 * is being loaded need on this host as it is now. Failures are logged and do not stop the service.
 */
void return_path_update(struct supervisor *supervisor);

/* Removes what this process has set up and no other needs. */
void return_path_close(struct supervisor *supervisor);

/* In a forked child: closes what is the supervisor's and leaves the return path as it is. */
void return_path_leave(struct supervisor *supervisor, bool keeps_claims);

#endif
