/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two prefixes are disjoint, or one is inside the other. So one walk in order of addresses finds
 * for every piece of the address space the innermost prefix that holds it: the top of a stack.
 */
#include "mmproxy/base/nested.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES_MAX = 16, DEPTH_MAX = 129 }; /* one prefix of each length */

/* The part of the address space that is not assigned yet begins at next. */
struct walk {
    struct subnets *out;
    sa_family_t family;
    size_t n_bytes;
    const struct nested *stack[DEPTH_MAX];
    size_t depth;
    uint8_t next[BYTES_MAX];
    bool is_over; /* next would be behind the last address */
    int err;
};

static size_t bytes_of(sa_family_t family)
{
    return family == AF_INET ? 4 : 16;
}

static int compare_prefixes(const struct nested *a, const struct nested *b)
{
    sa_family_t family = addr_family(&a->prefix.addr);
    int result = (int)family - (int)addr_family(&b->prefix.addr);

    if (result == 0)
        result = memcmp(addr_bytes(&a->prefix.addr), addr_bytes(&b->prefix.addr), bytes_of(family));
    return result != 0 ? result : (int)a->prefix.len - (int)b->prefix.len;
}

static int in_order(const void *a, const void *b)
{
    const struct nested *left = a;
    const struct nested *right = b;
    int result = compare_prefixes(left, right);

    return result != 0 ? result : (int)left->is_second - (int)right->is_second;
}

void nested_sort(struct nested *items, size_t n)
{
    if (n > 0)
        qsort(items, n, sizeof *items, in_order);
}

bool nested_equal(const struct nested *a, const struct nested *b)
{
    return compare_prefixes(a, b) == 0;
}

static void last_of(const struct walk *walk, const struct prefix *prefix, uint8_t out[BYTES_MAX])
{
    memcpy(out, addr_bytes(&prefix->addr), walk->n_bytes);
    for (size_t bit = prefix->len; bit < 8 * walk->n_bytes; bit++)
        out[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
}

/* returns: whether it wrapped around. */
static bool increment(uint8_t *bytes, size_t n)
{
    while (n > 0)
        if (++bytes[--n] != 0)
            return false;
    return true;
}

/* The rest up to last (included) belongs to the top of the stack. */
static void assign(struct walk *walk, const uint8_t *last)
{
    struct addr first;
    struct addr end;

    if (walk->is_over || memcmp(walk->next, last, walk->n_bytes) > 0)
        return;
    addr_from_bytes(&first, walk->family, walk->next, 0);
    addr_from_bytes(&end, walk->family, last, 0);
    if (walk->stack[walk->depth - 1]->is_second && walk->err == 0)
        walk->err = subnets_add_range(walk->out, &first, &end);
    memcpy(walk->next, last, walk->n_bytes);
    walk->is_over = increment(walk->next, walk->n_bytes);
}

static void pop(struct walk *walk)
{
    uint8_t last[BYTES_MAX];

    last_of(walk, &walk->stack[walk->depth - 1]->prefix, last);
    assign(walk, last);
    walk->depth--;
}

static bool is_inside(const struct walk *walk, const uint8_t *address, const struct prefix *outer)
{
    uint8_t last[BYTES_MAX];

    last_of(walk, outer, last);
    return memcmp(address, last, walk->n_bytes) <= 0;
}

static void push(struct walk *walk, const struct nested *item)
{
    const uint8_t *first = addr_bytes(&item->prefix.addr);
    uint8_t before[BYTES_MAX];

    while (walk->depth > 0 && !is_inside(walk, first, &walk->stack[walk->depth - 1]->prefix))
        pop(walk);
    if (walk->depth > 0 && memcmp(walk->next, first, walk->n_bytes) < 0) {
        memcpy(before, first, walk->n_bytes);
        for (size_t i = walk->n_bytes; i > 0 && before[--i]-- == 0;)
            ;
        assign(walk, before);
    }
    memcpy(walk->next, first, walk->n_bytes);
    walk->is_over = false;
    assert(walk->depth < DEPTH_MAX);
    walk->stack[walk->depth++] = item;
}

static int walk_family(struct subnets *out, sa_family_t family, const struct nested *items,
                       size_t n)
{
    struct walk walk = { .out = out, .family = family, .n_bytes = bytes_of(family) };
    const struct nested *before = NULL;

    for (size_t i = 0; i < n; i++) {
        if (addr_family(&items[i].prefix.addr) != family)
            continue;
        if (!before || !nested_equal(before, &items[i]))
            push(&walk, &items[i]);
        before = &items[i];
    }
    while (walk.depth > 0)
        pop(&walk);
    return walk.err;
}

struct subnets *nested_second(const struct nested *items, size_t n)
{
    struct subnets *out = subnets_new();

    if (!out)
        return NULL;
    if (walk_family(out, AF_INET, items, n) != 0 || walk_family(out, AF_INET6, items, n) != 0) {
        subnets_free(out);
        return NULL;
    }
    subnets_seal(out);
    return out;
}
