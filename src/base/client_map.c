/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/base/client_map.h"

#include <arpa/inet.h>
#include <nettle/hmac.h>
#include <string.h>

enum { NETWORK_LEN = 8 }; /* bytes of a /64 */

struct addr client_map_v4(const struct prefix *prefix, const struct addr *client)
{
    uint8_t bytes[16];
    struct addr mapped;

    memcpy(bytes, addr_bytes(&prefix->addr), CLIENT_MAP_V4_LEN / 8);
    memcpy(bytes + CLIENT_MAP_V4_LEN / 8, addr_bytes(client), 4);
    addr_from_bytes(&mapped, AF_INET6, bytes, addr_port(client));
    return mapped;
}

/* The first 32 bits of HMAC-SHA256 over the network and the number of the try. */
static uint32_t digest(const struct client_map_key *key, const struct addr *client, uint8_t tries)
{
    struct hmac_sha256_ctx context;
    uint32_t word;

    hmac_sha256_set_key(&context, sizeof key->bytes, key->bytes);
    hmac_sha256_update(&context, NETWORK_LEN, addr_bytes(client));
    hmac_sha256_update(&context, sizeof tries, &tries);
    hmac_sha256_digest(&context, sizeof word, (uint8_t *)&word);
    return ntohl(word);
}

struct addr client_map_v6(const struct prefix *subnet, const struct client_map_key *key,
                          const struct addr *client)
{
    uint32_t hosts = subnet->len < 32 ? UINT32_MAX >> subnet->len : 0;
    uint32_t network = ntohl(subnet->addr.in.sin_addr.s_addr);
    uint32_t chosen = UINT32_MAX;
    struct addr mapped;

    /* Each try takes another address with a chance of a half at least. */
    for (unsigned tries = 0; chosen == UINT32_MAX && tries <= UINT8_MAX; tries++)
        chosen = network | (digest(key, client, (uint8_t)tries) & hosts);
    if (chosen == UINT32_MAX)
        chosen = network;
    chosen = htonl(chosen);
    addr_from_bytes(&mapped, AF_INET, (const uint8_t *)&chosen, addr_port(client));
    return mapped;
}
