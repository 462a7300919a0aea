/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mistakes: what is wrong with a configuration, collected while it is read in whatever order
 * suits the reader, and told to the sink once, in the order of the file's lines.
 */
#ifndef CONFIG_MISTAKES_H
#define CONFIG_MISTAKES_H

#include <stdbool.h>
#include <stddef.h>

#include "mmproxy/config/config.h"
#include "places.h"

struct mistake;

struct mistakes {
    const struct places *places; /* whose lines are meant; NULL without a file */
    struct mistake *items;
    size_t n_items;
    size_t room;
    size_t n_errors; /* all of them, those that are not told for their number too */
};

/* "FILE:LINE: " and the text; without a file the text alone. line: of the source's text. */
void mistakes_error(struct mistakes *mistakes, unsigned line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same as a warning. */
void mistakes_warn(struct mistakes *mistakes, unsigned line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A line that already is complete, told with those of the source's line. */
void mistakes_add(struct mistakes *mistakes, bool is_error, unsigned line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Tells the sink and forgets them all; n_errors stays. Control characters become \xNN. */
void mistakes_flush(struct mistakes *mistakes, const struct config_sink *sink);

#endif
