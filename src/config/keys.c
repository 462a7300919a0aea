/* SPDX-License-Identifier: BSD-2-Clause */
#include "keys.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "draft.h"
#include "kinds.h"
#include "nearest.h"

/* Whole days, and below what an unsigned number of milliseconds can hold (49 days). */
#define DAYS_IN_MS(n) (INT64_C(86400000) * (n))

#define IN_CONFIG(field)   offsetof(struct config, field)
#define IN_LISTENER(field) offsetof(struct draft, config.field)

/* The order is that of the enums in config.h and log.h. */
static const char *const routing_words[] = { "manual", "managed", NULL };
static const char *const target_words[] = { "auto", "stderr", "syslog", "journal", NULL };
static const char *const level_words[] = { "error", "warning", "notice", "info", "debug", NULL };
static const char *const format_words[] = { "text", "json", NULL };
static const char *const return_path_words[] = { "auto", "loopback", "fwmark", "connmark", NULL };
static const char *const client_port_words[] = { "preserve", "any", NULL };

static const struct key config_keys[] = {
    { .name = "user",
      .type = "string",
      .parse = kinds_user,
      .offset = IN_CONFIG(user),
      .fallback = "_mmproxy",
      .is_found_later = true },
    { .name = "workers",
      .type = "whole number",
      .parse = kinds_number,
      .offset = IN_CONFIG(workers),
      .fallback = "0",
      .max = CONFIG_WORKERS_MAX },
    { .name = "routing",
      .type = "string",
      .parse = kinds_word,
      .offset = IN_CONFIG(routing),
      .fallback = "manual",
      .words = routing_words },
    { .name = "drain_timeout",
      .type = "seconds",
      .parse = kinds_seconds,
      .offset = IN_CONFIG(drain_timeout_ms),
      .fallback = "30",
      .max = DAYS_IN_MS(30) },
    { .name = "sandbox",
      .type = "boolean",
      .parse = kinds_boolean,
      .offset = IN_CONFIG(sandbox),
      .fallback = "true" },
    { .name = "log", .type = "group" },
    { .name = "defaults", .type = "group" },
    { .name = "listeners", .type = "list" },
};

static const struct key log_keys[] = {
    { .name = "target",
      .type = "string",
      .parse = kinds_word,
      .offset = IN_CONFIG(log.target),
      .fallback = "auto",
      .words = target_words },
    { .name = "level",
      .type = "string",
      .parse = kinds_word,
      .offset = IN_CONFIG(log.level),
      .fallback = "info",
      .words = level_words },
    { .name = "format",
      .type = "string",
      .parse = kinds_word,
      .offset = IN_CONFIG(log.format),
      .fallback = "text",
      .words = format_words },
};

static const struct key listener_keys[] = {
    { .name = "name",
      .type = "string",
      .parse = kinds_name,
      .offset = IN_LISTENER(name),
      .is_per_listener = true },
    { .name = "listen", .type = "string or array", .is_per_listener = true },
    { .name = "allowed_subnets",
      .type = "string",
      .parse = kinds_path,
      .offset = offsetof(struct draft, allowed_path) },
    { .name = "target_v4",
      .type = "string",
      .parse = kinds_target_v4,
      .offset = IN_LISTENER(target_v4) },
    { .name = "target_v6",
      .type = "string",
      .parse = kinds_target_v6,
      .offset = IN_LISTENER(target_v6) },
    { .name = "mark",
      .type = "whole number",
      .parse = kinds_number,
      .offset = IN_LISTENER(mark),
      .fallback = "123",
      .min = 1,
      .max = UINT32_MAX },
    { .name = "table",
      .type = "whole number",
      .parse = kinds_table,
      .offset = IN_LISTENER(table),
      .fallback = "100",
      .min = 1,
      .max = UINT32_MAX },
    { .name = "return_path",
      .type = "string",
      .parse = kinds_word,
      .offset = IN_LISTENER(return_path),
      .fallback = "auto",
      .words = return_path_words },
    { .name = "client_port",
      .type = "string",
      .parse = kinds_client_port,
      .offset = IN_LISTENER(preserve_client_port),
      .fallback = "preserve",
      .words = client_port_words },
    { .name = "header_timeout",
      .type = "seconds",
      .parse = kinds_seconds,
      .offset = IN_LISTENER(header_timeout_ms),
      .fallback = "5",
      .min = 1,
      .max = DAYS_IN_MS(1) },
    { .name = "connect_timeout",
      .type = "seconds",
      .parse = kinds_seconds,
      .offset = IN_LISTENER(connect_timeout_ms),
      .fallback = "5",
      .min = 1,
      .max = DAYS_IN_MS(1) },
    { .name = "idle_timeout",
      .type = "seconds",
      .parse = kinds_seconds,
      .offset = IN_LISTENER(idle_timeout_ms),
      .fallback = "0",
      .max = DAYS_IN_MS(30) },
    /* TCP_KEEPIDLE's own limit. */
    { .name = "keepalive",
      .type = "whole number",
      .parse = kinds_number,
      .offset = IN_LISTENER(keepalive_s),
      .fallback = "60",
      .max = 32767 },
    { .name = "max_sessions",
      .type = "whole number",
      .parse = kinds_number,
      .offset = IN_LISTENER(max_sessions),
      .fallback = "0",
      .max = INT32_MAX },
    { .name = "max_sessions_per_client",
      .type = "whole number",
      .parse = kinds_number,
      .offset = IN_LISTENER(max_sessions_per_client),
      .fallback = "0",
      .max = INT32_MAX },
    { .name = "max_pending",
      .type = "whole number",
      .parse = kinds_number,
      .offset = IN_LISTENER(max_pending),
      .fallback = "1024",
      .min = 1,
      .max = 1 << 20 },
    { .name = "backlog",
      .type = "whole number",
      .parse = kinds_number,
      .offset = IN_LISTENER(backlog),
      .fallback = "4096",
      .min = 1,
      .max = 1 << 20 },
    { .name = "allow_local_clients",
      .type = "boolean",
      .parse = kinds_boolean,
      .offset = IN_LISTENER(allow_local_clients),
      .fallback = "false" },
};

#define N(array) (sizeof(array) / sizeof((array)[0]))

const struct key_table keys_of_config = { "", "at the top level", config_keys, N(config_keys) };
const struct key_table keys_of_log = { "log", "in \"log\"", log_keys, N(log_keys) };
const struct key_table keys_of_listener = { "listeners", "in a listener", listener_keys,
                                            N(listener_keys) };

_Static_assert(N(listener_keys) <= KEYS_PER_LISTENER_MAX, "states has one element a key");

static const struct key_table *const tables[] = { &keys_of_config, &keys_of_log,
                                                  &keys_of_listener };

struct value keys_value_of_setting(const config_setting_t *setting)
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
        if (value.string == NULL) /* libconfig may say so for "" */
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

/* Decimal or 0x hex; past 64 bits it stays out of every range. */
struct value keys_value_of_text(const char *text)
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

void keys_set_defaults(const struct key_table *table, void *out)
{
    char reason[KEYS_REASON_MAX];

    for (size_t i = 0; i < table->n_keys; i++) {
        const struct key *key = &table->keys[i];
        struct value value;
        bool is_in_range;

        if (key->fallback == NULL || key->is_found_later)
            continue;
        value = keys_value_of_text(key->fallback);
        is_in_range = key->parse(key, &value, (char *)out + key->offset, reason);
        assert(is_in_range);
    }
}

int keys_find(const struct key_table *table, const char *name)
{
    for (size_t i = 0; i < table->n_keys; i++) {
        if (strcmp(table->keys[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

static void report_unknown(const struct key_table *table, const config_setting_t *setting,
                           struct mistakes *mistakes)
{
    const char *name = config_setting_name(setting);
    unsigned line = config_setting_source_line(setting);
    struct nearest nearest = nearest_to(name);

    for (size_t i = 0; i < N(tables); i++) {
        if (keys_find(tables[i], name) >= 0) {
            mistakes_error(mistakes, line, "unknown key \"%s\" here (it belongs %s)", name,
                           tables[i]->home);
            return;
        }
    }
    for (size_t i = 0; i < table->n_keys; i++)
        nearest_try(&nearest, table->keys[i].name);
    if (nearest.found != NULL)
        mistakes_error(mistakes, line, "unknown key \"%.120s\" (did you mean \"%s\"?)", name,
                       nearest.found);
    else
        mistakes_error(mistakes, line, "unknown key \"%.120s\"", name);
}

static bool read_setting(const struct key *key, const config_setting_t *setting, void *out,
                         bool is_defaults, struct mistakes *mistakes)
{
    unsigned line = config_setting_source_line(setting);
    struct value value = keys_value_of_setting(setting);
    char reason[KEYS_REASON_MAX];

    if (is_defaults && key->is_per_listener) {
        mistakes_error(mistakes, line, "\"%s\" belongs in a listener, not in \"defaults\"",
                       key->name);
        return false;
    }
    if (key->parse == NULL || key->parse(key, &value, (char *)out + key->offset, reason))
        return true;
    mistakes_error(mistakes, line, "\"%s\" %s", key->name, reason);
    return false;
}

void keys_read(const struct key_table *table, const config_setting_t *group, void *out,
               struct key_state *states, bool is_defaults, struct mistakes *mistakes)
{
    unsigned n = (unsigned)config_setting_length(group);

    for (unsigned i = 0; i < n; i++) {
        const config_setting_t *setting = config_setting_get_elem(group, i);
        int index = keys_find(table, config_setting_name(setting));
        bool is_good;

        if (index < 0) {
            report_unknown(table, setting, mistakes);
            continue;
        }
        is_good = read_setting(&table->keys[index], setting, out, is_defaults, mistakes);
        if (states != NULL)
            states[index] = (struct key_state){ .line = config_setting_source_line(setting),
                                                .is_bad = !is_good };
    }
}

void keys_report_type(const config_setting_t *setting, const char *wanted,
                      struct mistakes *mistakes)
{
    struct value value = keys_value_of_setting(setting);
    char found[KEYS_REASON_MAX];

    mistakes_error(mistakes, config_setting_source_line(setting), "%s, not %s", wanted,
                   kinds_describe(&value, found));
}

void keys_format_range(const struct key *key, char out[KEYS_RANGE_MAX])
{
    size_t used = 0;

    out[0] = '\0';
    if (key->parse == kinds_seconds) {
        snprintf(out, KEYS_RANGE_MAX, "%sfrom 0.001 to %lld", key->min == 0 ? "0 or " : "",
                 (long long)key->max / 1000);
    } else if (key->max != 0) {
        snprintf(out, KEYS_RANGE_MAX, "from %lld to %lld", (long long)key->min,
                 (long long)key->max);
    }
    for (size_t i = 0; key->words != NULL && key->words[i] != NULL; i++) {
        const char *comma = i == 0 ? "" : key->words[i + 1] == NULL ? " or " : ", ";
        int n = snprintf(out + used, KEYS_RANGE_MAX - used, "%s\"%s\"", comma, key->words[i]);
        used += (size_t)n;
        assert(used < KEYS_RANGE_MAX);
    }
}

_Static_assert(sizeof(((struct config_key *)NULL)->range) == KEYS_RANGE_MAX, "ranges fit");

bool config_key(size_t index, struct config_key *out)
{
    for (size_t i = 0; i < N(tables); i++) {
        if (index < tables[i]->n_keys) {
            const struct key *key = &tables[i]->keys[index];
            *out = (struct config_key){ .section = tables[i]->section,
                                        .name = key->name,
                                        .type = key->type,
                                        .fallback = key->fallback };
            keys_format_range(key, out->range);
            return true;
        }
        index -= tables[i]->n_keys;
    }
    return false;
}
