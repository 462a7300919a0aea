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
        return v2_parse(bytes, len, out);
    return verdict_bad(out, REASON_NO_HEADER);
}
