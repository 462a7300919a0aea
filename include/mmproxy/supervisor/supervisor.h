/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * supervisor: the process that owns the configuration, the listening sockets and the return
 * path. It starts, replaces and ends workers, and reads no byte of a stranger's.
 */
#ifndef MMPROXY_SUPERVISOR_SUPERVISOR_H
#define MMPROXY_SUPERVISOR_SUPERVISOR_H

#include "mmproxy/config/cmdline.h"

/*
 * Serves what cmdline asks for until a signal ends it. argv: for a new binary (SIGUSR2).
 * returns: the exit status (0, 64, 71, 77, 78: mmproxy(8)); what went wrong has been logged.
 */
int supervisor_run(const struct cmdline *cmdline, char *const argv[]);

#endif
