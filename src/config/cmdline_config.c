/* SPDX-License-Identifier: BSD-2-Clause */
/* The configuration for a command line: the file's, or one made of its options. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "across.h"
#include "build.h"
#include "mistakes.h"
#include "mmproxy/config/cmdline.h"
#include "target_ports.h"

struct assembly {
    const struct cmdline *cmdline;
    struct config *config;
    struct draft draft;
    struct mistakes mistakes;
};

static void usage_error(struct assembly *assembly, const char *option, const char *reason)
{
    mistakes_add(&assembly->mistakes, true, 0, "mmproxy: %s %s (try 'mmproxy --help')", option,
                 reason);
}

/* An option whose value is that of a listener's key; NULL: the option was not given. */
static void take_key(struct assembly *assembly, const char *option, const char *name,
                     const char *text)
{
    int index = keys_find(&keys_of_listener, name);
    const struct key *key;
    struct value value;
    char reason[KINDS_REASON_MAX];

    if (!text)
        return;
    assert(index >= 0);
    key = &keys_of_listener.keys[index];
    value = value_of_text(text);
    if (strcmp(key->kind->type, "whole number") != 0)
        value.type = VALUE_STRING; /* a file may be called 123 */
    if (!key->kind->parse(key, &value, (char *)&assembly->draft.config + key->offset, reason))
        usage_error(assembly, option, reason);
}

/* Scripts written for the original must give both targets and have a dummy for one. */
static void take_target(struct assembly *assembly, const char *option, const char *name,
                        const char *text)
{
    sa_family_t family = strcmp(name, "target_v4") == 0 ? AF_INET : AF_INET6;
    struct target_config target;
    char formatted[ADDR_STRLEN];

    if (!text)
        return;
    if (kinds_target(&target, text) || addr_family(&target.addr) == family) {
        take_key(assembly, option, name, text);
        return;
    }
    mistakes_add(&assembly->mistakes, false, 0, "mmproxy: %s %s is no %s address and is ignored",
                 option, addr_format(&target.addr, formatted), family == AF_INET ? "IPv4" : "IPv6");
}

static void take_listen(struct assembly *assembly)
{
    const struct cmdline *cmdline = assembly->cmdline;
    struct listener_config *config = &assembly->draft.config;
    char reason[KINDS_REASON_MAX];

    config->listen = calloc(cmdline->n_listen, sizeof *config->listen);
    if (!config->listen) {
        mistakes_add(&assembly->mistakes, true, 0, "mmproxy: out of memory");
        return;
    }
    for (size_t i = 0; i < cmdline->n_listen; i++) {
        struct value value = value_of_text(cmdline->listen[i]);

        value.type = VALUE_STRING;
        if (kinds_listen(&value, &config->listen[config->n_listen], reason))
            config->n_listen++;
        else
            usage_error(assembly, "--listen", reason);
    }
}

/* The first address before the i-th that it can't stand beside. */
static void check_overlap(struct assembly *assembly, size_t i)
{
    const struct addr_range *listen = assembly->draft.config.listen;
    char text[ADDR_RANGE_STRLEN];
    char other[ADDR_RANGE_STRLEN];

    for (size_t j = 0; j < i; j++) {
        if (!across_overlaps(&listen[i], &listen[j]))
            continue;
        addr_range_format(&listen[i], text);
        if (addr_range_equal(&listen[i], &listen[j]))
            mistakes_add(&assembly->mistakes, true, 0,
                         "mmproxy: --listen has %s twice (try 'mmproxy --help')", text);
        else
            mistakes_add(&assembly->mistakes, true, 0,
                         "mmproxy: --listen has %s, which overlaps %s (try 'mmproxy --help')", text,
                         addr_range_format(&listen[j], other));
        return;
    }
}

/* Does mmproxy listen on one of the target's ports itself? */
static bool is_loop(const struct listener_config *config, sa_family_t family)
{
    const struct addr *target = listener_config_target(config, family);
    struct port_range ports;

    for (size_t i = 0; listener_config_ports(config, family, i, &ports); i++) {
        struct addr_range range = { .addr = *target, .last = ports.last };
        addr_set_port(&range.addr, ports.first);
        for (size_t j = 0; j < config->n_listen; j++)
            if (across_is_loop(&config->listen[j], &range))
                return true;
    }
    return false;
}

static void check_target(struct assembly *assembly, struct target_config *target,
                         const char *option)
{
    char reason[KINDS_REASON_MAX];

    if (!target_ports_resolve(&assembly->draft.config, target, reason))
        usage_error(assembly, option, reason);
    else if (is_loop(&assembly->draft.config, addr_family(&target->addr)))
        usage_error(assembly, option, "is where mmproxy listens itself: a loop");
}

/* The mistakes of across_check, in the words of options. */
static void check_listener(struct assembly *assembly)
{
    struct listener_config *config = &assembly->draft.config;

    if (target_ports_count_listen(config) > CONFIG_PORTS_MAX)
        mistakes_add(&assembly->mistakes, true, 0,
                     "mmproxy: --listen may have at most %d ports (try 'mmproxy --help')",
                     CONFIG_PORTS_MAX);
    for (size_t i = 0; i < config->n_listen; i++)
        check_overlap(assembly, i);
    check_target(assembly, &config->target_v4, "--target-v4");
    check_target(assembly, &config->target_v6, "--target-v6");
    if (!addr_is_set(&config->target_v4.addr) && !addr_is_set(&config->target_v6.addr))
        mistakes_add(&assembly->mistakes, true, 0,
                     "mmproxy: no target is left (try 'mmproxy --help')");
}

static void check_return_path(struct assembly *assembly)
{
    const struct listener_config *config = &assembly->draft.config;

    if (config->return_path == RETURN_PATH_FLOWS && config->protocol == PROTOCOL_TCP)
        usage_error(assembly, "--return-path", "can't be \"flows\" for TCP: it is for UDP alone");
}

static void take_options(struct assembly *assembly)
{
    const struct cmdline *cmdline = assembly->cmdline;
    struct listener_config *config = &assembly->draft.config;
    const char *return_path = cmdline->return_path;

    draft_read_defaults(&assembly->draft, NULL, &assembly->mistakes);
    if (cmdline->allowed_path[0] == '\0')
        usage_error(assembly, "--allowed-networks", "must be the path of a file, not empty");
    assembly->draft.allowed.path = cmdline->allowed_path;
    take_listen(assembly);
    take_target(assembly, "--target-v4", "target_v4", cmdline->target_v4);
    take_target(assembly, "--target-v6", "target_v6", cmdline->target_v6);
    take_key(assembly, "--mark", "mark", cmdline->mark);
    take_key(assembly, "--table", "table", cmdline->table);
    take_key(assembly, "--protocol", "protocol", cmdline->protocol);
    if (!return_path)
        return_path = config->protocol == PROTOCOL_UDP ? "auto" : "connmark";
    take_key(assembly, "--return-path", "return_path", return_path);
    check_return_path(assembly);
    config->preserve_client_port =
        cmdline->force_real_client_port || config->protocol == PROTOCOL_UDP;
    draft_resolve_idle_timeout(&assembly->draft);
    if (assembly->mistakes.n_errors == 0)
        check_listener(assembly);
}

static struct config *config_of_options(const struct cmdline *cmdline,
                                        const struct config_sink *sink, bool *is_usage_error)
{
    struct assembly assembly = { .cmdline = cmdline, .config = build_new() };

    if (!assembly.config) {
        mistakes_add(&assembly.mistakes, true, 0, "mmproxy: out of memory");
    } else {
        assembly.config->log_connections = LOG_CONNECTIONS_NONE;
        take_options(&assembly);
        *is_usage_error = assembly.mistakes.n_errors > 0;
    }
    if (assembly.mistakes.n_errors == 0)
        build_listeners(assembly.config, &assembly.draft, 1, NULL, true, &assembly.mistakes);
    if (assembly.mistakes.n_errors == 0 && build_resolve(assembly.config) != 0)
        mistakes_add(&assembly.mistakes, true, 0, "mmproxy: out of memory");
    mistakes_flush(&assembly.mistakes, sink);
    draft_close(&assembly.draft);
    if (assembly.mistakes.n_errors == 0)
        return assembly.config;
    config_free(assembly.config);
    return NULL;
}

struct config *cmdline_config(const struct cmdline *cmdline, const struct config_sink *sink,
                              bool *is_usage_error)
{
    struct config *config;

    *is_usage_error = false;
    if (cmdline->config_path)
        config = config_load(cmdline->config_path, sink);
    else
        config = config_of_options(cmdline, sink, is_usage_error);
    if (!config)
        return NULL;
    config->quiet = cmdline->quiet;
    if (cmdline->no_sandbox)
        config->sandbox = false;
    if (cmdline->verbose) {
        config->log_connections = LOG_CONNECTIONS_BOTH;
        /* Connections are logged at level info: a stricter level would hide them again. */
        if (config->log.level < LOG_LEVEL_INFO)
            config->log.level = LOG_LEVEL_INFO;
    }
    return config;
}
