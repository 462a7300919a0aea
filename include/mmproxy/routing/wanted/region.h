/* SPDX-License-Identifier: BSD-2-Clause */
/* region: a prefix without some others: which addresses are left in it? Pure. */
#ifndef MMPROXY_ROUTING_WANTED_REGION_H
#define MMPROXY_ROUTING_WANTED_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct region_prefix {
    uint8_t bits[16]; /* network order; those behind len are 0 */
    uint8_t len;      /* of 32 or 128 */
};

/* Prefixes to leave out. All zero is empty. */
struct region_set {
    struct region_prefix *items; /* owned */
    size_t n_items;
    size_t room;
    bool has_failed; /* memory was short, something is not in it */
};

/* Adds one at the end; a caller may set n_items back to what it was. */
void region_set_add(struct region_set *set, const struct region_prefix *prefix);
void region_set_close(struct region_set *set);

struct region_prefix region_prefix(const uint8_t *bytes, unsigned len);

/* Has outer every address of inner? */
bool region_has(const struct region_prefix *outer, const struct region_prefix *inner);

/* The longer one where one of the two has the other, else false: they are disjoint. */
bool region_common(const struct region_prefix *a, const struct region_prefix *b,
                   struct region_prefix *out);

/* Is any address of within in none of the set's prefixes? bits: 32 or 128. */
bool region_is_left(const struct region_prefix *within, const struct region_set *without,
                    unsigned bits);

#endif
