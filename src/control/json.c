/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/control/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void put(struct json *json, const char *bytes, size_t len)
{
    if (json->is_full || len > json->size - json->len) {
        json->is_full = true;
        return;
    }
    memcpy(json->text + json->len, bytes, len);
    json->len += len;
}

static void put_text(struct json *json, const char *text)
{
    put(json, text, strlen(text));
}

/* Any bytes: what is not printable ASCII is written as \u00XX, so that a reader always gets JSON.
 */
static void put_quoted(struct json *json, const char *text)
{
    char escaped[8];

    put_text(json, "\"");
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c >= ' ' && *c <= '~' && *c != '"' && *c != '\\') {
            put(json, (const char *)c, 1);
            continue;
        }
        (void)snprintf(escaped, sizeof escaped, "\\u%04x", *c);
        put_text(json, escaped);
    }
    put_text(json, "\"");
}

static void put_key(struct json *json, const char *key)
{
    if (json->has_elements)
        put_text(json, ",");
    json->has_elements = true;
    if (!key)
        return;
    put_quoted(json, key);
    put_text(json, ":");
}

void json_begin(struct json *json, char *text, size_t size)
{
    *json = (struct json){ .text = text, .size = size };
    put_text(json, "{");
}

void json_text(struct json *json, const char *key, const char *value)
{
    put_key(json, key);
    put_quoted(json, value);
}

void json_number(struct json *json, const char *key, uint64_t value)
{
    char digits[24];

    put_key(json, key);
    (void)snprintf(digits, sizeof digits, "%" PRIu64, value);
    put_text(json, digits);
}

void json_boolean(struct json *json, const char *key, bool value)
{
    put_key(json, key);
    put_text(json, value ? "true" : "false");
}

void json_open(struct json *json, const char *key, char bracket)
{
    put_key(json, key);
    put(json, &bracket, 1);
    json->has_elements = false;
}

void json_close(struct json *json, char bracket)
{
    put(json, &bracket, 1);
    json->has_elements = true;
}

size_t json_end(struct json *json)
{
    put_text(json, "}\n");
    return json->is_full ? 0 : json->len;
}
