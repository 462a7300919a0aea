/* SPDX-License-Identifier: BSD-2-Clause */
/* The PROXY header: the input is the first bytes of a connection. */
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "mmproxy/proxyproto/proxyproto.h"

/* Prefixes up to here are parsed from copies of their own size: reads too far are seen. */
enum { COPIED_MAX = 160 };

static enum proxyproto_verdict parse_copy(const uint8_t *bytes, size_t len, struct proxyproto *out)
{
    uint8_t *copy = malloc(len);
    enum proxyproto_verdict verdict;

    PROPERTY(copy != NULL || len == 0);
    if (len > 0)
        memcpy(copy, bytes, len);
    verdict = proxyproto_parse(copy, len, out);
    free(copy);
    return verdict;
}

static bool is_reason(const char *reason)
{
    return reason != NULL && (strncmp(reason, "v1 ", 3) == 0 || strncmp(reason, "v2 ", 3) == 0 ||
                              strcmp(reason, "not a PROXY protocol header") == 0);
}

static void check_endpoint(const struct addr *addr)
{
    struct addr unmapped = *addr;
    struct addr parsed;
    char text[ADDR_STRLEN];

    PROPERTY(addr_family(addr) == AF_INET || addr_family(addr) == AF_INET6);
    addr_unmap(&unmapped);
    PROPERTY(addr_equal(addr, &unmapped));
    PROPERTY(strlen(addr_format(addr, text)) < ADDR_STRLEN);
    PROPERTY(addr_port(addr) == 0 || addr_parse(&parsed, text) == NULL);
    PROPERTY(addr_port(addr) == 0 || addr_equal(addr, &parsed));
}

static void check_ok(const struct proxyproto *out, size_t len)
{
    PROPERTY(out->length > 0 && out->length <= len);
    PROPERTY(out->version == 1 || out->version == 2);
    PROPERTY(out->length <= (out->version == 1 ? PROXYPROTO_V1_MAX : PROXYPROTO_MAX));
    PROPERTY(out->is_local || !out->is_health_check);
    PROPERTY(addr_is_set(&out->client) == !out->is_local);
    if (!out->is_local) {
        check_endpoint(&out->client);
        check_endpoint(&out->destination);
    }
}

/* A whole header ends where it says, whatever length it is cut or followed by. */
static void check_prefixes(const uint8_t *bytes, size_t len, enum proxyproto_verdict last,
                           const struct proxyproto *final)
{
    bool is_decided = false;

    for (size_t n = 0; n < len; n++) {
        struct proxyproto out;
        enum proxyproto_verdict verdict =
            n <= COPIED_MAX ? parse_copy(bytes, n, &out) : proxyproto_parse(bytes, n, &out);

        if (verdict == PROXYPROTO_MORE) {
            PROPERTY(!is_decided);
            PROPERTY(out.needed > n && out.needed <= PROXYPROTO_MAX);
            PROPERTY(last != PROXYPROTO_OK || out.needed <= final->length);
            PROPERTY(last != PROXYPROTO_MORE || out.needed <= final->needed);
            continue;
        }
        PROPERTY(verdict == last);
        PROPERTY(out.reason == final->reason && out.length == final->length);
        PROPERTY(verdict != PROXYPROTO_OK || addr_equal(&out.client, &final->client));
        /* Every byte of a long tail would only repeat it. */
        if (is_decided && n > COPIED_MAX)
            return;
        is_decided = true;
    }
}

/* What stands behind a header changes nothing; one byte less of it is not enough. */
static void check_exact(const uint8_t *bytes, const struct proxyproto *final)
{
    struct proxyproto out;

    PROPERTY(parse_copy(bytes, final->length, &out) == PROXYPROTO_OK);
    PROPERTY(out.length == final->length && addr_equal(&out.client, &final->client));
    PROPERTY(parse_copy(bytes, final->length - 1, &out) == PROXYPROTO_MORE);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct proxyproto out;
    enum proxyproto_verdict verdict = parse_copy(bytes, len, &out);

    switch (verdict) {
    case PROXYPROTO_OK:
        check_ok(&out, len);
        check_exact(bytes, &out);
        break;
    case PROXYPROTO_MORE:
        PROPERTY(out.needed > len && out.needed <= PROXYPROTO_MAX);
        break;
    case PROXYPROTO_BAD:
        PROPERTY(is_reason(out.reason));
        break;
    }
    check_prefixes(bytes, len, verdict, &out);
    PROPERTY(verdict != PROXYPROTO_OK || proxyproto_diagnose(bytes, len) == NULL);
    PROPERTY(proxyproto_diagnose(bytes, 0) != NULL);
    return 0;
}
