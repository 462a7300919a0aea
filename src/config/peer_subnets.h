/* SPDX-License-Identifier: BSD-2-Clause */
/* peer_subnets: the hosts that may connect to each listener: its allowed and its direct subnets. */
#ifndef CONFIG_PEER_SUBNETS_H
#define CONFIG_PEER_SUBNETS_H

#include "draft.h"

/*
 * Loads every file and array of subnets once and fills in the drafts' allowed and direct, with sets
 * that the configuration owns. defaults: checked even if no listener has them; NULL: there are
 * none. is_lenient: see struct subnets_reading. Reports what is wrong.
 */
void peer_subnets_load(struct config *config, struct draft *drafts, size_t n_drafts,
                       struct draft *defaults, bool is_lenient, struct mistakes *mistakes);

#endif
