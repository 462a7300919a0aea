/* SPDX-License-Identifier: BSD-2-Clause */
/* endpoint_ids: the value of the key endpoints. */
#ifndef CONFIG_ENDPOINT_IDS_H
#define CONFIG_ENDPOINT_IDS_H

#include <libconfig.h>

#include "mistakes.h"
#include "mmproxy/config/endpoints.h"

/* Reads an array or list of ids. returns: for free; NULL after a mistake was reported. */
struct endpoints *endpoint_ids_read(const config_setting_t *setting, struct mistakes *mistakes);

/* endpoints may be NULL. returns: a copy for free; NULL of NULL, or when memory is short. */
struct endpoints *endpoint_ids_copy(const struct endpoints *endpoints);

/* Are they the same, in the same order? Either may be NULL. */
bool endpoint_ids_equal(const struct endpoints *a, const struct endpoints *b);

#endif
