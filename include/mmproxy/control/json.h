/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * json: writes one line of JSON into a buffer of fixed size. A value that does not fit makes the
 * whole line invalid, never half of it.
 */
#ifndef MMPROXY_CONTROL_JSON_H
#define MMPROXY_CONTROL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
    char *text;
    size_t size;
    size_t len;
    bool is_full;      /* it did not fit */
    bool has_elements; /* a comma comes before the next one */
};

/* Begins an object. */
void json_begin(struct json *json, char *text, size_t size);

/* key: NULL in an array. */
void json_text(struct json *json, const char *key, const char *value);
void json_number(struct json *json, const char *key, uint64_t value);
void json_boolean(struct json *json, const char *key, bool value);
void json_open(struct json *json, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json *json, char bracket);                 /* '}' or ']' */

/* Ends the object with a newline. returns: the length, or 0: it did not fit. */
size_t json_end(struct json *json);

#endif
