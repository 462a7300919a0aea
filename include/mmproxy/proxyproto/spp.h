/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spp: the header of Cloudflare's Simple Proxy Protocol, which stands in front of every datagram
 * and of every reply. Pure, as proxyproto.h.
 *
 * 38 bytes in network order: magic 0x56EC, client address (16), proxy address (16), client
 * port (2), proxy port (2). An IPv4 address is v4-mapped.
 *
 * spec: Cloudflare's documentation of Spectrum, "Simple Proxy Protocol for UDP"
 */
#ifndef MMPROXY_PROXYPROTO_SPP_H
#define MMPROXY_PROXYPROTO_SPP_H

#include <stddef.h>
#include <stdint.h>

#include "mmproxy/base/addr.h"

enum { SPP_LEN = 38 }; /* bytes */

struct spp {
    struct addr client; /* v4-mapped ones have become IPv4 */
    struct addr proxy;  /* the address that the client sent to; the same */
};

/* Judges one whole datagram. returns: NULL with *out filled in, or what is wrong, static. */
const char *spp_parse(const uint8_t *bytes, size_t len, struct spp *out);

/* Writes the header: the same bytes that spp_parse has read. */
void spp_write(uint8_t out[SPP_LEN], const struct spp *header);

#endif
