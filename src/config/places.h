/* SPDX-License-Identifier: BSD-2-Clause */
/* places: where the lines of a text that was put together from several files were written. */
#ifndef CONFIG_PLACES_H
#define CONFIG_PLACES_H

#include <stddef.h>

struct places_segment;

struct places {
    const char *path;                /* of the first file; must outlive this */
    struct places_segment *segments; /* owned */
    size_t n_segments;
};

struct place {
    const char *file;
    unsigned line;
};

/*
 * From line first_line of the text on, lines are those of file, from line on. To be called in
 * the order of the text's lines; of two segments that start in one line the later one counts.
 * file is borrowed. returns: 0 or -ENOMEM.
 */
int places_add(struct places *places, unsigned first_line, const char *file, unsigned line);

/* Where a line of the text (1 is the first) was written. */
struct place places_find(const struct places *places, unsigned line);

void places_close(struct places *places);

#endif
