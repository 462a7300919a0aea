/* SPDX-License-Identifier: BSD-2-Clause */
/* map_key: the file with the key of map_v6. */
#ifndef CONFIG_MAP_KEY_H
#define CONFIG_MAP_KEY_H

#include "draft.h"

/* Reads the key where the listener needs one. A file that is missing is no mistake. */
void map_key_read(struct draft *draft, struct mistakes *mistakes);

#endif
