/* SPDX-License-Identifier: BSD-2-Clause */
/* special: addresses that no client has, or none from the public network. Pure. */
#ifndef MMPROXY_ROUTING_WANTED_SPECIAL_H
#define MMPROXY_ROUTING_WANTED_SPECIAL_H

#include <stdbool.h>
#include <sys/socket.h>

#include "mmproxy/base/subnets.h"
#include "mmproxy/routing/wanted/region.h"

/* Adds what is no client's address; with is_public, what is no public client's. */
void special_leave_out(struct region_set *gone, sa_family_t family, bool is_public);

/* Has the prefix any public address? */
bool special_is_public(const struct prefix *prefix);

#endif
