/* SPDX-License-Identifier: BSD-2-Clause */
/* trap: a process that makes a forbidden call tells which one, and dies of SIGSYS. */
#ifndef MMPROXY_JAIL_TRAP_H
#define MMPROXY_JAIL_TRAP_H

#include <stdatomic.h>
#include <stdint.h>

enum { TRAP_NAME_MAX = 48 };

/*
 * To be called before a filter is loaded, in each process anew.
 * tell: gets the call's number plus 1 before the process dies; it must stay where it is. NULL:
 * stderr gets the name, or the number of a call that no table of ours has.
 * returns: 0 or -errno.
 */
int trap_set(_Atomic uint32_t *tell);

/* The name of the call behind a number that trap_set's tell got. returns: out. */
char *trap_name(uint32_t told, char out[TRAP_NAME_MAX]);

#endif
