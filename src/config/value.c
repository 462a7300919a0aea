/* SPDX-License-Identifier: BSD-2-Clause */
#include "value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct value value_of_setting(const config_setting_t *setting)
{
    struct value value = { .type = VALUE_GROUP };

    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        value.type = VALUE_WHOLE;
        value.whole = config_setting_get_int64(setting);
        value.is_hex = config_setting_get_format(setting) == CONFIG_FORMAT_HEX;
        break;
    case CONFIG_TYPE_FLOAT:
        value.type = VALUE_FRACTION;
        value.fraction = config_setting_get_float(setting);
        break;
    case CONFIG_TYPE_BOOL:
        value.type = VALUE_BOOLEAN;
        value.boolean = config_setting_get_bool(setting);
        break;
    case CONFIG_TYPE_STRING:
        value.type = VALUE_STRING;
        value.string = config_setting_get_string(setting);
        if (!value.string) /* libconfig may say so for "" */
            value.string = "";
        break;
    case CONFIG_TYPE_ARRAY:
        value.type = VALUE_ARRAY;
        break;
    case CONFIG_TYPE_LIST:
        value.type = VALUE_LIST;
        break;
    default:
        break;
    }
    return value;
}

struct value value_of_text(const char *text)
{
    struct value value = { .type = VALUE_STRING, .string = text, .text = text };
    const char *digits = text[0] == '-' ? text + 1 : text;
    char *end;

    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        value.type = VALUE_BOOLEAN;
        value.boolean = text[0] == 't';
        return value;
    }
    if (digits[0] < '0' || digits[0] > '9')
        return value;
    value.is_hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    value.whole = strtoll(text, &end, value.is_hex ? 16 : 10);
    if (*end == '\0')
        value.type = VALUE_WHOLE;
    return value;
}

const char *value_describe(const struct value *value, char out[VALUE_TEXT_MAX])
{
    static const char *const types[] = {
        [VALUE_WHOLE] = "a number",    [VALUE_FRACTION] = "a fraction",
        [VALUE_BOOLEAN] = "a boolean", [VALUE_STRING] = "a string",
        [VALUE_GROUP] = "a group { }", [VALUE_ARRAY] = "an array [ ]",
        [VALUE_LIST] = "a list ( )",
    };

    if (value->text)
        snprintf(out, VALUE_TEXT_MAX, "\"%.120s\"", value->text);
    else
        snprintf(out, VALUE_TEXT_MAX, "%s", types[value->type]);
    return out;
}

const char *value_describe_number(const struct value *value, char out[VALUE_TEXT_MAX])
{
    if (value->text)
        snprintf(out, VALUE_TEXT_MAX, "%.120s", value->text);
    else if (value->type == VALUE_FRACTION)
        snprintf(out, VALUE_TEXT_MAX, "%g", value->fraction);
    else if (value->is_hex)
        snprintf(out, VALUE_TEXT_MAX, "0x%llx", (unsigned long long)value->whole);
    else
        snprintf(out, VALUE_TEXT_MAX, "%lld", (long long)value->whole);
    return out;
}

void value_report_type(const config_setting_t *setting, const char *wanted,
                       struct mistakes *mistakes)
{
    struct value value = value_of_setting(setting);
    char found[VALUE_TEXT_MAX];

    mistakes_error(mistakes, config_setting_source_line(setting), "%s, not %s", wanted,
                   value_describe(&value, found));
}
