/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * source: a configuration file's text with its @include files in their places, made ready
 * for libconfig. What libconfig 1.5 would do badly is done here:
 * - it calls exit() for an @include that is a directory and hangs on a fifo,
 * - it cuts 4294967419 down to 123 without a word: whole numbers get the suffix L,
 * - its parser recurses for ever deeper groups, and takes n^2 time for n keys in one group,
 * - it takes a comment at the very end of a file for garbage, and gives strings in an array
 *   the line of what follows them,
 * - it loses the memory of a string that stands where none can,
 * - it can't tell where the bracket or the string was opened that has no end.
 */
#ifndef CONFIG_SOURCE_H
#define CONFIG_SOURCE_H

#include <stddef.h>

enum { SOURCE_MAX = 16 * 1024 * 1024 }; /* bytes of a file, and of all of them together */

struct mistakes;
struct scan;
struct source_segment;

struct source {
    char *text; /* for config_read_string */
    size_t len;
    size_t room;
    unsigned line;    /* the last one of text */
    const char *path; /* as the user gave it */
    char **included;  /* owned: the paths of included files */
    size_t n_included;
    struct source_segment *segments; /* owned: where text's lines come from */
    size_t n_segments;
};

struct source_place {
    const char *file; /* lives as long as the source */
    unsigned line;
};

/*
 * Reads path, which must outlive the source. Mistakes in reading and the first one in syntax
 * that it notices are reported; text is for libconfig only where there was none.
 */
void source_open(struct source *source, const char *path, struct mistakes *mistakes);
void source_close(struct source *source);

/* For scan: reads the file that an @include names, as it was written there. */
void source_include(struct scan *scan, const char *written);

/* Where a line of text (1 is the first) was written. */
struct source_place source_place(const struct source *source, unsigned line);

/*
 * A path written in the configuration: relative to the configuration file's folder.
 * returns: to be freed; NULL when memory is short.
 */
char *source_resolve(const char *config_path, const char *path);

#endif
