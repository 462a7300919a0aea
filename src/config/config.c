/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/config/config.h"

#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

#include "across.h"
#include "build.h"
#include "draft.h"
#include "keys.h"
#include "mistakes.h"
#include "source.h"

struct load {
    struct config *config;
    struct source source;
    struct mistakes mistakes;
    config_t tree; /* libconfig's: strings in drafts are its own */
    struct draft defaults;
    struct draft *drafts;
    size_t n_drafts;
};

static void read_log(struct load *load, const config_setting_t *log)
{
    if (config_setting_is_group(log))
        keys_read(&keys_of_log, log, load->config, NULL, false, &load->mistakes);
    else
        keys_report_type(log, "\"log\" must be a group { }", &load->mistakes);
}

static void read_listeners(struct load *load, const config_setting_t *list)
{
    unsigned n;

    if (!config_setting_is_list(list)) {
        keys_report_type(list, "\"listeners\" must be a list ( )", &load->mistakes);
        return;
    }
    n = (unsigned)config_setting_length(list);
    if (n > CONFIG_LISTENERS_MAX) {
        mistakes_error(&load->mistakes, config_setting_source_line(list),
                       "\"listeners\" must have at most %d elements, not %u", CONFIG_LISTENERS_MAX,
                       n);
        return;
    }
    load->drafts = calloc(n + 1, sizeof(*load->drafts));
    if (load->drafts == NULL) {
        mistakes_error(&load->mistakes, config_setting_source_line(list), "out of memory");
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        const config_setting_t *group = config_setting_get_elem(list, i);
        struct draft *draft = &load->drafts[load->n_drafts];

        if (!config_setting_is_group(group)) {
            keys_report_type(group, "a listener must be a group { }", &load->mistakes);
            continue;
        }
        draft_read(draft, &load->defaults, group, &load->mistakes);
        draft->config.line =
            places_find(&load->source.places, config_setting_source_line(group)).line;
        load->n_drafts++;
    }
}

static void read_tree(struct load *load)
{
    const config_setting_t *root = config_root_setting(&load->tree);
    const config_setting_t *log = config_setting_get_member(root, "log");
    const config_setting_t *defaults = config_setting_get_member(root, "defaults");
    const config_setting_t *listeners = config_setting_get_member(root, "listeners");

    keys_read(&keys_of_config, root, load->config, NULL, false, &load->mistakes);
    if (log != NULL)
        read_log(load, log);
    draft_read_defaults(&load->defaults, defaults, &load->mistakes);
    if (listeners != NULL)
        read_listeners(load, listeners);
    across_check(load->drafts, load->n_drafts, &load->mistakes);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the drafts are config_load's to free */
    build_listeners(load->config, load->drafts, load->n_drafts, false, &load->mistakes);
}

static void read_file(struct load *load, const char *path)
{
    source_open(&load->source, path, &load->mistakes);
    if (load->mistakes.n_errors > 0)
        return;
    if (config_read_string(&load->tree, load->source.scan.text) != CONFIG_TRUE) {
        mistakes_error(&load->mistakes, (unsigned)config_error_line(&load->tree), "%s",
                       config_error_text(&load->tree));
        return;
    }
    read_tree(load);
}

static struct config *new_config(const char *path)
{
    struct config *config = build_new();
    char *copy = strdup(path);

    if (config == NULL || copy == NULL) {
        config_free(config);
        free(copy);
        return NULL;
    }
    config->path = copy;
    return config;
}

struct config *config_load(const char *path, const struct config_sink *sink)
{
    struct load load = { .config = new_config(path) };

    config_init(&load.tree);
    if (load.config == NULL) {
        mistakes_add(&load.mistakes, true, 0, "%s: out of memory", path);
    } else {
        load.config->log_connections = true;
        read_file(&load, load.config->path);
    }
    if (load.mistakes.n_errors == 0 && build_resolve(load.config) != 0)
        mistakes_add(&load.mistakes, true, 0, "%s: out of memory", path);

    mistakes_flush(&load.mistakes, sink);
    for (size_t i = 0; i < load.n_drafts; i++)
        draft_close(&load.drafts[i]);
    free(load.drafts);
    config_destroy(&load.tree);
    source_close(&load.source);
    if (load.mistakes.n_errors == 0)
        return load.config;
    config_free(load.config);
    return NULL;
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < config->n_listeners; i++)
        free(config->listeners[i].listen);
    for (size_t i = 0; i < config->n_subnets; i++)
        subnets_free(config->subnets[i]);
    free(config->listeners);
    free(config->subnets);
    free(config->user);
    free(config->path);
    free(config);
}

const struct addr *listener_config_target(const struct listener_config *listener,
                                          sa_family_t family)
{
    const struct addr *target = family == AF_INET ? &listener->target_v4 : &listener->target_v6;

    return (family == AF_INET || family == AF_INET6) && addr_is_set(target) ? target : NULL;
}
