/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * claims: what each instance needs, as a file in the folder of its network namespace that it
 * holds a lock on. For runtime alone, which holds the lock that all have in common.
 */
#ifndef MMPROXY_ROUTING_MANAGED_CLAIMS_H
#define MMPROXY_ROUTING_MANAGED_CLAIMS_H

#include <stdbool.h>

#include "mmproxy/routing/wanted/wanted.h"

enum { CLAIMS_NAME_LEN = 64 };

/* Makes a new claim, empty yet. returns: the descriptor that keeps it alive, owned, or -errno. */
int claims_make(int folder, char name[CLAIMS_NAME_LEN]);

/*
 * Replaces what is in a claim of ours; what it says already is not written again. On a full file
 * system the old content stays as far as it can. claim: from claims_make. returns: 0 or -errno.
 */
int claims_write(int folder, const char *name, int claim, const struct wanted *wanted);

/*
 * Adds to out what the others' living claims say and removes dead ones. own: not to be read.
 * *incomplete: some could not be read; *died: there was a dead one. Neither is ever set to false.
 * returns: 0, or the first -errno.
 */
int claims_read(int folder, const char *own, struct wanted *out, bool *incomplete, bool *died);

/* Is there any, dead or alive? True where the folder can't be read. */
bool claims_exist(int folder);

#endif
