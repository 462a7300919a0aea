/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads the objects of JSON that an answer consists of. */
#include "ctl.h"

#include <stdlib.h>
#include <string.h>

static const char *skip_string(const char *at)
{
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1])
            at++;
    return *at ? at + 1 : NULL;
}

/* Behind the value that begins here; NULL where the text ends before. */
static const char *skip_value(const char *at)
{
    unsigned depth = 0;

    do {
        if (*at == '"') {
            at = skip_string(at);
            if (!at)
                return NULL;
            continue;
        }
        if (*at == '{' || *at == '[')
            depth++;
        if (*at == '}' || *at == ']') {
            if (depth == 0)
                return at;
            depth--;
        } else if (*at == ',' && depth == 0) {
            return at;
        }
        at++;
    } while (*at);
    return depth == 0 ? at : NULL;
}

static size_t take_hex(const char *digits, char *out)
{
    char hex[5] = { 0 };

    for (int i = 0; i < 4 && digits[i]; i++)
        hex[i] = digits[i];
    unsigned long code = strtoul(hex, NULL, 16);
    *out = code < 0x20 || code == 0x7f || code > 0xff ? '?' : (char)code;
    return strlen(hex);
}

static void copy_string(const char *at, char *out, size_t size)
{
    size_t n = 0;

    for (at++; *at && *at != '"'; at++) {
        char c = *at;
        if (c == '\\' && at[1]) {
            c = *++at;
            if (c == 'u')
                at += take_hex(at + 1, &c);
        }
        if (n + 1 < size)
            out[n++] = (unsigned char)c < 0x20 || c == 0x7f ? '?' : c;
    }
    out[n] = '\0';
}

bool object_next(const char **next, char *key, size_t key_size, const char **value)
{
    const char *at = *next;
    bool has_keys;

    if (!at || (*at != '{' && *at != '[' && *at != ','))
        return false;
    at++;
    has_keys = *at == '"';
    if (*at == '}' || *at == ']' || *at == '\0')
        return false;
    if (key)
        key[0] = '\0';
    if (has_keys) {
        const char *end = skip_string(at);
        if (end && *end == ':') {
            if (key)
                copy_string(at, key, key_size);
            at = end + 1;
        }
    }
    *value = at;
    *next = skip_value(at);
    return true;
}

const char *object_find(const struct object *object, const char *key)
{
    const char *next = object->text;
    const char *value;
    char each[64];

    while (object_next(&next, each, sizeof each, &value))
        if (strcmp(each, key) == 0)
            return value;
    return NULL;
}

uint64_t object_number(const struct object *object, const char *key)
{
    const char *value = object_find(object, key);

    return value ? strtoull(value, NULL, 10) : 0;
}

bool object_is_true(const struct object *object, const char *key)
{
    const char *value = object_find(object, key);

    return value && *value == 't';
}

char *object_text(const struct object *object, const char *key, char *out, size_t size)
{
    const char *value = object_find(object, key);

    out[0] = '\0';
    if (value && *value == '"')
        copy_string(value, out, size);
    return out;
}
