/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/notes.h"

#include <stdlib.h>
#include <string.h>

enum note { UNIQUE_ID, AUTHORITY, ALPN, TLS_VERSION, TLS_CLIENT_CN, VPCE, NOTES };

static const char *const keys[NOTES] = {
    [UNIQUE_ID] = "unique_id",     [AUTHORITY] = "authority",         [ALPN] = "alpn",
    [TLS_VERSION] = "tls_version", [TLS_CLIENT_CN] = "tls_client_cn", [VPCE] = "vpce",
};

_Static_assert(NOTES_FIELDS_MAX == NOTES + 1, "tls_verified is one more");

/* Each text has a NUL behind it, which len does not count. */
struct notes {
    bool tls_verified;
    uint16_t lens[NOTES];
    char texts[];
};

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

size_t notes_cut(const struct proxyproto_text *text)
{
    size_t cut = LOG_BYTES_MAX;

    if (text->len <= LOG_BYTES_MAX)
        return text->len;
    /* A character has three continuation bytes at the most; longer runs are no UTF-8. */
    for (size_t back = 0; back <= 3; back++)
        if (!is_continuation(text->bytes[cut - back]))
            return cut - back;
    return cut;
}

static void collect(const struct proxyproto_facts *facts, struct proxyproto_text texts[NOTES])
{
    texts[UNIQUE_ID] = facts->unique_id;
    texts[AUTHORITY] = facts->authority;
    texts[ALPN] = facts->alpn;
    texts[TLS_VERSION] = facts->tls_version;
    texts[TLS_CLIENT_CN] = facts->tls_client_cn;
    texts[VPCE] = facts->vpce;
}

struct notes *notes_new(const struct proxyproto_facts *facts)
{
    struct proxyproto_text texts[NOTES];
    size_t size = 0;

    collect(facts, texts);
    for (int i = 0; i < NOTES; i++) {
        texts[i].len = notes_cut(&texts[i]);
        size += texts[i].len + 1;
    }
    if (size == NOTES)
        return NULL;
    struct notes *notes = calloc(1, sizeof *notes + size);
    if (!notes)
        return NULL;
    notes->tls_verified = facts->tls_verified;
    char *at = notes->texts;
    for (int i = 0; i < NOTES; i++) {
        notes->lens[i] = (uint16_t)texts[i].len;
        if (texts[i].len > 0)
            memcpy(at, texts[i].bytes, texts[i].len);
        at += texts[i].len + 1;
    }
    return notes;
}

size_t notes_fields(const struct notes *notes, struct log_field *fields)
{
    const char *at = notes->texts;
    size_t n = 0;

    for (int i = 0; i < NOTES; i++) {
        if (notes->lens[i] > 0)
            fields[n++] = LOG_BYTES(keys[i], at, notes->lens[i]);
        if (notes->lens[i] > 0 && i == TLS_CLIENT_CN)
            fields[n++] = LOG_FLAG("tls_verified", notes->tls_verified);
        at += notes->lens[i] + 1;
    }
    return n;
}
