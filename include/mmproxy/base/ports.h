/* SPDX-License-Identifier: BSD-2-Clause */
/* ports: ranges of TCP or UDP ports, and lists of them, as plain values. */
#ifndef MMPROXY_BASE_PORTS_H
#define MMPROXY_BASE_PORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "mmproxy/base/addr.h"

/* Both ends belong to it; last is never below first. */
struct port_range {
    uint16_t first;
    uint16_t last;
};

enum { PORT_LIST_MAX = 32 };

/* Sorted, and no two touch one another. n 0: no port at all. */
struct port_list {
    unsigned n;
    struct port_range items[PORT_LIST_MAX];
};

/* An address with its ports. */
struct addr_range {
    struct addr addr; /* with the first port */
    uint16_t last;
};

/* Room for "[IPv6%scope]:65534-65535" and its NUL. */
#define ADDR_RANGE_STRLEN (ADDR_STRLEN + 6)

/* "8000-8099,9000", blanks around commas. returns: NULL, or the reason as a static string. */
const char *port_list_parse(struct port_list *out, const char *text);

/*
 * Adds a range; it may touch others. returns: false: the list is full and as it was.
 */
bool port_list_add(struct port_list *list, struct port_range range);

bool port_list_contains(const struct port_list *list, uint16_t port);

/* "ADDR:PORT" or "ADDR:FIRST-LAST", as addr_parse takes it. returns: as addr_parse. */
const char *addr_range_parse(struct addr_range *out, const char *text);

/* The same back: "ADDR:PORT" where there is one port only; returns buf. */
const char *addr_range_format(const struct addr_range *range, char buf[ADDR_RANGE_STRLEN]);

/* How many ports. */
unsigned addr_range_count(const struct addr_range *range);

/* The address and the port that is index behind the first one. */
struct addr addr_range_at(const struct addr_range *range, unsigned index);

/* Is it that address, and one of the ports? */
bool addr_range_contains(const struct addr_range *range, const struct addr *addr);

bool addr_range_equal(const struct addr_range *a, const struct addr_range *b);

#endif
