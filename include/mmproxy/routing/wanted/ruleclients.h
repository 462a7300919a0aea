/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ruleclients: the clients that the rules of a firewall name. Such a rule may treat them
 * differently from the client that the checks use. Pure; it reads the same text as ruleset.
 */
#ifndef MMPROXY_ROUTING_WANTED_RULECLIENTS_H
#define MMPROXY_ROUTING_WANTED_RULECLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmproxy/base/subnets.h"

/* One kind of client. */
struct ruleclients {
    struct prefix prefix; /* len 0: all addresses */
    uint16_t first_port;  /* both 0: all ports */
    uint16_t last_port;
};

/*
 * Prefixes of the family that have public addresses, and wide ranges of ports; each once, the
 * largest first. Single addresses and networks of a few are left out: those are banned on purpose.
 * returns: how many there are, max at the most.
 */
size_t ruleclients_find(const char *text, sa_family_t family, struct ruleclients *out, size_t max);

#endif
