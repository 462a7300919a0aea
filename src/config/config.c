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
    if (!log)
        return;
    if (config_setting_is_group(log))
        keys_read(&keys_of_log, log, load->config, NULL, false, &load->mistakes);
    else
        value_report_type(log, "\"log\" must be a group { }", &load->mistakes);
}

static void read_listener(struct load *load, const config_setting_t *group)
{
    struct draft *draft = &load->drafts[load->n_drafts];
    struct place place;

    if (!config_setting_is_group(group)) {
        value_report_type(group, "a listener must be a group { }", &load->mistakes);
        return;
    }
    draft_read(draft, &load->defaults, group, &load->mistakes);
    place = places_find(&load->source.places, draft->line);
    draft->config.file = place.file;
    draft->config.line = place.line;
    load->n_drafts++;
}

/* list may be NULL. */
static void read_listeners(struct load *load, const config_setting_t *list)
{
    struct draft *grown;
    size_t n;

    if (!list)
        return;
    if (!config_setting_is_list(list)) {
        value_report_type(list, "\"listeners\" must be a list ( )", &load->mistakes);
        return;
    }
    n = (size_t)config_setting_length(list);
    if (load->n_drafts + n > CONFIG_LISTENERS_MAX) {
        mistakes_error(&load->mistakes, config_setting_source_line(list),
                       "there may be at most %d listeners, not %zu", CONFIG_LISTENERS_MAX,
                       load->n_drafts + n);
        return;
    }
    grown = reallocarray(load->drafts, load->n_drafts + n + 1, sizeof *grown);
    if (!grown) {
        mistakes_error(&load->mistakes, config_setting_source_line(list), "out of memory");
        return;
    }
    load->drafts = grown;
    for (size_t i = 0; i < n; i++)
        read_listener(load, config_setting_get_elem(list, (unsigned)i));
}

/* The files of include_dir, each a group. list: NULL without the key. */
static void read_included(struct load *load, const config_setting_t *list)
{
    unsigned n = list ? (unsigned)config_setting_length(list) : 0;

    for (unsigned i = 0; i < n; i++) {
        const config_setting_t *file = config_setting_get_elem(list, i);

        keys_read(&keys_of_included, file, NULL, NULL, false, &load->mistakes);
        read_listeners(load, config_setting_get_member(file, "listeners"));
    }
}

enum { EXPORTER_BACKLOG = 128, EXPORTER_KEEPALIVE_S = 60 };

static void read_metrics(struct load *load, const config_setting_t *root)
{
    const config_setting_t *setting = config_setting_get_member(root, "metrics");
    struct config *config = load->config;

    if (setting)
        across_check_metrics(&config->metrics, config_setting_source_line(setting), load->drafts,
                             load->n_drafts, &load->mistakes);
    config->exporter = (struct listener_config){ .name = "metrics",
                                                 .listen = &config->metrics,
                                                 .n_listen = addr_is_set(&config->metrics.addr),
                                                 .backlog = EXPORTER_BACKLOG,
                                                 .keepalive_s = EXPORTER_KEEPALIVE_S };
}

static void read_tree(struct load *load)
{
    const config_setting_t *root = config_root_setting(&load->tree);

    keys_read(&keys_of_config, root, load->config, NULL, false, &load->mistakes);
    read_log(load, config_setting_get_member(root, "log"));
    draft_read_defaults(&load->defaults, config_setting_get_member(root, "defaults"),
                        &load->mistakes);
    read_listeners(load, config_setting_get_member(root, "listeners"));
    read_included(load, config_setting_get_member(root, SOURCE_INCLUDED));
    across_check(load->drafts, load->n_drafts, &load->mistakes);
    read_metrics(load, root);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the drafts are config_load's to free */
    build_listeners(load->config, load->drafts, load->n_drafts, &load->defaults, false,
                    &load->mistakes);
}

/* returns: false after a mistake was reported. */
static bool parse_source(struct load *load)
{
    if (load->mistakes.n_errors > 0)
        return false;
    if (config_read_string(&load->tree, load->source.scan.text) == CONFIG_TRUE)
        return true;
    mistakes_error(&load->mistakes, (unsigned)config_error_line(&load->tree), "%s",
                   config_error_text(&load->tree));
    return false;
}

/* keys_read reports an include_dir that is no string. */
static bool add_folder(struct load *load)
{
    const config_setting_t *setting =
        config_setting_get_member(config_root_setting(&load->tree), "include_dir");
    const char *folder = setting ? config_setting_get_string(setting) : NULL;

    if (!folder || folder[0] == '\0')
        return true;
    source_add_folder(&load->source, folder, config_setting_source_line(setting));
    return parse_source(load);
}

static void read_file(struct load *load, const char *path)
{
    source_open(&load->source, path, &load->mistakes);
    if (parse_source(load) && add_folder(load))
        read_tree(load);
}

static struct config *new_config(const char *path)
{
    struct config *config = build_new();
    char *copy = strdup(path);

    if (!config || !copy) {
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
    if (load.config)
        read_file(&load, load.config->path);
    else
        mistakes_add(&load.mistakes, true, 0, "%s: out of memory", path);
    if (load.mistakes.n_errors == 0 && build_resolve(load.config) != 0)
        mistakes_add(&load.mistakes, true, 0, "%s: out of memory", path);

    mistakes_flush(&load.mistakes, sink);
    for (size_t i = 0; i < load.n_drafts; i++)
        draft_close(&load.drafts[i]);
    draft_close(&load.defaults);
    free(load.drafts);
    config_destroy(&load.tree);
    if (load.config)
        source_take_paths(&load.source, &load.config->files, &load.config->n_files);
    source_close(&load.source);
    if (load.mistakes.n_errors == 0)
        return load.config;
    config_free(load.config);
    return NULL;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->n_listeners; i++) {
        free(config->listeners[i].listen);
        free(config->listeners[i].endpoints);
    }
    for (size_t i = 0; i < config->n_subnets; i++)
        subnets_free(config->subnets[i]);
    for (size_t i = 0; i < config->n_files; i++)
        free(config->files[i]);
    free(config->files);
    free(config->listeners);
    free(config->subnets);
    free(config->include_dir);
    free(config->control);
    free(config->control_group);
    free(config->user);
    free(config->path);
    free(config);
}
