/* SPDX-License-Identifier: BSD-2-Clause */
/* check_networks: the checks of the return path and the targets, in each network namespace in turn.
 */
#ifndef MMPROXY_SUPERVISOR_CHECK_NETWORKS_H
#define MMPROXY_SUPERVISOR_CHECK_NETWORKS_H

#include <stdbool.h>

#include "mmproxy/routing/report/report_sink.h"
#include "mmproxy/supervisor/namespaces.h"

/*
 * Runs them now, in this process; it may wait (check.h). is_verifying: the commands of the return
 * path are reported too, and listeners whose namespace can't be used. Commands for another
 * namespace have in front of them what enters it. returns: does all of it hold?
 */
bool check_networks(struct namespaces *namespaces, const struct config *config, bool is_verifying,
                    const struct report_sink *sink);

/* Tells the listeners whose namespace can't be used. returns: are there none? */
bool check_networks_closed(const struct config *config, const struct report_sink *sink);

#endif
