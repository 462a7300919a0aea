/* SPDX-License-Identifier: BSD-2-Clause */
#include "keys.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "mmproxy/config/config.h"
#include "nearest.h"

/* Whole days, and below what an unsigned number of milliseconds can hold (49 days). */
#define DAYS_IN_MS(n) (INT64_C(86400000) * (n))

#define IN_CONFIG(field)   .offset = offsetof(struct config, field)
#define IN_LISTENER(field) .offset = offsetof(struct listener_config, field)

/* The order is that of the enums in config.h and log.h. */
static const char *const routing_words[] = { "manual", "managed", NULL };
static const char *const target_words[] = { "auto", "stderr", "syslog", "journal", NULL };
static const char *const level_words[] = { "error", "warning", "notice", "info", "debug", NULL };
static const char *const format_words[] = { "text", "json", NULL };
static const char *const connections_words[] = { "both", "end", "none", NULL };
const char *const keys_return_path_words[] = { "auto",   "loopback", "fwmark", "connmark",
                                               "routed", "flows",    NULL };
static const char *const protocol_words[] = { "tcp", "udp", NULL };
static const char *const udp_header_words[] = { "every", "first", "spp", NULL };
static const char *const client_port_words[] = { "preserve", "any", NULL };

/* One or two lines a row. */
/* clang-format off */
static const struct key config_keys[] = {
    { .name = "user", .kind = &kind_user, IN_CONFIG(user), .fallback = "_mmproxy",
      .is_found_later = true },
    { .name = "workers", .kind = &kind_number, IN_CONFIG(workers), .fallback = "0",
      .max = CONFIG_WORKERS_MAX },
    { .name = "routing", .kind = &kind_word, IN_CONFIG(routing), .fallback = "manual",
      .words = routing_words },
    { .name = "drain_timeout", .kind = &kind_seconds, IN_CONFIG(drain_timeout_ms),
      .fallback = "30", .max = DAYS_IN_MS(30) },
    { .name = "sandbox", .kind = &kind_boolean, IN_CONFIG(sandbox), .fallback = "true" },
    { .name = "metrics", .kind = &kind_address, IN_CONFIG(metrics) },
    { .name = "control", .kind = &kind_socket, IN_CONFIG(control),
      .fallback = CONFIG_DEFAULT_CONTROL },
    { .name = "control_group", .kind = &kind_group_name, IN_CONFIG(control_group) },
    { .name = "log", .kind = &kind_group },
    { .name = "include_dir", .kind = &kind_path, IN_CONFIG(include_dir) },
    { .name = "defaults", .kind = &kind_group },
    { .name = "listeners", .kind = &kind_list },
};

static const struct key log_keys[] = {
    { .name = "target", .kind = &kind_word, IN_CONFIG(log.target), .fallback = "auto",
      .words = target_words },
    { .name = "level", .kind = &kind_word, IN_CONFIG(log.level), .fallback = "info",
      .words = level_words },
    { .name = "format", .kind = &kind_word, IN_CONFIG(log.format), .fallback = "text",
      .words = format_words },
    { .name = "connections", .kind = &kind_word, IN_CONFIG(log_connections), .fallback = "both",
      .words = connections_words },
};

/* Of the files of include_dir. */
static const struct key included_keys[] = {
    { .name = "listeners", .kind = &kind_list },
};

static const struct key listener_keys[] = {
    { .name = "name", .kind = &kind_name, IN_LISTENER(name), .is_per_listener = true },
    { .name = "listen", .kind = &kind_listen, IN_LISTENER(listen), .is_per_listener = true },
    { .name = "protocol", .kind = &kind_word, IN_LISTENER(protocol), .fallback = "tcp",
      .words = protocol_words },
    { .name = "udp_header", .kind = &kind_word, IN_LISTENER(udp_header), .fallback = "every",
      .words = udp_header_words },
    { .name = "allowed_subnets", .kind = &kind_allowed, IN_LISTENER(allowed) },
    { .name = "direct_subnets", .kind = &kind_allowed, IN_LISTENER(direct) },
    { .name = "target_v4", .kind = &kind_target_v4, IN_LISTENER(target_v4) },
    { .name = "target_v6", .kind = &kind_target_v6, IN_LISTENER(target_v6) },
    { .name = "header_ports", .kind = &kind_ports, IN_LISTENER(header_ports) },
    { .name = "map_v4", .kind = &kind_prefix_v6, IN_LISTENER(map_v4) },
    { .name = "map_v6", .kind = &kind_prefix_v4, IN_LISTENER(map_v6) },
    { .name = "map_v6_anyway", .kind = &kind_boolean, IN_LISTENER(map_v6_anyway),
      .fallback = "false" },
    { .name = "map_key", .kind = &kind_map_key, IN_LISTENER(map_key),
      .fallback = CONFIG_DEFAULT_MAP_KEY },
    { .name = "netns", .kind = &kind_netns, IN_LISTENER(netns) },
    { .name = "endpoints", .kind = &kind_endpoints, IN_LISTENER(endpoints) },
    { .name = "mark", .kind = &kind_number, IN_LISTENER(mark), .fallback = "123", .min = 1,
      .max = UINT32_MAX },
    { .name = "table", .kind = &kind_table, IN_LISTENER(table), .fallback = "100", .min = 1,
      .max = UINT32_MAX },
    { .name = "return_path", .kind = &kind_word, IN_LISTENER(return_path), .fallback = "auto",
      .words = keys_return_path_words },
    { .name = "client_port", .kind = &kind_client_port, IN_LISTENER(preserve_client_port),
      .fallback = "preserve", .words = client_port_words },
    { .name = "header_timeout", .kind = &kind_seconds, IN_LISTENER(header_timeout_ms),
      .fallback = "5", .min = 1, .max = DAYS_IN_MS(1) },
    { .name = "connect_timeout", .kind = &kind_seconds, IN_LISTENER(connect_timeout_ms),
      .fallback = "5", .min = 1, .max = DAYS_IN_MS(1) },
    { .name = "idle_timeout", .kind = &kind_seconds, IN_LISTENER(idle_timeout_ms),
      .fallback = "0", .max = DAYS_IN_MS(30) },
    /* TCP_KEEPIDLE's own limit. */
    { .name = "keepalive", .kind = &kind_number, IN_LISTENER(keepalive_s), .fallback = "60",
      .max = 32767 },
    { .name = "max_sessions", .kind = &kind_number, IN_LISTENER(max_sessions), .fallback = "0",
      .max = INT32_MAX },
    { .name = "max_sessions_per_client", .kind = &kind_number,
      IN_LISTENER(max_sessions_per_client), .fallback = "0", .max = INT32_MAX },
    { .name = "max_pending", .kind = &kind_number, IN_LISTENER(max_pending), .fallback = "1024",
      .min = 1, .max = 1 << 20 },
    { .name = "backlog", .kind = &kind_number, IN_LISTENER(backlog), .fallback = "4096",
      .min = 1, .max = 1 << 20 },
    { .name = "close_when_down", .kind = &kind_boolean, IN_LISTENER(close_when_down),
      .fallback = "false" },
    { .name = "allow_local_clients", .kind = &kind_boolean, IN_LISTENER(allow_local_clients),
      .fallback = "false" },
};
/* clang-format on */

#define N(array) (sizeof(array) / sizeof((array)[0]))

const struct key_table keys_of_config = { "", "at the top level", config_keys, N(config_keys) };
const struct key_table keys_of_log = { "log", "in \"log\"", log_keys, N(log_keys) };
const struct key_table keys_of_included = { "listeners", "in a file of \"include_dir\"",
                                            included_keys, N(included_keys) };
const struct key_table keys_of_listener = { "listeners", "in a listener", listener_keys,
                                            N(listener_keys) };

_Static_assert(N(listener_keys) <= KEYS_PER_LISTENER_MAX, "states has one element a key");

static const struct key_table *const tables[] = { &keys_of_config, &keys_of_log,
                                                  &keys_of_listener };

void keys_set_defaults(const struct key_table *table, void *out)
{
    char reason[KINDS_REASON_MAX];

    for (size_t i = 0; i < table->n_keys; i++) {
        const struct key *key = &table->keys[i];
        struct value value;
        bool is_in_range;

        if (!key->fallback || key->is_found_later)
            continue;
        value = value_of_text(key->fallback);
        is_in_range = key->kind->parse(key, &value, (char *)out + key->offset, reason);
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
                           table == &keys_of_included && tables[i] == &keys_of_config
                               ? "in the main file"
                               : tables[i]->home);
            return;
        }
    }
    for (size_t i = 0; i < table->n_keys; i++)
        nearest_try(&nearest, table->keys[i].name);
    if (nearest.found)
        mistakes_error(mistakes, line, "unknown key \"%.120s\" (did you mean \"%s\"?)", name,
                       nearest.found);
    else
        mistakes_error(mistakes, line, "unknown key \"%.120s\"", name);
}

static bool read_setting(const struct key *key, const config_setting_t *setting, void *out,
                         bool is_defaults, struct mistakes *mistakes)
{
    unsigned line = config_setting_source_line(setting);
    struct value value = value_of_setting(setting);
    char reason[KINDS_REASON_MAX];

    if (is_defaults && key->is_per_listener) {
        mistakes_error(mistakes, line, "\"%s\" belongs in a listener, not in \"defaults\"",
                       key->name);
        return false;
    }
    if (!key->kind->parse || key->kind->parse(key, &value, (char *)out + key->offset, reason))
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

        if (config_setting_name(setting)[0] == '*') /* not written in any file: see source */
            continue;
        if (index < 0) {
            report_unknown(table, setting, mistakes);
            continue;
        }
        is_good = read_setting(&table->keys[index], setting, out, is_defaults, mistakes);
        if (states)
            states[index] = (struct key_state){ .line = config_setting_source_line(setting),
                                                .is_bad = !is_good };
    }
}

bool keys_equal(const struct key_table *table, const void *a, const void *b)
{
    for (size_t i = 0; i < table->n_keys; i++) {
        const struct key *key = &table->keys[i];

        if (key->kind->equal && !key->kind->equal(key, a, b))
            return false;
    }
    return true;
}

_Static_assert(sizeof(((struct config_key *)NULL)->range) == KINDS_RANGE_MAX, "ranges fit");

bool config_key(size_t index, struct config_key *out)
{
    for (size_t i = 0; i < N(tables); i++) {
        if (index < tables[i]->n_keys) {
            const struct key *key = &tables[i]->keys[index];
            *out = (struct config_key){ .section = tables[i]->section,
                                        .name = key->name,
                                        .type = key->kind->type,
                                        .fallback = key->fallback };
            kinds_format_range(key, out->range);
            return true;
        }
        index -= tables[i]->n_keys;
    }
    return false;
}
