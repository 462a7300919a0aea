/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scan: a configuration file's text, token by token, written anew for libconfig. What
 * libconfig 1.5 would do badly is done here:
 * - it cuts 4294967419 down to 123 without a word: whole numbers get the suffix L,
 * - its parser recurses for ever deeper groups, and takes n^2 time for n keys in one group,
 * - it takes a comment at the very end of a file for garbage, and gives strings in an array
 *   the line of what follows them,
 * - it loses the memory of a string that stands where none can,
 * - it says "syntax error" of all that is wrong, at the line behind it.
 */
#ifndef CONFIG_SCAN_H
#define CONFIG_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "grammar.h"

struct scan {
    struct grammar grammar;
    char *text; /* owned; for config_read_string */
    size_t len;
    size_t room;
    unsigned line;       /* the last one of text; 1 is the first */
    unsigned n_newlines; /* read, but not yet written */
    char last;           /* the first character of the last token */
    bool is_at_line_start;
    bool has_failed; /* a mistake was reported: nothing is to be read behind it */
};

void scan_open(struct scan *scan, struct mistakes *mistakes);
void scan_close(struct scan *scan);

/* To be called in front of a file's text, and behind it. A file may be in the midst of another. */
void scan_begin_file(struct scan *scan);
void scan_end_file(struct scan *scan);

/*
 * Reads a token or what stands between tokens; a NUL stands at end. *include: the path that an
 * @include names, to be freed, or NULL. returns: the place behind it.
 */
const char *scan_next(struct scan *scan, const char *at, const char *end, char **include);

/* Writes a piece of text that stands in no file. */
void scan_write(struct scan *scan, const char *piece);

/* Where in the text the next token goes. */
unsigned scan_line(const struct scan *scan);

/* Reports a mistake there. */
void scan_fail(struct scan *scan, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
