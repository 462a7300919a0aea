/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/proxyproto/proxyproto.h"

#include "internal.h"

/* "PROXY UNKNOWN" and CRLF, section 2.1: no header of either version is shorter. */
enum { SHORTEST = 15 };

/* The first byte tells the versions apart: 'P' or the CR of the v2 signature (section 2.2). */
enum proxyproto_verdict proxyproto_parse(const uint8_t *bytes, size_t len, struct proxyproto *out)
{
    *out = (struct proxyproto){ .reason = NULL };
    if (len == 0)
        return verdict_more(out, SHORTEST);
    if (bytes[0] == 'P')
        return v1_parse(bytes, len, out);
    if (bytes[0] == '\r')
        return v2_parse(bytes, len, CARRIER_STREAM, out);
    return verdict_bad(out, REASON_NO_HEADER);
}

enum proxyproto_verdict proxyproto_parse_datagram(const uint8_t *bytes, size_t len,
                                                  struct proxyproto *out)
{
    *out = (struct proxyproto){ .reason = NULL };
    if (len == 0)
        return verdict_bad(out, REASON_NO_HEADER);
    if (bytes[0] == 'P' && v1_parse(bytes, len, out) != PROXYPROTO_BAD)
        return verdict_bad(out, "v1 header in a datagram: only v2 can say UDP");
    enum proxyproto_verdict verdict = v2_parse(bytes, len, CARRIER_DATAGRAM, out);
    return verdict == PROXYPROTO_MORE ? verdict_bad(out, "v2 header is longer than the datagram")
                                      : verdict;
}

bool proxyproto_begins(const uint8_t *bytes, size_t len)
{
    struct proxyproto out = { .reason = NULL };

    return v2_begins(bytes, len) ||
           (len > 0 && bytes[0] == 'P' && v1_parse(bytes, len, &out) == PROXYPROTO_OK);
}
