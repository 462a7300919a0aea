/* SPDX-License-Identifier: BSD-2-Clause */
/* rules: the return path as text that sets it up or takes it down (--rules). */
#ifndef MMPROXY_ROUTING_REPORT_RULES_H
#define MMPROXY_ROUTING_REPORT_RULES_H

#include <stdio.h>

#include "mmproxy/config/cmdline.h"
#include "mmproxy/routing/wanted/wanted.h"

/*
 * Prints what the configuration needs, all of its targets' families, whatever this host has.
 * Only the interface of route_localnet is this host's. Write errors are left in out.
 * returns: 0 or -errno.
 */
int rules_print(FILE *out, const struct config *config, enum rules_form form);

/* The same for items at hand. */
void rules_print_wanted(FILE *out, const struct wanted *wanted, enum rules_form form);

#endif
