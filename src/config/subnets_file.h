/* SPDX-License-Identifier: BSD-2-Clause */
/* subnets_file: the list of allowed subnets, one ADDR or ADDR/LEN a line. */
#ifndef CONFIG_SUBNETS_FILE_H
#define CONFIG_SUBNETS_FILE_H

#include <stdbool.h>

#include "mistakes.h"
#include "mmproxy/base/subnets.h"

/*
 * Reads and seals a set. line: of the source, where path is named.
 * is_lenient: bad lines are skipped with a warning, as the original mmproxy does.
 * returns: NULL after an error was reported.
 */
struct subnets *subnets_file_load(const char *path, bool is_lenient, unsigned line,
                                  struct mistakes *mistakes);

#endif
