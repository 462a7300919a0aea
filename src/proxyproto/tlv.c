/* SPDX-License-Identifier: BSD-2-Clause */
/* The type-length-values behind the addresses of a version 2 header. */
#include "internal.h"

enum {
    TYPE_ALPN = 0x01,
    TYPE_AUTHORITY = 0x02,
    TYPE_CRC32C = 0x03,
    TYPE_UNIQUE_ID = 0x05,
    TYPE_SSL = 0x20,
    TYPE_AWS = 0xea,
};

/* Sub-TLVs of SSL (section 2.2.6). */
enum { SSL_VERSION = 0x21, SSL_CN = 0x22 };

/* Bits of SSL's first byte: the client has shown a certificate on this connection, or before. */
enum { CLIENT_CERT_CONN = 0x02, CLIENT_CERT_SESS = 0x04 };

enum { AWS_VPCE_ID = 0x01 }; /* first byte of an AWS value: the endpoint's id follows */

enum {
    TLV_HEAD = 3, /* type and two bytes of length */
    CRC32C_LEN = 4,
    UNIQUE_ID_MAX = 128,
    SSL_HEAD = 5, /* client and verify (section 2.2.6) */
};

/* One TLV, given by offsets: the value's first byte and the one behind its last. */
struct tlv {
    uint8_t type;
    size_t value;
    size_t end;
};

enum fit { FIT_OK, FIT_NO_HEAD, FIT_TOO_LONG };

static enum fit next_tlv(const uint8_t *header, size_t from, size_t to, struct tlv *out)
{
    size_t len;

    if (to - from < TLV_HEAD)
        return FIT_NO_HEAD;
    len = load16(header + from + 1);
    out->type = header[from];
    out->value = from + TLV_HEAD;
    out->end = out->value + len;
    return len > to - out->value ? FIT_TOO_LONG : FIT_OK;
}

static const char *check_ssl(const uint8_t *header, const struct tlv *ssl)
{
    size_t at = ssl->value + SSL_HEAD;

    if (ssl->end - ssl->value < SSL_HEAD)
        return "v2 SSL TLV is shorter than 5 bytes";
    while (at < ssl->end) {
        struct tlv sub;

        switch (next_tlv(header, at, ssl->end, &sub)) {
        case FIT_NO_HEAD:
            return "v2 SSL sub-TLV has no room for its type and length";
        case FIT_TOO_LONG:
            return "v2 SSL sub-TLV is longer than what is left of the SSL TLV";
        case FIT_OK:
            at = sub.end;
        }
    }
    return NULL;
}

/* Types that are not known here are skipped, as section 2.2 allows. */
static const char *check_value(const uint8_t *header, const struct tlv *tlv, size_t *crc_at)
{
    switch (tlv->type) {
    case TYPE_CRC32C:
        if (tlv->end - tlv->value != CRC32C_LEN)
            return "v2 CRC32c TLV is not 4 bytes long";
        /* A checksum is made with its own field as zeros: with two there is no right value. */
        if (*crc_at != 0)
            return "v2 CRC32c TLV is repeated";
        *crc_at = tlv->value;
        return NULL;
    case TYPE_UNIQUE_ID:
        return tlv->end - tlv->value > UNIQUE_ID_MAX ? "v2 unique ID is longer than 128 bytes"
                                                     : NULL;
    case TYPE_SSL:
        return check_ssl(header, tlv);
    default:
        return NULL;
    }
}

const char *tlv_walk(const uint8_t *header, size_t from, size_t to, size_t *crc_at)
{
    *crc_at = 0;
    while (from < to) {
        const char *reason = NULL;
        struct tlv tlv;

        switch (next_tlv(header, from, to, &tlv)) {
        case FIT_NO_HEAD:
            return "v2 TLV has no room for its type and length";
        case FIT_TOO_LONG:
            return "v2 TLV is longer than what is left of the header";
        case FIT_OK:
            reason = check_value(header, &tlv, crc_at);
        }
        if (reason)
            return reason;
        from = tlv.end;
    }
    return NULL;
}

static void keep_first(struct proxyproto_text *out, const uint8_t *header, size_t from, size_t end)
{
    if (!out->bytes)
        *out = (struct proxyproto_text){ .bytes = header + from, .len = end - from };
}

static void read_ssl(const uint8_t *header, const struct tlv *ssl, struct proxyproto_facts *out)
{
    const uint8_t *head = header + ssl->value;
    bool has_certificate = (head[0] & (CLIENT_CERT_CONN | CLIENT_CERT_SESS)) != 0;
    bool is_verified = load16(head + 1) == 0 && load16(head + 3) == 0; /* 32 bits of result */
    struct tlv sub;

    out->tls_verified = has_certificate && is_verified;
    for (size_t at = ssl->value + SSL_HEAD;
         at < ssl->end && next_tlv(header, at, ssl->end, &sub) == FIT_OK; at = sub.end) {
        if (sub.type == SSL_VERSION)
            keep_first(&out->tls_version, header, sub.value, sub.end);
        else if (sub.type == SSL_CN)
            keep_first(&out->tls_client_cn, header, sub.value, sub.end);
    }
}

static void read_value(const uint8_t *header, const struct tlv *tlv, bool *has_ssl,
                       struct proxyproto_facts *out)
{
    switch (tlv->type) {
    case TYPE_ALPN:
        keep_first(&out->alpn, header, tlv->value, tlv->end);
        break;
    case TYPE_AUTHORITY:
        keep_first(&out->authority, header, tlv->value, tlv->end);
        break;
    case TYPE_UNIQUE_ID:
        keep_first(&out->unique_id, header, tlv->value, tlv->end);
        break;
    case TYPE_SSL:
        if (!*has_ssl)
            read_ssl(header, tlv, out);
        *has_ssl = true;
        break;
    case TYPE_AWS:
        if (tlv->end > tlv->value && header[tlv->value] == AWS_VPCE_ID)
            keep_first(&out->vpce, header, tlv->value + 1, tlv->end);
        break;
    default:
        break;
    }
}

void proxyproto_facts(const uint8_t *header, const struct proxyproto *parsed,
                      struct proxyproto_facts *out)
{
    bool has_ssl = false;
    struct tlv tlv;

    *out = (struct proxyproto_facts){ .tls_verified = false };
    for (size_t at = parsed->tlvs_at;
         at < parsed->length && next_tlv(header, at, parsed->length, &tlv) == FIT_OK; at = tlv.end)
        read_value(header, &tlv, &has_ssl, out);
}
