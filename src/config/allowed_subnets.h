/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * allowed_subnets: the value of that key and of direct_subnets: an array of ADDR or ADDR/LEN, or a
 * file of them.
 */
#ifndef CONFIG_ALLOWED_SUBNETS_H
#define CONFIG_ALLOWED_SUBNETS_H

#include <libconfig.h>
#include <stdbool.h>

#include "mistakes.h"
#include "mmproxy/base/subnets.h"

/* One entry, and where it is written. */
struct subnets_entry {
    struct prefix prefix;
    unsigned source_line; /* of the array's element, or of what names the file */
    unsigned line;        /* of the file */
};

struct subnets_entries {
    char *path; /* owned; NULL: an array */
    struct subnets_entry *items;
    size_t n;
    size_t room;
};

/* How a value is to be read. */
struct subnets_reading {
    unsigned line;   /* of the source, where path is named */
    bool is_lenient; /* bad lines are skipped with a warning, as the original mmproxy does */
    bool is_direct;  /* the value of direct_subnets */
    struct mistakes *mistakes;
};

/*
 * Reads and seals the set of a file, one entry a line. entries: all zero, for
 * subnets_entries_close in any case. returns: NULL after an error was reported.
 */
struct subnets *allowed_subnets_of_file(const char *path, const struct subnets_reading *reading,
                                        struct subnets_entries *entries);

/* The same for an array or a list of strings. */
struct subnets *allowed_subnets_of_array(const config_setting_t *array,
                                         const struct subnets_reading *reading,
                                         struct subnets_entries *entries);

void subnets_entries_close(struct subnets_entries *entries);

/* A mistake at the place of an entry: FILE:LINE and the text. */
void subnets_entries_report(const struct subnets_entries *entries,
                            const struct subnets_entry *entry, struct mistakes *mistakes,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
