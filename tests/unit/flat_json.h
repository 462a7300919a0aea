/* SPDX-License-Identifier: BSD-2-Clause */
/* For the tests of log: what a strict JSON reader makes of a line. */
#ifndef MMPROXY_TESTS_FLAT_JSON_H
#define MMPROXY_TESTS_FLAT_JSON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/*
 * A strict reader for one flat JSON object (RFC 8259) of strings and integers: the members'
 * decoded values by key, or a failed test.
 */
enum { MEMBERS_MAX = 80 };

struct object {
    size_t n;
    struct {
        char key[64];
        char value[4096];
        bool is_number;
    } members[MEMBERS_MAX];
};

static struct object object;

static inline void expect(const char **at, char c)
{
    assert_int_equal(**at, c);
    (*at)++;
}

static inline void check_utf8(const char **at, char **out)
{
    const unsigned char *p = (const unsigned char *)*at;
    unsigned len = p[0] < 0x80                    ? 1
                   : p[0] >= 0xC2 && p[0] <= 0xDF ? 2
                   : (p[0] & 0xF0) == 0xE0        ? 3
                   : p[0] >= 0xF0 && p[0] <= 0xF4 ? 4
                                                  : 0;
    uint32_t code = len == 1 ? p[0] : p[0] & (0xFFU >> (len + 1));
    assert_int_not_equal(len, 0);
    for (unsigned i = 1; i < len; i++) {
        assert_int_equal(p[i] & 0xC0, 0x80);
        code = code << 6 | (p[i] & 0x3F);
    }
    assert_true(len < 3 || code >= (len == 3 ? 0x800U : 0x10000U));
    assert_true(code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF));
    for (unsigned i = 0; i < len; i++)
        *(*out)++ = *(*at)++;
}

static inline void read_escape(const char **at, char **out)
{
    unsigned code;
    if (**at == '"' || **at == '\\') {
        *(*out)++ = *(*at)++;
        return;
    }
    expect(at, 'u');
    assert_int_equal(strspn(*at, "0123456789abcdef") >= 4, 1);
    assert_int_equal(sscanf(*at, "%4x", &code), 1);
    *at += 4;
    assert_true(code < 0x20 || (code >= 0x7F && code < 0xA0));
    if (code >= 0x80)
        *(*out)++ = (char)0xC2;
    *(*out)++ = (char)code;
}

static inline void read_string(const char **at, char *out)
{
    expect(at, '"');
    while (**at != '"') {
        assert_true((unsigned char)**at >= 0x20);
        if (**at == '\\') {
            (*at)++;
            read_escape(at, &out);
        } else {
            check_utf8(at, &out);
        }
    }
    (*at)++;
    *out = '\0';
}

static inline void read_number(const char **at, char *out)
{
    if (**at == '-')
        *out++ = *(*at)++;
    size_t digits = strspn(*at, "0123456789");
    assert_true(digits > 0 && (digits == 1 || **at != '0'));
    memcpy(out, *at, digits);
    out[digits] = '\0';
    *at += digits;
}

static inline void read_object(const char *json)
{
    object.n = 0;
    expect(&json, '{');
    for (;;) {
        assert_true(object.n < MEMBERS_MAX);
        read_string(&json, object.members[object.n].key);
        expect(&json, ':');
        object.members[object.n].is_number = *json != '"';
        if (*json == '"')
            read_string(&json, object.members[object.n].value);
        else
            read_number(&json, object.members[object.n].value);
        object.n++;
        if (*json != ',')
            break;
        json++;
    }
    expect(&json, '}');
    assert_int_equal(*json, '\0');
}

static inline const char *member(const char *key)
{
    for (size_t i = 0; i < object.n; i++) {
        if (strcmp(object.members[i].key, key) == 0)
            return object.members[i].value;
    }
    return NULL;
}

#endif
