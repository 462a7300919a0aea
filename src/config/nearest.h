/* SPDX-License-Identifier: BSD-2-Clause */
/* nearest: "did you mean ...?", from a set of known names. */
#ifndef CONFIG_NEAREST_H
#define CONFIG_NEAREST_H

#include <stddef.h>

struct nearest {
    const char *wanted;
    const char *found; /* NULL: nothing is near enough to be meant */
    size_t distance;   /* of found; else the first that is too far */
};

/* Starts with no candidate; wanted must outlive the result. */
struct nearest nearest_to(const char *wanted);

/* Offers one known name. */
void nearest_try(struct nearest *nearest, const char *known);

#endif
