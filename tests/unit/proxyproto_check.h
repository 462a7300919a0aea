/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of both header versions share: tables of headers, and what holds for all. */
#ifndef MMPROXY_TESTS_PROXYPROTO_CHECK_H
#define MMPROXY_TESTS_PROXYPROTO_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mmproxy/proxyproto/proxyproto.h"

/* The initialisers .bytes and .len from a string literal, its own NUL left out. */
#define BYTES(literal) .bytes = (literal), .len = sizeof(literal) - 1

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct good_header {
    const char *name;
    const char *bytes;
    size_t len;
    const char *client; /* NULL: the header says to use the real endpoints */
    const char *destination;
};

struct bad_header {
    const char *name;
    const char *bytes;
    size_t len; /* the last byte is the one that makes it bad */
    const char *reason;
};

/* Parses a heap copy of exactly that size, so that the sanitizer sees every byte read too far. */
static inline enum proxyproto_verdict parse_copy(const void *bytes, size_t len,
                                                 struct proxyproto *out)
{
    uint8_t *copy = malloc(len);
    enum proxyproto_verdict verdict;

    if (len > 0)
        memcpy(copy, bytes, len);
    memset(out, 0xa5, sizeof(*out));
    verdict = proxyproto_parse(copy, len, out);
    free(copy);
    return verdict;
}

static inline void check_good(const struct good_header *header, unsigned version)
{
    struct proxyproto out;
    char text[ADDR_STRLEN];

    if (parse_copy(header->bytes, header->len, &out) != PROXYPROTO_OK)
        fail_msg("%s: not accepted: %s", header->name, out.reason != NULL ? out.reason : "more");
    if (out.length != header->len)
        fail_msg("%s: length is %zu, not %zu", header->name, out.length, header->len);
    if (out.version != version)
        fail_msg("%s: wrong version", header->name);
    if (out.is_local != (header->client == NULL))
        fail_msg("%s: is_local is %u", header->name, out.is_local);
    addr_format(&out.client, text);
    if (strcmp(text, header->client != NULL ? header->client : "-") != 0)
        fail_msg("%s: client is %s", header->name, text);
    addr_format(&out.destination, text);
    if (strcmp(text, header->client != NULL ? header->destination : "-") != 0)
        fail_msg("%s: destination is %s", header->name, text);
}

/* needed never asks for more than there is, or a sender that waits would never be served. */
static inline void check_prefixes(const char *name, const char *bytes, size_t len)
{
    for (size_t n = 0; n < len; n++) {
        struct proxyproto out;

        if (parse_copy(bytes, n, &out) != PROXYPROTO_MORE)
            fail_msg("%s: the first %zu bytes do not ask for more", name, n);
        if (out.needed <= n || out.needed > len)
            fail_msg("%s: after %zu of %zu bytes %zu are needed", name, n, len, out.needed);
    }
}

/* Appends bytes of several kinds, those of a second header among them. */
static inline void check_stays(const char *name, const char *bytes, size_t len)
{
    static const char *const tails[] = { "\r\n", "\n", "A",
                                         "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" };
    struct proxyproto before;
    enum proxyproto_verdict verdict = parse_copy(bytes, len, &before);

    for (size_t i = 0; i < COUNT(tails); i++) {
        struct proxyproto after;
        size_t n_tail = strlen(tails[i]);
        char *longer = malloc(len + 300 * n_tail);

        memcpy(longer, bytes, len);
        for (size_t k = 0; k < 300; k++)
            memcpy(longer + len + k * n_tail, tails[i], n_tail);
        for (size_t repeats = 1; repeats <= 300; repeats += 299) {
            if (parse_copy(longer, len + repeats * n_tail, &after) != verdict)
                fail_msg("%s: more bytes change the verdict", name);
            if (after.reason != before.reason || after.length != before.length ||
                after.is_local != before.is_local || !addr_equal(&after.client, &before.client))
                fail_msg("%s: more bytes change what the header says", name);
        }
        free(longer);
    }
}

static inline void check_bad(const struct bad_header *header)
{
    struct proxyproto out;

    if (parse_copy(header->bytes, header->len, &out) != PROXYPROTO_BAD)
        fail_msg("%s: not refused", header->name);
    if (strcmp(out.reason, header->reason) != 0)
        fail_msg("%s: reason is \"%s\"", header->name, out.reason);
    for (size_t n = 0; n < header->len; n++) {
        if (parse_copy(header->bytes, n, &out) != PROXYPROTO_MORE)
            fail_msg("%s: refused at byte %zu already", header->name, n);
    }
}

/*
 * Every string literal of the file that begins like a reason must be in the table; what is wrong
 * only in a datagram is test_proxyproto_datagram's.
 */
static inline void check_reasons_of(const char *path, const char *start,
                                    const struct bad_header *table, size_t n)
{
    char line[512];
    size_t n_found = 0;
    FILE *file = fopen(path, "r");

    if (file == NULL)
        fail_msg("%s: cannot be read", path);
    while (fgets(line, sizeof(line), file) != NULL) {
        char *reason = strstr(line, start);
        size_t i = 0;

        if (reason == NULL || strstr(reason, "not UDP") != NULL)
            continue;
        reason++;
        *strchr(reason, '"') = '\0';
        while (i < n && strcmp(table[i].reason, reason) != 0)
            i++;
        if (i == n)
            fail_msg("%s: no test for \"%s\"", path, reason);
        n_found++;
    }
    fclose(file);
    assert_true(n_found > 0);
}

#endif
