/* SPDX-License-Identifier: BSD-2-Clause */
/* across: what can be wrong with several listeners together. O(n log n). */
#ifndef CONFIG_ACROSS_H
#define CONFIG_ACROSS_H

#include "draft.h"

/*
 * Reports a name that is used twice, addresses that overlap, a mark with two tables, and a target
 * that leads back to one of our own addresses.
 */
void across_check(const struct draft *drafts, size_t n_drafts, struct mistakes *mistakes);

/*
 * Reports that metrics is an address that a listener has; written on that line. Warns of an address
 * that others than this host can reach.
 */
void across_check_metrics(const struct addr *metrics, unsigned line, const struct draft *drafts,
                          size_t n_drafts, struct mistakes *mistakes);

/*
 * Can't both be listened on? The wildcard address takes its port on every address of its own
 * family; [::] takes IPv6 alone.
 */
bool across_overlaps(const struct addr *a, const struct addr *b);

/*
 * A listener on this address would take the target's connections: the wildcard address of its
 * family and port for a loopback target, the target itself for any other.
 */
struct addr across_wildcard(const struct addr *target);

#endif
