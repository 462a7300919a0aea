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
void across_check_metrics(const struct addr_range *metrics, unsigned line,
                          const struct draft *drafts, size_t n_drafts, struct mistakes *mistakes);

/*
 * Can't both be listened on? The wildcard address takes its port on every address of its own
 * family; [::] takes IPv6 alone.
 */
bool across_overlaps(const struct addr_range *a, const struct addr_range *b);

/*
 * Would a listener there take connections to the target? Its own address does, and the wildcard
 * address of its family where the target is on loopback or an address of this host.
 */
bool across_is_loop(const struct addr_range *listen, const struct addr_range *target);

#endif
