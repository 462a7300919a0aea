/* SPDX-License-Identifier: BSD-2-Clause */
/* maps: map_v4, map_v6 and the file of map_key. */
#ifndef CONFIG_MAPS_H
#define CONFIG_MAPS_H

#include "draft.h"

/* Reports prefixes that would stand for this host's own addresses, or for others' private ones. */
void maps_check(const struct draft *draft, struct mistakes *mistakes);

/* Reads the key where the listener needs one. A file that is missing is no mistake. */
void maps_read_key(struct draft *draft, struct mistakes *mistakes);

#endif
