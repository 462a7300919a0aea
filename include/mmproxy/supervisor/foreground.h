/* SPDX-License-Identifier: BSD-2-Clause */
/* foreground: what is asked for and answered at once, without serving: --check and --rules. */
#ifndef MMPROXY_SUPERVISOR_FOREGROUND_H
#define MMPROXY_SUPERVISOR_FOREGROUND_H

#include "mmproxy/config/cmdline.h"

/*
 * Verifies return path and targets and reports on stderr. Where the return path is managed
 * it is set up for as long as this takes, unless a service that runs has done so.
 * A signal that ends the program ends it when that has been taken down.
 * returns: an exit status: 0, or 1 where something does not hold.
 */
int foreground_check(const struct config *config);

/* Prints the commands on stdout and nothing else. returns: an exit status. */
int foreground_rules(const struct config *config, enum rules_form form);

#endif
