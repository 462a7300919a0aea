/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * subnets: an immutable set of IPv4 and IPv6 prefixes that answers "is this address in it?"
 * in O(log n). Built once, then shared by every process that inherits it through fork.
 */
#ifndef MMPROXY_BASE_SUBNETS_H
#define MMPROXY_BASE_SUBNETS_H

#include <stdbool.h>
#include <stddef.h>

#include "mmproxy/base/addr.h"

struct subnets;

/* One prefix. A v4-mapped one of /96 or longer has become IPv4; host bits are zero. */
struct prefix {
    struct addr addr; /* port 0 */
    unsigned len;     /* bits: 0 to 32 or 0 to 128 */
};

enum prefix_verdict {
    PREFIX_OK,
    PREFIX_HOST_BITS, /* fine, but bits behind the prefix were set and have been masked off */
    PREFIX_BAD,       /* *reason says why, a static string */
};

/* Parses "ADDR" or "ADDR/LEN". text has neither white space nor comment. */
enum prefix_verdict prefix_parse(struct prefix *out, const char *text, const char **reason);

/* errors: NULL when memory is short. */
struct subnets *subnets_new(void);
void subnets_free(struct subnets *set);

/* Adds a prefix; in any order, overlapping and repeated ones too. returns: 0 or -ENOMEM. */
int subnets_add(struct subnets *set, const struct prefix *prefix);

/* The same for all addresses from first to last, both of one family. */
int subnets_add_range(struct subnets *set, const struct addr *first, const struct addr *last);

/* Sorts and merges. To be called once, after the last subnets_add and before any lookup. */
void subnets_seal(struct subnets *set);

/* Is this address in a prefix of the set? A v4-mapped address counts as IPv4. O(log n). */
bool subnets_contain(const struct subnets *set, const struct addr *addr);

/* Do the two sealed sets contain the same addresses? However their prefixes were written. */
bool subnets_equal(const struct subnets *a, const struct subnets *b);

/* Disjoint ranges that the sealed set consists of, both families together; 0 = no address. */
size_t subnets_count(const struct subnets *set);

#endif
