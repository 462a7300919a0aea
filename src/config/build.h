/* SPDX-License-Identifier: BSD-2-Clause */
/* build: what the file and the command line have in common: defaults that depend on the host, the
 * listeners. */
#ifndef CONFIG_BUILD_H
#define CONFIG_BUILD_H

#include "draft.h"
#include "mmproxy/config/config.h"

/* With the defaults of every key, no listener; NULL when memory is short. */
struct config *build_new(void);

/* Fills in what depends on the host where nothing was asked for. returns: 0 or -ENOMEM. */
int build_resolve(struct config *config);

/*
 * Makes the drafts the configuration's listeners and loads their subnets files, each file
 * once. It takes parts out of the drafts. Reports failures.
 * defaults: its subnets are checked even if no listener has them; NULL: there are none.
 * is_lenient: see struct subnets_reading.
 */
void build_listeners(struct config *config, struct draft *drafts, size_t n_drafts,
                     struct draft *defaults, bool is_lenient, struct mistakes *mistakes);

#endif
