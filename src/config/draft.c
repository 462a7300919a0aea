/* SPDX-License-Identifier: BSD-2-Clause */
#include "draft.h"

#include <stdio.h>
#include <stdlib.h>

#include "endpoint_ids.h"
#include "maps.h"
#include "target_ports.h"

static void read_subnets(struct draft_subnets *out, const config_setting_t *group, const char *key,
                         struct mistakes *mistakes)
{
    const config_setting_t *setting = config_setting_get_member(group, key);
    char wanted[128];
    struct value value;

    if (!setting)
        return;
    *out = (struct draft_subnets){ .path = NULL };
    value = value_of_setting(setting);
    (void)snprintf(wanted, sizeof wanted,
                   "\"%s\" must be the path of a file or an array of subnets", key);
    if (value.type == VALUE_ARRAY || value.type == VALUE_LIST)
        out->array = setting;
    else if (value.type != VALUE_STRING)
        value_report_type(setting, wanted, mistakes);
    else if (value.string[0] == '\0')
        mistakes_error(mistakes, config_setting_source_line(setting),
                       "\"%s\" must be the path of a file, not empty", key);
    else
        out->path = value.string;
}

static void read_peers(struct draft *draft, const config_setting_t *group,
                       struct mistakes *mistakes)
{
    read_subnets(&draft->allowed, group, "allowed_subnets", mistakes);
    read_subnets(&draft->direct, group, "direct_subnets", mistakes);
}

/* Without the key the draft has a copy of what "defaults" say. */
static void read_endpoints(struct draft *draft, const config_setting_t *group,
                           const struct endpoints *inherited, struct mistakes *mistakes)
{
    const config_setting_t *setting = config_setting_get_member(group, "endpoints");

    if (setting) {
        draft->config.endpoints = endpoint_ids_read(setting, mistakes);
        return;
    }
    draft->config.endpoints = endpoint_ids_copy(inherited);
    if (inherited && !draft->config.endpoints)
        mistakes_error(mistakes, draft->line, "out of memory");
}

void draft_read_defaults(struct draft *draft, const config_setting_t *group,
                         struct mistakes *mistakes)
{
    *draft = (struct draft){ .line = 0 };
    keys_set_defaults(&keys_of_listener, &draft->config);
    if (!group)
        return;
    if (!config_setting_is_group(group)) {
        value_report_type(group, "\"defaults\" must be a group { }", mistakes);
        return;
    }
    keys_read(&keys_of_listener, group, &draft->config, draft->states, true, mistakes);
    read_peers(draft, group, mistakes);
    read_endpoints(draft, group, NULL, mistakes);
}

unsigned draft_line_of(const struct draft *draft, const char *key)
{
    int index = keys_find(&keys_of_listener, key);

    if (index < 0 || draft->states[index].line == 0)
        return draft->line;
    return draft->states[index].line;
}

static bool is_written(const struct draft *draft, const char *key)
{
    int index = keys_find(&keys_of_listener, key);

    return index >= 0 && draft->states[index].line != 0;
}

bool draft_is_bad(const struct draft *draft, const char *key)
{
    int index = keys_find(&keys_of_listener, key);

    return index >= 0 && draft->states[index].is_bad;
}

static void read_address(struct draft *draft, const config_setting_t *setting,
                         struct mistakes *mistakes)
{
    struct value value = value_of_setting(setting);
    struct listener_config *config = &draft->config;
    char reason[KINDS_REASON_MAX];

    if (kinds_listen(&value, &config->listen[config->n_listen], reason)) {
        draft->listen_lines[config->n_listen] = config_setting_source_line(setting);
        config->n_listen++;
    } else {
        mistakes_error(mistakes, config_setting_source_line(setting), "\"listen\" %s", reason);
    }
}

static void read_listen(struct draft *draft, const config_setting_t *setting,
                        struct mistakes *mistakes)
{
    unsigned line = config_setting_source_line(setting);
    bool is_many = config_setting_is_array(setting) || config_setting_is_list(setting);
    unsigned n = is_many ? (unsigned)config_setting_length(setting) : 1;

    if (n == 0 || n > DRAFT_ADDRESSES_MAX) {
        mistakes_error(mistakes, line, "\"listen\" must have 1 to %d addresses, not %u",
                       DRAFT_ADDRESSES_MAX, n);
        return;
    }
    draft->config.listen = calloc(n, sizeof *draft->config.listen);
    draft->listen_lines = calloc(n, sizeof *draft->listen_lines);
    if (!draft->config.listen || !draft->listen_lines) {
        mistakes_error(mistakes, line, "out of memory");
        return;
    }
    for (unsigned i = 0; i < n; i++)
        read_address(draft, is_many ? config_setting_get_elem(setting, i) : setting, mistakes);
    if (target_ports_count_listen(&draft->config) > CONFIG_PORTS_MAX)
        mistakes_error(mistakes, line, "\"listen\" may have at most %d ports, not %u",
                       CONFIG_PORTS_MAX, target_ports_count_listen(&draft->config));
}

static void need_key(const struct draft *draft, const char *key, struct mistakes *mistakes)
{
    if (!is_written(draft, key))
        mistakes_error(mistakes, draft->line, "this listener needs the key \"%s\"", key);
}

void draft_resolve_idle_timeout(struct draft *draft)
{
    if (draft->config.protocol == PROTOCOL_UDP && !is_written(draft, "idle_timeout"))
        draft->config.idle_timeout_ms = DRAFT_UDP_IDLE_MS;
}

/* The rules for UDP. */
static void check_udp_keys(const struct draft *draft, struct mistakes *mistakes)
{
    if (draft->config.protocol != PROTOCOL_UDP)
        return;
    if (draft->config.idle_timeout_ms == 0 && !draft_is_bad(draft, "idle_timeout"))
        mistakes_error(mistakes, draft_line_of(draft, "idle_timeout"),
                       "\"idle_timeout\" can't be 0 for UDP: its sessions would never end");
    if (draft->config.udp_header == UDP_HEADER_FIRST)
        mistakes_warn(
            mistakes, draft_line_of(draft, "udp_header"),
            "with udp_header \"first\" a client can claim any address, by a datagram that "
            "begins with a header of its own: not for services that trust it");
}

static void check_endpoints(const struct draft *draft, struct mistakes *mistakes)
{
    if (draft->config.endpoints && draft->config.protocol == PROTOCOL_UDP &&
        draft->config.udp_header == UDP_HEADER_SPP)
        mistakes_error(mistakes, draft_line_of(draft, "endpoints"),
                       "\"endpoints\" can't go with udp_header \"spp\": its headers name none");
}

/* The ports of a target, and of what else the listener says of them. */
static void check_target(struct draft *draft, const char *key, struct target_config *target,
                         struct mistakes *mistakes)
{
    char reason[KINDS_REASON_MAX];

    if (draft_is_bad(draft, "listen") || draft_is_bad(draft, "header_ports") ||
        draft_is_bad(draft, key) || target_ports_resolve(&draft->config, target, reason))
        return;
    mistakes_error(mistakes, draft_line_of(draft, key), "\"%s\" %s", key, reason);
}

static void check_return_path(const struct draft *draft, struct mistakes *mistakes)
{
    if (draft->config.return_path == RETURN_PATH_FLOWS && draft->config.protocol == PROTOCOL_TCP &&
        !draft_is_bad(draft, "protocol"))
        mistakes_error(mistakes, draft_line_of(draft, "return_path"),
                       "\"return_path\" can't be \"flows\" for TCP: it is for UDP alone");
}

void draft_read(struct draft *draft, const struct draft *defaults, const config_setting_t *group,
                struct mistakes *mistakes)
{
    const config_setting_t *listen;

    *draft = *defaults;
    draft->line = config_setting_source_line(group);
    keys_read(&keys_of_listener, group, &draft->config, draft->states, false, mistakes);
    read_peers(draft, group, mistakes);
    read_endpoints(draft, group, defaults->config.endpoints, mistakes);
    listen = config_setting_get_member(group, "listen");
    if (listen)
        read_listen(draft, listen, mistakes);
    need_key(draft, "name", mistakes);
    need_key(draft, "listen", mistakes);
    need_key(draft, "allowed_subnets", mistakes);
    if (!is_written(draft, "target_v4") && !is_written(draft, "target_v6"))
        mistakes_error(mistakes, draft->line,
                       "this listener needs a target: the key \"target_v4\" or \"target_v6\"");
    draft_resolve_idle_timeout(draft);
    check_udp_keys(draft, mistakes);
    check_endpoints(draft, mistakes);
    check_return_path(draft, mistakes);
    check_target(draft, "target_v4", &draft->config.target_v4, mistakes);
    check_target(draft, "target_v6", &draft->config.target_v6, mistakes);
    maps_check(draft, mistakes);
}

void draft_close(struct draft *draft)
{
    free(draft->config.listen);
    free(draft->listen_lines);
    free(draft->config.endpoints);
    draft->config.endpoints = NULL;
    draft->config.listen = NULL;
    draft->listen_lines = NULL;
}
