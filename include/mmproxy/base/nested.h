/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nested: prefixes of two lists together. Of all that contain an address the longest decides, and
 * with it the list that has it.
 */
#ifndef MMPROXY_BASE_NESTED_H
#define MMPROXY_BASE_NESTED_H

#include <stdbool.h>
#include <stddef.h>

#include "mmproxy/base/subnets.h"

struct nested {
    struct prefix prefix;
    bool is_second;   /* of the two lists */
    const void *from; /* for the caller */
};

/* Sorts: outer prefixes before those in them, and of equal ones the first list's before. */
void nested_sort(struct nested *items, size_t n);

/* Is it the same prefix, in either list? */
bool nested_equal(const struct nested *a, const struct nested *b);

/*
 * The addresses for which the second list decides. items are sorted, and no prefix is in both
 * lists. returns: a sealed set, or NULL when memory is short.
 */
struct subnets *nested_second(const struct nested *items, size_t n);

#endif
