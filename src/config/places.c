/* SPDX-License-Identifier: BSD-2-Clause */
#include "places.h"

#include <errno.h>
#include <stdlib.h>

struct places_segment {
    unsigned first_line;
    const char *file;
    unsigned line;
};

int places_add(struct places *places, unsigned first_line, const char *file, unsigned line)
{
    struct places_segment *grown =
        reallocarray(places->segments, places->n_segments + 1, sizeof *grown);

    if (!grown)
        return -ENOMEM;
    places->segments = grown;
    grown[places->n_segments++] =
        (struct places_segment){ .first_line = first_line, .file = file, .line = line };
    return 0;
}

struct place places_find(const struct places *places, unsigned line)
{
    const struct places_segment *segment;
    size_t low = 0;
    size_t high = places->n_segments;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (places->segments[middle].first_line <= line)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return (struct place){ .file = places->path, .line = line };
    segment = &places->segments[low - 1];
    return (struct place){ .file = segment->file,
                           .line = segment->line + (line - segment->first_line) };
}

void places_close(struct places *places)
{
    free(places->segments);
    *places = (struct places){ .path = NULL };
}
