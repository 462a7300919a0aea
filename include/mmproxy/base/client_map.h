/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client_map: the address by which a client of one family reaches a service of the other. Pure: the
 * same client has the same address on every host with the same prefix and key.
 */
#ifndef MMPROXY_BASE_CLIENT_MAP_H
#define MMPROXY_BASE_CLIENT_MAP_H

#include <stdint.h>

#include "mmproxy/base/subnets.h"

enum { CLIENT_MAP_V4_LEN = 96, CLIENT_MAP_KEY_LEN = 32 };

struct client_map_key {
    uint8_t bytes[CLIENT_MAP_KEY_LEN];
};

/*
 * An IPv4 client in an IPv6 prefix of 96 bits; the port stays.
 * spec: RFC 6052, section 2.2
 */
struct addr client_map_v4(const struct prefix *prefix, const struct addr *client);

/*
 * An IPv6 client in an IPv4 subnet; the port stays. All addresses of a /64 have one address there,
 * which without the key can't be told, nor be made to be that of another client.
 * 255.255.255.255 is never chosen; the subnet has another address.
 */
struct addr client_map_v6(const struct prefix *subnet, const struct client_map_key *key,
                          const struct addr *client);

#endif
