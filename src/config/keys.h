/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keys: the tables of everything that can be written, one row a key. They are the only place
 * that knows names, types, ranges and defaults: the file, the command line, suggestions and
 * the manual's test all read them.
 */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include <libconfig.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mistakes.h"

enum { KEYS_REASON_MAX = 512, KEYS_RANGE_MAX = 96, KEYS_PER_LISTENER_MAX = 32 };

/* What somebody wrote, in a file or on the command line. */
struct value {
    enum {
        VALUE_WHOLE,
        VALUE_FRACTION,
        VALUE_BOOLEAN,
        VALUE_STRING,
        VALUE_GROUP,
        VALUE_ARRAY,
        VALUE_LIST
    } type;
    bool is_hex;
    bool boolean;
    int64_t whole;
    double fraction;
    const char *string; /* never NULL for a string; lives as long as what it was made from */
    const char *text;   /* as it was written, on the command line; NULL in a file */
};

struct key {
    const char *name;
    const char *type; /* for the reader: "whole number" */
    /*
     * Sets *field, which is of the key's own type. NULL for keys that are groups or lists.
     * returns: false with the reason, to be read behind the key's name: "must be a string".
     */
    bool (*parse)(const struct key *key, const struct value *value, void *field,
                  char reason[KEYS_REASON_MAX]);
    size_t offset; /* of the field, in the structure that the table fills */
    const char *fallback;
    int64_t min; /* seconds: milliseconds */
    int64_t max;
    const char *const *words; /* NULL at the end; the index is the value */
    bool is_found_later;      /* the default depends on the host */
    bool is_per_listener;     /* makes no sense in "defaults" */
};

struct key_table {
    const char *section; /* of the manual: "" for the top level */
    const char *home;    /* where its keys are to be written: "at the top level" */
    const struct key *keys;
    size_t n_keys;
};

extern const struct key_table keys_of_config;   /* fills struct config */
extern const struct key_table keys_of_log;      /* fills struct config */
extern const struct key_table keys_of_listener; /* fills struct draft */

/* What is known about a key that was read. All zero: its default was taken. */
struct key_state {
    unsigned line; /* 0 = not written */
    bool is_bad;
};

/* Sets every key that has a default. */
void keys_set_defaults(const struct key_table *table, void *out);

/* returns: the row's number, or -1. */
int keys_find(const struct key_table *table, const char *name);

/*
 * Reads one group into out: unknown keys, wrong types and values out of range are reported.
 * Groups and lists in it are left to the caller. states: NULL, or one for each key.
 * is_defaults: keys that only a listener can have are mistakes.
 */
void keys_read(const struct key_table *table, const config_setting_t *group, void *out,
               struct key_state *states, bool is_defaults, struct mistakes *mistakes);

struct value keys_value_of_setting(const config_setting_t *setting);
struct value keys_value_of_text(const char *text);

/* "must be a string, not a group" and the like, for those who read groups and lists. */
void keys_report_type(const config_setting_t *setting, const char *wanted,
                      struct mistakes *mistakes);

/* "from 1 to 65535", "auto, stderr", or "". */
void keys_format_range(const struct key *key, char out[KEYS_RANGE_MAX]);

#endif
