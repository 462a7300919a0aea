/* SPDX-License-Identifier: BSD-2-Clause */
/* scan: the tokens of a configuration file's text, for source alone. */
#ifndef CONFIG_SCAN_H
#define CONFIG_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "mistakes.h"
#include "source.h"

enum { SCAN_NESTING_MAX = 32 };

struct scan_bracket {
    char opener; /* brackets[0] is the file itself, without one */
    unsigned line;
    unsigned n_keys;
};

struct scan {
    struct source *source;
    struct mistakes *mistakes;
    struct scan_bracket brackets[SCAN_NESTING_MAX + 1];
    unsigned depth;
    unsigned include_depth;
    size_t n_read;       /* bytes of all files */
    unsigned n_newlines; /* read, but not yet written */
    char last;           /* the first character of the last token */
    bool is_at_line_start;
    bool has_failed;
};

/* Reports what is wrong; nothing is read on behind it. */
#define SCAN_FAIL(scan, line, ...)                             \
    do {                                                       \
        mistakes_error((scan)->mistakes, (line), __VA_ARGS__); \
        (scan)->has_failed = true;                             \
    } while (0)

/* Where in the source's text the next token goes. */
unsigned scan_line(const struct scan *scan);

/* Adds a file's text, from at to end (where a NUL stands), to the source's. */
void scan_text(struct scan *scan, const char *at, const char *end);

/* Reports brackets that are still open. To be called once, behind the last file. */
void scan_finish(struct scan *scan);

#endif
