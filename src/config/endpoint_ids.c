/* SPDX-License-Identifier: BSD-2-Clause */
#include "endpoint_ids.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "value.h"

enum { IDS_MAX = 1024, ID_MAX = 64 };

/* One block: each id with its NUL, one behind the other. */
struct endpoints {
    size_t size; /* bytes of ids */
    char ids[];
};

static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

/* returns: the id, or NULL after a mistake was reported. */
static const char *read_id(const config_setting_t *element, struct mistakes *mistakes)
{
    const char *id = config_setting_get_string(element);
    size_t len = id ? strlen(id) : 0;

    if (config_setting_type(element) != CONFIG_TYPE_STRING) {
        value_report_type(element, "an endpoint must be a string \"vpce-...\"", mistakes);
        return NULL;
    }
    if (len == 0 || len > ID_MAX || strspn(id, allowed) != len) {
        mistakes_error(mistakes, config_setting_source_line(element),
                       "an endpoint must be 1 to %d characters of A-Z a-z 0-9 _ . -, not "
                       "\"%.120s\"",
                       ID_MAX, id ? id : "");
        return NULL;
    }
    return id;
}

static bool is_sequence(const config_setting_t *setting)
{
    return config_setting_is_array(setting) || config_setting_is_list(setting);
}

struct endpoints *endpoint_ids_read(const config_setting_t *setting, struct mistakes *mistakes)
{
    unsigned line = config_setting_source_line(setting);
    unsigned n = is_sequence(setting) ? (unsigned)config_setting_length(setting) : 0;
    struct endpoints *endpoints;
    bool is_good = true;

    if (!is_sequence(setting)) {
        value_report_type(setting, "\"endpoints\" must be an array of ids", mistakes);
        return NULL;
    }
    if (n == 0 || n > IDS_MAX) {
        mistakes_error(mistakes, line, "\"endpoints\" must have 1 to %d ids, not %u", IDS_MAX, n);
        return NULL;
    }
    endpoints = calloc(1, sizeof *endpoints + (size_t)n * (ID_MAX + 1));
    if (!endpoints) {
        mistakes_error(mistakes, line, "out of memory");
        return NULL;
    }
    for (unsigned i = 0; i < n; i++) {
        const char *id = read_id(config_setting_get_elem(setting, i), mistakes);
        size_t size = id ? strlen(id) + 1 : 0;

        is_good = is_good && id;
        memcpy(endpoints->ids + endpoints->size, id ? id : "", size);
        endpoints->size += size;
    }
    if (is_good)
        return endpoints;
    free(endpoints);
    return NULL;
}

struct endpoints *endpoint_ids_copy(const struct endpoints *endpoints)
{
    struct endpoints *copy = endpoints ? malloc(sizeof *copy + endpoints->size) : NULL;

    if (copy) {
        copy->size = endpoints->size;
        memcpy(copy->ids, endpoints->ids, endpoints->size);
    }
    return copy;
}

bool endpoint_ids_equal(const struct endpoints *a, const struct endpoints *b)
{
    if (!a || !b)
        return a == b;
    return a->size == b->size && memcmp(a->ids, b->ids, a->size) == 0;
}

bool endpoints_contain(const struct endpoints *endpoints, const void *id, size_t len)
{
    size_t id_len;

    if (len == 0)
        return false;
    for (size_t at = 0; at < endpoints->size; at += id_len + 1) {
        id_len = strlen(endpoints->ids + at);
        if (id_len == len && memcmp(endpoints->ids + at, id, len) == 0)
            return true;
    }
    return false;
}
