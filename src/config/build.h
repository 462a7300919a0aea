/* SPDX-License-Identifier: BSD-2-Clause */
/* build: the parts of a configuration that the file and the command line have in common. */
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
 * once. What it takes over is gone from the drafts. Reports what fails.
 * is_lenient: see allowed_subnets_of_file. path: of the configuration file, NULL without one.
 */
void build_listeners(struct config *config, struct draft *drafts, size_t n_drafts, bool is_lenient,
                     struct mistakes *mistakes);

#endif
