/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proxyproto: the PROXY protocol header, versions 1 and 2, from bytes to facts.
 *
 * Pure: no I/O, no allocation, no logging, no state between calls. The caller passes the
 * bytes it has so far, always from the connection's first one; a verdict other than
 * PROXYPROTO_MORE never changes when more bytes follow.
 *
 * spec: HAProxy's doc/proxy-protocol.txt; sections are named at the code.
 */
#ifndef MMPROXY_PROXYPROTO_PROXYPROTO_H
#define MMPROXY_PROXYPROTO_PROXYPROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmproxy/base/addr.h"

enum {
    PROXYPROTO_V1_MAX = 107,     /* bytes, CRLF included (section 2.1) */
    PROXYPROTO_V2_MIN = 16,      /* the fixed part (section 2.2) */
    PROXYPROTO_MAX = 16 + 65535, /* the longest header there is */
};

enum proxyproto_verdict {
    PROXYPROTO_OK,   /* a whole, good header: length bytes, client and flags are valid */
    PROXYPROTO_MORE, /* a proper prefix of what may still be a good header; needed is valid */
    PROXYPROTO_BAD,  /* never a header whatever follows: reason is valid */
};

struct proxyproto {
    const char *reason; /* BAD: static, a phrase: "v1 line is not terminated" */
    size_t length;      /* OK: bytes of the header; what follows belongs to the client */
    size_t needed;      /* MORE: the header is at least that long, more than was passed */
    size_t tlvs_at;     /* OK: where the TLVs begin; length where there are none to be read */
    unsigned version;   /* OK: 1 or 2 */
    /* OK: "use the real endpoints": UNKNOWN (v1), LOCAL or AF_UNSPEC (v2). */
    bool is_local;
    struct addr client;      /* OK and not is_local: v4-mapped ones have become IPv4 */
    struct addr destination; /* the same: the address that the client connected to */
};

/*
 * Judges the first len bytes of a connection. len may be 0 (MORE). O(1) for every MORE of a
 * v2 header, so feeding it byte by byte costs no more than feeding it whole: TLVs and the
 * CRC32c are looked at once, when the header is complete.
 */
enum proxyproto_verdict proxyproto_parse(const uint8_t *bytes, size_t len, struct proxyproto *out);

/*
 * Judges one whole datagram, which is to begin with a v2 header for UDP. LOCAL, AF_UNSPEC and
 * an unspecified transport mean the same as in a stream.
 * returns: OK or BAD, never MORE.
 */
enum proxyproto_verdict proxyproto_parse_datagram(const uint8_t *bytes, size_t len,
                                                  struct proxyproto *out);

/*
 * Is this datagram meant to begin with a header, be it a good one or not? v2's signature says so,
 * and so does a whole header of v1.
 */
bool proxyproto_begins(const uint8_t *bytes, size_t len);

/* Bytes of a header; NULL and 0 where it does not say. Any byte may be among them. */
struct proxyproto_text {
    const uint8_t *bytes;
    size_t len;
};

/* Facts about the client from the TLVs of a header (sections 2.2.1 to 2.2.8). */
struct proxyproto_facts {
    struct proxyproto_text unique_id;
    struct proxyproto_text authority;     /* the name that the client asked for: SNI */
    struct proxyproto_text alpn;          /* the protocol that it agreed on */
    struct proxyproto_text tls_version;   /* such as "TLSv1.3" */
    struct proxyproto_text tls_client_cn; /* common name of the client's certificate */
    bool tls_verified;                    /* it showed a certificate, and that was verified */
    struct proxyproto_text vpce;          /* id of an AWS VPC endpoint (type 0xEA, subtype 1) */
};

/*
 * header: the bytes that proxyproto_parse or proxyproto_parse_datagram found OK, with *parsed its
 * result. The result points into them. If a type is repeated, the first one counts.
 */
void proxyproto_facts(const uint8_t *header, const struct proxyproto *parsed,
                      struct proxyproto_facts *out);

/*
 * The likely protocol of bytes that are no header. For the log line only.
 * returns: a static phrase such as "looks like a TLS ClientHello (is the PROXY protocol
 * switched on at the load balancer?)", or NULL where they look like nothing known. len 0
 * diagnoses silence.
 */
const char *proxyproto_diagnose(const uint8_t *bytes, size_t len);

/* CRC32c (Castagnoli), as section 2.2.3 wants it; crc is 0 for the first piece. */
uint32_t crc32c(uint32_t crc, const uint8_t *bytes, size_t len);

#endif
