/* SPDX-License-Identifier: BSD-2-Clause */
/* allowed_subnets: the value of that key: an array of ADDR or ADDR/LEN, or a file of them. */
#ifndef CONFIG_ALLOWED_SUBNETS_H
#define CONFIG_ALLOWED_SUBNETS_H

#include <libconfig.h>
#include <stdbool.h>

#include "mistakes.h"
#include "mmproxy/base/subnets.h"

/*
 * Reads and seals the set of a file, one entry a line. line: of the source, where path is named.
 * is_lenient: bad lines are skipped with a warning, as the original mmproxy does.
 * returns: NULL after an error was reported.
 */
struct subnets *allowed_subnets_of_file(const char *path, bool is_lenient, unsigned line,
                                        struct mistakes *mistakes);

/* The same for an array or a list of strings. */
struct subnets *allowed_subnets_of_array(const config_setting_t *array, struct mistakes *mistakes);

#endif
