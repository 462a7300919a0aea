/* SPDX-License-Identifier: BSD-2-Clause */
/* xtables: asks iptables and ip6tables for rules; no shell, bounded in time. */
#ifndef MMPROXY_ROUTING_KERNEL_XTABLES_H
#define MMPROXY_ROUTING_KERNEL_XTABLES_H

#include <stdbool.h>

#include "mmproxy/routing/wanted/wanted.h"

/*
 * Runs `iptables -C` for a save or restore item, with our comment and without; waits for the
 * answer, budget_ms at most, and takes the time it took off it.
 * returns: 1 there, 0 not there, or -errno: -ENOENT no such program, -ETIMEDOUT, -EPERM.
 */
int xtables_has(const struct wanted_item *item, int *budget_ms);

/*
 * The rules of iptables-legacy, or of ip6tables-legacy, as its -save prints them; waits for it, 5 s
 * at the most. Where none of its tables is in use nothing is run. *text: owned by the caller; NULL:
 * there are none. returns: 0, or -errno: -ENOENT no such program, -ETIMEDOUT, ...
 */
int xtables_save_legacy(bool is_v6, char **text);

/* Is that program where such programs are? $PATH does not count. */
bool xtables_is_installed(const char *program);

#endif
