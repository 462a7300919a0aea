/* SPDX-License-Identifier: BSD-2-Clause */
/* own_addresses: those of this host's interfaces, while a configuration is checked. */
#ifndef CONFIG_OWN_ADDRESSES_H
#define CONFIG_OWN_ADDRESSES_H

#include <stdbool.h>

#include "mmproxy/base/subnets.h"

enum { OWN_NETWORK_STRLEN = ADDR_STRLEN + 4 };

bool prefix_overlaps(const struct prefix *a, const struct prefix *b);

/* returns: the first of them, or of their broadcast addresses, in the prefix, as text in buf; NULL:
 * there is none. */
const char *own_addresses_find(const struct prefix *prefix, char buf[ADDR_STRLEN]);

/*
 * returns: a network that this host is in and that overlaps the prefix, as text in buf, with the
 * host's address: "192.0.2.7/24"; NULL: there is none.
 */
const char *own_addresses_find_network(const struct prefix *prefix, char buf[OWN_NETWORK_STRLEN]);

/* Is it one of them, or on loopback? The port does not count. */
bool own_addresses_contain(const struct addr *addr);

#endif
