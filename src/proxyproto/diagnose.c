/* SPDX-License-Identifier: BSD-2-Clause */
/* The likely protocol of bytes that are no header: TLS, SSH, HTTP, SMTP or silence. */
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "mmproxy/proxyproto/proxyproto.h"

#define ASK                                                                  \
    " (is the PROXY protocol switched on at the load balancer?); for peers " \
    "without it: direct_subnets"

static bool starts_with_one_of(const uint8_t *bytes, size_t len, const char *const *words)
{
    for (; *words; words++) {
        size_t n = strlen(*words);

        if (len >= n && memcmp(bytes, *words, n) == 0)
            return true;
    }
    return false;
}

/* A handshake record of SSL 3.0 to TLS 1.3 whose first message, if it is there, is that one. */
static bool is_client_hello(const uint8_t *bytes, size_t len)
{
    if (len < 3 || bytes[0] != 0x16 || bytes[1] != 3 || bytes[2] > 4)
        return false;
    return len < 6 || bytes[5] == 1;
}

static bool is_http(const uint8_t *bytes, size_t len)
{
    static const char *const methods[] = {
        "GET ",   "HEAD ",  "POST ",     "PUT ",       "DELETE ",  "CONNECT ", "OPTIONS ",
        "TRACE ", "PATCH ", "PROPFIND ", "PROPPATCH ", "PRI * HT", NULL,
    };

    return starts_with_one_of(bytes, len, methods);
}

/* SMTP's words are of any case (RFC 5321, section 2.4). */
static bool is_smtp(const uint8_t *bytes, size_t len)
{
    static const char words[][6] = { "EHLO ", "HELO ", "LHLO " };

    for (size_t i = 0; len >= 5 && i < sizeof words / sizeof words[0]; i++) {
        if (strncasecmp((const char *)bytes, words[i], 5) == 0)
            return true;
    }
    return false;
}

const char *proxyproto_diagnose(const uint8_t *bytes, size_t len)
{
    static const char *const ssh[] = { "SSH-", NULL };

    if (len == 0)
        return "nothing was sent (AWS NLB sends its header only with the client's first byte, "
               "so protocols where the server speaks first stall behind it)";
    if (is_client_hello(bytes, len))
        return "looks like a TLS ClientHello" ASK;
    if (starts_with_one_of(bytes, len, ssh))
        return "looks like an SSH client" ASK;
    if (is_http(bytes, len))
        return "looks like an HTTP request" ASK;
    if (is_smtp(bytes, len))
        return "looks like an SMTP client" ASK;
    return NULL;
}
