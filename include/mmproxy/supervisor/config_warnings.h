/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config_warnings: what may be meant otherwise in a configuration that is right, for -n.
 * It changes nothing, needs no privilege and does not wait.
 */
#ifndef MMPROXY_SUPERVISOR_CONFIG_WARNINGS_H
#define MMPROXY_SUPERVISOR_CONFIG_WARNINGS_H

#include "mmproxy/config/config.h"

/*
 * Tells the sink of each: a port that another program has, a target that is not on this host,
 * two tables for one and the same rule. Sockets of an mmproxy that runs already are its own.
 */
void config_warnings(const struct config *config, const struct config_sink *sink);

#endif
