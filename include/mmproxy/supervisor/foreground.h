/* SPDX-License-Identifier: BSD-2-Clause */
/* foreground: what is asked for and answered at once, without serving: --check and --rules. */
#ifndef MMPROXY_SUPERVISOR_FOREGROUND_H
#define MMPROXY_SUPERVISOR_FOREGROUND_H

#include "mmproxy/config/cmdline.h"

/*
 * Verifies return path and targets and reports on stderr. Where the return path is managed
 * it is set up for as long as this takes, unless a service that runs has done so.
 * A signal that ends the program ends it when that has been taken down.
 * config: what depends on the network is filled in, as in the two below. returns: an exit status:
 * 0, or 1 where something does not hold.
 */
int foreground_check(struct config *config);

/* Prints the commands on stdout and nothing else. returns: an exit status. */
int foreground_rules(struct config *config, enum rules_form form);

/* What may be meant otherwise in a configuration that is right (config_warnings.h). */
void foreground_warn(struct config *config, const struct config_sink *out);

#endif
