/* SPDX-License-Identifier: BSD-2-Clause */
/* across: what can be wrong with several listeners together. O(n log n). */
#ifndef CONFIG_ACROSS_H
#define CONFIG_ACROSS_H

#include "draft.h"

/*
 * Reports a name or an address that is used twice, a mark with two tables, and a target that
 * leads back to one of our own addresses.
 */
void across_check(const struct draft *drafts, size_t n_drafts, struct mistakes *mistakes);

/*
 * Who listens on that address has the target's port to himself: the wildcard address of its
 * family and port for a loopback target, the target itself for any other.
 */
struct addr across_wildcard(const struct addr *target);

#endif
