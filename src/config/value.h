/* SPDX-License-Identifier: BSD-2-Clause */
/* value: what is written for one key, in a file or on the command line. */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include <libconfig.h>
#include <stdbool.h>
#include <stdint.h>

#include "mistakes.h"

enum { VALUE_TEXT_MAX = 160 };

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

struct value value_of_setting(const config_setting_t *setting);

/* Decimal or 0x hex; past 64 bits it stays out of every range. */
struct value value_of_text(const char *text);

/* How a value is named in "must be ..., not ...": "a string", "a group { }". returns: out. */
const char *value_describe(const struct value *value, char out[VALUE_TEXT_MAX]);

/* The number itself, as it was written. returns: out. */
const char *value_describe_number(const struct value *value, char out[VALUE_TEXT_MAX]);

/* Reports "WANTED, not a group". */
void value_report_type(const config_setting_t *setting, const char *wanted,
                       struct mistakes *mistakes);

#endif
