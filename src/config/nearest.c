/* SPDX-License-Identifier: BSD-2-Clause */
#include "nearest.h"

#include <string.h>

enum { NAME_MAX_COMPARED = 40 };

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Edits (insert, delete, replace, swap two neighbours) that turn one name into the other. */
static size_t edits(const char *a, size_t len_a, const char *b, size_t len_b)
{
    size_t d[NAME_MAX_COMPARED + 1][NAME_MAX_COMPARED + 1];

    for (size_t i = 0; i <= len_a; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= len_b; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= len_a; i++) {
        for (size_t j = 1; j <= len_b; j++) {
            size_t replaced = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

            d[i][j] = least(d[i - 1][j] + 1, d[i][j - 1] + 1, replaced);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < d[i][j])
                d[i][j] = d[i - 2][j - 2] + 1;
        }
    }
    return d[len_a][len_b];
}

/* A third of the letters wrong is still a slip; more is another word. */
struct nearest nearest_to(const char *wanted)
{
    return (struct nearest){ .wanted = wanted, .distance = strlen(wanted) / 3 + 1 };
}

void nearest_try(struct nearest *nearest, const char *known)
{
    size_t len_wanted = strlen(nearest->wanted);
    size_t len_known = strlen(known);
    size_t distance;

    if (len_wanted > NAME_MAX_COMPARED || len_known > NAME_MAX_COMPARED)
        return;
    distance = edits(nearest->wanted, len_wanted, known, len_known);
    if (distance < nearest->distance && distance < len_known) {
        nearest->distance = distance;
        nearest->found = known;
    }
}
