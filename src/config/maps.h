/* SPDX-License-Identifier: BSD-2-Clause */
/* maps: map_v4 and map_v6. */
#ifndef CONFIG_MAPS_H
#define CONFIG_MAPS_H

#include "draft.h"

/* Reports prefixes that would stand for this host's own addresses, or for others' private ones. */
void maps_check(const struct draft *draft, struct mistakes *mistakes);

#endif
