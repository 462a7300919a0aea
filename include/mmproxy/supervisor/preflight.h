/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * preflight: is the return path there, does every target answer, when is that asked again, and
 * which ports close meanwhile (close_when_down)? Asked after each load by a process of its own,
 * since the answers take time and traffic must not wait for them. Targets that fail are asked again
 * until they answer, and so are those that sessions can't reach.
 */
#ifndef MMPROXY_SUPERVISOR_PREFLIGHT_H
#define MMPROXY_SUPERVISOR_PREFLIGHT_H

#include <stdbool.h>

#include "mmproxy/routing/report/report_sink.h"
#include "mmproxy/supervisor/state.h"

/* The checks (check_networks.h), listeners without their namespace included, in a forked process,
 * which only the caller waits for. returns: its pid or -errno. */
pid_t preflight_fork(struct supervisor *supervisor, const struct config *config,
                     const struct report_sink *sink);

/* Once, before the first check: CHECK_DUE is reported from now on. */
void preflight_init(struct supervisor *supervisor);

/* Starts the process for the current configuration, and ends an older one. */
void preflight_start(struct supervisor *supervisor);

/*
 * The same for the targets that failed, or that sessions could not reach lately. It reports only
 * what has changed. Where a process still runs, nothing is started.
 */
void preflight_repeat(struct supervisor *supervisor);

/* Closes and opens the ports of listeners with close_when_down, as the last checks say. */
void preflight_adjust_ports(struct supervisor *supervisor);

/* Has that closed the ports of this listener of the current configuration? */
bool preflight_closes(const struct supervisor *supervisor, const struct listener_config *listener);

/* A child was reaped. returns: whether it was the preflight process; then CHECKED is reported. */
bool preflight_reaped(struct supervisor *supervisor, pid_t pid, int status);

/* Ends the process if there is one, and forgets what is known. */
void preflight_close(struct supervisor *supervisor);

#endif
