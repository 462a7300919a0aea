/* SPDX-License-Identifier: BSD-2-Clause */
/* The headers of UDP: the input is one datagram, for PROXY v2 and for the Simple Proxy Protocol. */
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "mmproxy/proxyproto/proxyproto.h"
#include "mmproxy/proxyproto/spp.h"

static void check_endpoint(const struct addr *addr)
{
    struct addr unmapped = *addr;

    PROPERTY(addr_family(addr) == AF_INET || addr_family(addr) == AF_INET6);
    addr_unmap(&unmapped);
    PROPERTY(addr_equal(addr, &unmapped));
}

static void check_text(struct proxyproto_text text, const uint8_t *bytes, size_t length)
{
    if (!text.bytes)
        PROPERTY(text.len == 0);
    else
        PROPERTY(text.bytes >= bytes && text.bytes + text.len <= bytes + length);
}

static void check_facts(const uint8_t *bytes, const struct proxyproto *parsed)
{
    struct proxyproto_facts facts;

    proxyproto_facts(bytes, parsed, &facts);
    check_text(facts.unique_id, bytes, parsed->length);
    check_text(facts.authority, bytes, parsed->length);
    check_text(facts.alpn, bytes, parsed->length);
    check_text(facts.tls_version, bytes, parsed->length);
    check_text(facts.tls_client_cn, bytes, parsed->length);
    check_text(facts.vpce, bytes, parsed->length);
    PROPERTY(facts.unique_id.len <= 128);
}

/* A stream would say the same of the header, but for the transport that it has to name. */
static void check_as_stream(const uint8_t *bytes, const struct proxyproto *parsed)
{
    struct proxyproto other;
    enum proxyproto_verdict verdict = proxyproto_parse(bytes, parsed->length, &other);

    if (parsed->is_local)
        PROPERTY(verdict == PROXYPROTO_OK && other.length == parsed->length && other.is_local);
    else
        PROPERTY(verdict == PROXYPROTO_BAD);
}

static void check_v2(const uint8_t *bytes, size_t len)
{
    struct proxyproto out;
    enum proxyproto_verdict verdict = proxyproto_parse_datagram(bytes, len, &out);

    PROPERTY(verdict != PROXYPROTO_MORE);
    if (verdict == PROXYPROTO_BAD) {
        PROPERTY(out.reason != NULL && strlen(out.reason) > 0);
        PROPERTY(!proxyproto_begins(bytes, len) ||
                 strcmp(out.reason, "not a PROXY protocol header") != 0);
        return;
    }
    PROPERTY(proxyproto_begins(bytes, len));
    PROPERTY(out.version == 2 && out.length >= PROXYPROTO_V2_MIN && out.length <= len);
    PROPERTY(out.tlvs_at >= PROXYPROTO_V2_MIN && out.tlvs_at <= out.length);
    PROPERTY(addr_is_set(&out.client) == !out.is_local);
    if (!out.is_local) {
        check_endpoint(&out.client);
        check_endpoint(&out.destination);
    }
    check_facts(bytes, &out);
    check_as_stream(bytes, &out);

    struct proxyproto shorter;
    PROPERTY(proxyproto_parse_datagram(bytes, out.length - 1, &shorter) == PROXYPROTO_BAD);
}

static void check_spp(const uint8_t *bytes, size_t len)
{
    uint8_t written[SPP_LEN];
    struct spp out;

    if (spp_parse(bytes, len, &out) != NULL) {
        PROPERTY(len < SPP_LEN || bytes[0] != 0x56 || bytes[1] != 0xec);
        return;
    }
    check_endpoint(&out.client);
    check_endpoint(&out.proxy);
    spp_write(written, &out);
    PROPERTY(memcmp(written, bytes, SPP_LEN) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = calloc(1, len > 0 ? len : 1);

    PROPERTY(copy != NULL);
    if (len > 0)
        memcpy(copy, bytes, len);
    check_v2(copy, len);
    check_spp(copy, len);
    free(copy);
    return 0;
}
