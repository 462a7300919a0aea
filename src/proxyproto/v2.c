/* SPDX-License-Identifier: BSD-2-Clause */
/* The binary header (section 2.2). Offsets count from the header's first byte. */
#include <string.h>

#include "internal.h"

enum { COMMAND_LOCAL, COMMAND_PROXY };
enum { FAMILY_UNSPEC, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX };
enum { TRANSPORT_UNSPEC, TRANSPORT_STREAM, TRANSPORT_DGRAM };

enum {
    SIGNATURE_LEN = 12,
    AT_COMMAND = 12, /* version and command, a nibble each */
    AT_FAMILY = 13,  /* address family and transport protocol, a nibble each */
    AT_LENGTH = 14,
};

static const uint8_t signature[SIGNATURE_LEN] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                                  0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

bool v2_begins(const uint8_t *bytes, size_t len)
{
    return len >= sizeof signature && memcmp(bytes, signature, sizeof signature) == 0;
}

static unsigned command_of(const uint8_t *header)
{
    return header[AT_COMMAND] & 0x0f;
}

static unsigned family_of(const uint8_t *header)
{
    return header[AT_FAMILY] >> 4;
}

static unsigned transport_of(const uint8_t *header)
{
    return header[AT_FAMILY] & 0x0f;
}

/* Bytes of both addresses and ports; 0 where the specification names no size. */
static size_t block_size(const uint8_t *header)
{
    static const uint8_t sizes[] = {
        [FAMILY_INET] = 2 * 4 + 2 * 2, [FAMILY_INET6] = 2 * 16 + 2 * 2, [FAMILY_UNIX] = 2 * 108
    };
    unsigned family = family_of(header);

    return family < sizeof sizes ? sizes[family] : 0;
}

/*
 * LOCAL's family is ignored, so any value of it is fine. AF_UNSPEC, and TCP's families with an
 * unspecified transport, are fair too: their addresses are to be ignored.
 */
static bool is_local(const uint8_t *header)
{
    return command_of(header) == COMMAND_LOCAL || family_of(header) == FAMILY_UNSPEC ||
           transport_of(header) == TRANSPORT_UNSPEC;
}

static const char *check_family(const uint8_t *header, enum carrier carrier)
{
    bool is_datagram = carrier == CARRIER_DATAGRAM;

    if (command_of(header) == COMMAND_LOCAL)
        return NULL;
    if (family_of(header) > FAMILY_UNIX)
        return "v2 address family is not assigned";
    if (transport_of(header) > TRANSPORT_DGRAM)
        return "v2 transport protocol is not assigned";
    if (family_of(header) == FAMILY_UNIX)
        return is_datagram ? "v2 header says UNIX socket, not UDP"
                           : "v2 header says UNIX socket, not TCP";
    if (is_local(header))
        return NULL;
    if (transport_of(header) == TRANSPORT_DGRAM && !is_datagram)
        return "v2 header says UDP, not TCP";
    if (transport_of(header) == TRANSPORT_STREAM && is_datagram)
        return "v2 header says TCP, not UDP";
    return NULL;
}

/* Judges the bytes of the fixed part that are there; a mistake is reported at its own byte. */
static const char *check_fixed(const uint8_t *bytes, size_t len, enum carrier carrier)
{
    if (memcmp(bytes, signature, len < SIGNATURE_LEN ? len : SIGNATURE_LEN) != 0)
        return REASON_NO_HEADER;
    if (len > AT_COMMAND && bytes[AT_COMMAND] >> 4 != 2)
        return "v2 version is not 2";
    if (len > AT_COMMAND && command_of(bytes) > COMMAND_PROXY)
        return "v2 command is neither LOCAL nor PROXY";
    if (len > AT_FAMILY) {
        const char *reason = check_family(bytes, carrier);
        if (reason)
            return reason;
    }
    if (len >= PROXYPROTO_V2_MIN && !is_local(bytes) &&
        load16(bytes + AT_LENGTH) < block_size(bytes))
        return "v2 length is too short for the addresses";
    return NULL;
}

static const char *check_crc(const uint8_t *header, size_t length, size_t crc_at)
{
    static const uint8_t zeros[4];
    const uint8_t *field = header + crc_at;
    uint32_t received = (uint32_t)load16(field) << 16 | load16(field + 2);
    uint32_t crc = crc32c(0, header, crc_at);

    crc = crc32c(crc, zeros, sizeof zeros);
    crc = crc32c(crc, field + sizeof zeros, length - crc_at - sizeof zeros);
    return crc == received ? NULL : "v2 CRC32c does not match";
}

/*
 * Headers that name no client must be accepted with whatever they carry, and skipped by their
 * length; what is there need not be TLVs. A checksum that is found must be right all the same.
 *
 * AWS's health checks are LOCAL over AF_INET with TLVs where the addresses belong, and enough
 * of them to be taken for addresses. So bytes that walk as TLVs are TLVs, but zeros are an
 * address block, though they would walk as well.
 */
static const char *finish_local(const uint8_t *header, struct proxyproto *out)
{
    size_t block = block_size(header);
    size_t end = out->length;
    size_t crc_at;
    bool is_walkable = !tlv_walk(header, PROXYPROTO_V2_MIN, end, &crc_at);
    bool has_block = block != 0 && end - PROXYPROTO_V2_MIN >= block &&
                     (!is_walkable || header[PROXYPROTO_V2_MIN] == 0);

    if (has_block)
        is_walkable = !tlv_walk(header, PROXYPROTO_V2_MIN + block, end, &crc_at);
    out->is_local = true;
    out->tlvs_at = end;
    return is_walkable && crc_at != 0 ? check_crc(header, end, crc_at) : NULL;
}

static const char *finish_proxied(const uint8_t *header, struct proxyproto *out)
{
    bool is_v4 = family_of(header) == FAMILY_INET;
    sa_family_t family = is_v4 ? AF_INET : AF_INET6;
    size_t size = is_v4 ? 4 : 16;
    const uint8_t *source = header + PROXYPROTO_V2_MIN;
    const uint8_t *ports = source + 2 * size;
    size_t crc_at;

    out->tlvs_at = PROXYPROTO_V2_MIN + block_size(header);
    const char *reason = tlv_walk(header, out->tlvs_at, out->length, &crc_at);
    if (!reason && crc_at != 0)
        reason = check_crc(header, out->length, crc_at);
    addr_from_bytes(&out->client, family, source, load16(ports));
    addr_from_bytes(&out->destination, family, source + size, load16(ports + 2));
    addr_unmap(&out->client);
    addr_unmap(&out->destination);
    return reason;
}

enum proxyproto_verdict v2_parse(const uint8_t *bytes, size_t len, enum carrier carrier,
                                 struct proxyproto *out)
{
    const char *reason = check_fixed(bytes, len, carrier);

    if (reason)
        return verdict_bad(out, reason);
    if (len < PROXYPROTO_V2_MIN)
        return verdict_more(out, PROXYPROTO_V2_MIN);
    out->length = PROXYPROTO_V2_MIN + (size_t)load16(bytes + AT_LENGTH);
    if (len < out->length)
        return verdict_more(out, out->length);
    out->version = 2;
    reason = is_local(bytes) ? finish_local(bytes, out) : finish_proxied(bytes, out);
    return reason ? verdict_bad(out, reason) : PROXYPROTO_OK;
}
