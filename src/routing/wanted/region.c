/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/region.h"

#include <stdlib.h>
#include <string.h>

struct region_prefix region_prefix(const uint8_t *bytes, unsigned len)
{
    struct region_prefix out = { .len = (uint8_t)len };

    memcpy(out.bits, bytes, (len + 7) / 8);
    if (len % 8 != 0)
        out.bits[len / 8] &= (uint8_t)(0xff << (8 - len % 8));
    return out;
}

void region_set_add(struct region_set *set, const struct region_prefix *prefix)
{
    if (set->n_items == set->room) {
        size_t room = set->room > 0 ? 2 * set->room : 32;
        struct region_prefix *items = reallocarray(set->items, room, sizeof *items);

        if (!items) {
            set->has_failed = true;
            return;
        }
        set->items = items;
        set->room = room;
    }
    set->items[set->n_items++] = *prefix;
}

void region_set_close(struct region_set *set)
{
    free(set->items);
    *set = (struct region_set){ 0 };
}

bool region_has(const struct region_prefix *outer, const struct region_prefix *inner)
{
    unsigned whole = outer->len / 8;
    unsigned rest = outer->len % 8;

    if (outer->len > inner->len || memcmp(outer->bits, inner->bits, whole) != 0)
        return false;
    return rest == 0 || ((outer->bits[whole] ^ inner->bits[whole]) >> (8 - rest)) == 0;
}

bool region_common(const struct region_prefix *a, const struct region_prefix *b,
                   struct region_prefix *out)
{
    if (region_has(a, b))
        *out = *b;
    else if (region_has(b, a))
        *out = *a;
    else
        return false;
    return true;
}

/* Moves those that are within the prefix to the front; *covered: one has all of it. */
static size_t keep_within(const struct region_prefix *within, struct region_prefix *items, size_t n,
                          bool *covered)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        struct region_prefix item = items[i];

        if (region_has(&item, within)) {
            *covered = true;
            return 0;
        }
        if (!region_has(within, &item))
            continue;
        items[i] = items[kept];
        items[kept++] = item;
    }
    return kept;
}

/* Halves the prefix until a half is free or covered: no deeper than the longest prefix. */
static bool is_left(const struct region_prefix *within, struct region_prefix *items, size_t n)
{
    struct region_prefix half = *within;
    bool covered = false;
    size_t kept = keep_within(within, items, n, &covered);

    if (covered || kept == 0)
        return !covered;
    half.len++;
    if (is_left(&half, items, kept))
        return true;
    half.bits[within->len / 8] |= (uint8_t)(0x80 >> within->len % 8);
    return is_left(&half, items, kept);
}

bool region_is_left(const struct region_prefix *within, const struct region_set *without,
                    unsigned bits)
{
    struct region_prefix *items;
    bool left;

    if (within->len > bits || without->n_items == 0)
        return within->len <= bits;
    items = malloc(without->n_items * sizeof *items);
    if (!items)
        return true; /* rather one alarm too many */
    memcpy(items, without->items, without->n_items * sizeof *items);
    left = is_left(within, items, without->n_items);
    free(items);
    return left;
}
