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

static bool is_same(const struct proxyproto *a, const struct proxyproto *b)
{
    return addr_equal(&a->client, &b->client) && addr_equal(&a->destination, &b->destination) &&
           a->is_local == b->is_local;
}

static void put_v6(uint8_t out[16], const struct addr *addr)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

    if (addr_family(addr) == AF_INET6) {
        memcpy(out, addr_bytes(addr), 16);
        return;
    }
    memcpy(out, mapped, sizeof(mapped));
    memcpy(out + sizeof(mapped), addr_bytes(addr), 4);
}

static void put_port(uint8_t out[2], const struct addr *addr)
{
    out[0] = (uint8_t)(addr_port(addr) >> 8);
    out[1] = (uint8_t)addr_port(addr);
}

/* The same endpoints in a v2 header for IPv6, the one family that both fit in. */
static void check_as_v2(const struct proxyproto *facts)
{
    uint8_t header[16 + 36] = "\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24";
    struct proxyproto again;

    put_v6(header + 16, &facts->client);
    put_v6(header + 32, &facts->destination);
    put_port(header + 48, &facts->client);
    put_port(header + 50, &facts->destination);
    PROPERTY(parse_copy(header, sizeof(header), &again) == PROXYPROTO_OK);
    PROPERTY(again.version == 2 && again.length == sizeof(header) && is_same(facts, &again));
}

/* The same endpoints as a v1 line. */
static void check_as_v1(const struct proxyproto *facts)
{
    bool is_v4 =
        addr_family(&facts->client) == AF_INET && addr_family(&facts->destination) == AF_INET;
    const struct addr *ends[2] = { &facts->client, &facts->destination };
    char hosts[2][ADDR_STRLEN + 8];
    char line[PROXYPROTO_V1_MAX + 1];
    struct proxyproto again;
    int len;

    for (size_t i = 0; i < 2; i++) {
        char text[ADDR_STRLEN];
        bool is_mapped = !is_v4 && addr_family(ends[i]) == AF_INET;

        addr_format_host(ends[i], text);
        snprintf(hosts[i], sizeof(hosts[i]), "%s%s", is_mapped ? "::ffff:" : "", text);
    }
    len = snprintf(line, sizeof(line), "PROXY TCP%c %s %s %u %u\r\n", is_v4 ? '4' : '6', hosts[0],
                   hosts[1], addr_port(ends[0]), addr_port(ends[1]));
    PROPERTY(len > 0 && (size_t)len < sizeof(line));
    PROPERTY(parse_copy((const uint8_t *)line, (size_t)len, &again) == PROXYPROTO_OK);
    PROPERTY(again.version == 1 && again.length == (size_t)len && is_same(facts, &again));
}

static size_t block_len(const uint8_t *header)
{
    return header[13] >> 4 == 1 ? 12 : 36;
}

static bool has_checksum(const uint8_t *header, size_t length)
{
    size_t at = 16 + block_len(header);

    while (at + 3 <= length) {
        if (header[at] == 3)
            return true;
        at += 3 + ((size_t)header[at + 1] << 8 | header[at + 2]);
    }
    return false;
}

/* Where a checksum is right, any other endpoint makes it wrong. */
static void check_checksum(const uint8_t *bytes, const struct proxyproto *out)
{
    uint8_t *copy;

    if (out->version != 2 || out->is_local || !has_checksum(bytes, out->length))
        return;
    copy = malloc(out->length);
    PROPERTY(copy != NULL);
    memcpy(copy, bytes, out->length);
    for (size_t i = 0; i < block_len(bytes); i++) {
        struct proxyproto other;

        copy[16 + i] ^= (uint8_t)(1U << i % 8);
        PROPERTY(proxyproto_parse(copy, out->length, &other) == PROXYPROTO_BAD);
        PROPERTY(is_reason(other.reason));
        copy[16 + i] = bytes[16 + i];
    }
    free(copy);
}

/* Bit by bit, as the polynomial is defined; and in two pieces. */
static void check_crc(const uint8_t *bytes, size_t len)
{
    size_t n = len < COPIED_MAX ? len : COPIED_MAX;
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < 8 * n; i++) {
        if (i % 8 == 0)
            crc ^= bytes[i / 8];
        crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78U : 0);
    }
    PROPERTY(crc32c(0, bytes, n) == ~crc);
    PROPERTY(crc32c(crc32c(0, bytes, n / 3), bytes + n / 3, n - n / 3) == ~crc);
}

static void check_ok(const struct proxyproto *out, size_t len)
{
    PROPERTY(out->length > 0 && out->length <= len);
    PROPERTY(out->version == 1 || out->version == 2);
    PROPERTY(out->length <= (out->version == 1 ? PROXYPROTO_V1_MAX : PROXYPROTO_MAX));
    PROPERTY(addr_is_set(&out->client) == !out->is_local);
    if (!out->is_local) {
        check_endpoint(&out->client);
        check_endpoint(&out->destination);
        check_as_v2(out);
        check_as_v1(out);
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
        PROPERTY(verdict != PROXYPROTO_OK || (n >= out.length && is_same(&out, final)));
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
    PROPERTY(out.length == final->length && is_same(&out, final));
    PROPERTY(parse_copy(bytes, final->length - 1, &out) == PROXYPROTO_MORE);
    PROPERTY(out.needed == final->length);
}

/* A header looks like nothing else; silence is told, and everything else starts alike. */
static void check_diagnosis(const uint8_t *bytes, size_t len, enum proxyproto_verdict verdict)
{
    size_t n = len < COPIED_MAX ? len : COPIED_MAX;
    uint8_t *copy = malloc(n > 0 ? n : 1);
    const char *diagnosis;

    PROPERTY(copy != NULL);
    if (n > 0)
        memcpy(copy, bytes, n);
    diagnosis = proxyproto_diagnose(copy, n);
    PROPERTY(verdict != PROXYPROTO_OK || diagnosis == NULL);
    PROPERTY(len > 0 || diagnosis != NULL);
    PROPERTY(len == 0 || diagnosis == NULL || strncmp(diagnosis, "looks like ", 11) == 0);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct proxyproto out;
    enum proxyproto_verdict verdict = parse_copy(bytes, len, &out);

    switch (verdict) {
    case PROXYPROTO_OK:
        check_ok(&out, len);
        check_exact(bytes, &out);
        check_checksum(bytes, &out);
        break;
    case PROXYPROTO_MORE:
        PROPERTY(out.needed > len && out.needed <= PROXYPROTO_MAX);
        break;
    case PROXYPROTO_BAD:
        PROPERTY(is_reason(out.reason));
        break;
    }
    check_prefixes(bytes, len, verdict, &out);
    check_crc(bytes, len);
    check_diagnosis(bytes, len, verdict);
    return 0;
}
