/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the files of proxyproto alone. */
#ifndef MMPROXY_PROXYPROTO_INTERNAL_H
#define MMPROXY_PROXYPROTO_INTERNAL_H

#include <stdbool.h>

#include "mmproxy/proxyproto/proxyproto.h"

#define REASON_NO_HEADER "not a PROXY protocol header"

/* The transport of a header, which has to say the same. */
enum carrier { CARRIER_STREAM, CARRIER_DATAGRAM };

/* Both: as proxyproto_parse, for bytes whose first one is the version's; out is all zero. */
enum proxyproto_verdict v1_parse(const uint8_t *bytes, size_t len, struct proxyproto *out);
enum proxyproto_verdict v2_parse(const uint8_t *bytes, size_t len, enum carrier carrier,
                                 struct proxyproto *out);

/* Do these bytes begin with v2's signature? */
bool v2_begins(const uint8_t *bytes, size_t len);

/*
 * Walks the TLVs between two offsets of a whole v2 header and checks what can be said of each
 * by itself. *crc_at: offset of the CRC32c's 4 bytes, 0 where there is none.
 * returns: NULL, or what is wrong as a static phrase.
 * spec: sections 2.2 to 2.2.8
 */
const char *tlv_walk(const uint8_t *header, size_t from, size_t to, size_t *crc_at);

static inline uint16_t load16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline enum proxyproto_verdict verdict_bad(struct proxyproto *out, const char *reason)
{
    *out = (struct proxyproto){ .reason = reason };
    return PROXYPROTO_BAD;
}

static inline enum proxyproto_verdict verdict_more(struct proxyproto *out, size_t needed)
{
    *out = (struct proxyproto){ .needed = needed };
    return PROXYPROTO_MORE;
}

#endif
