/* SPDX-License-Identifier: BSD-2-Clause */
/* A command line, one word a line. */
#include <errno.h>

#include "config_input.h"
#include "mmproxy/config/cmdline.h"

enum { WORDS_MAX = 64 };

static int split(char *text, char *argv[WORDS_MAX + 2])
{
    static char name[] = "mmproxy";
    int argc = 0;
    char *word;

    argv[argc++] = name;
    while (argc <= WORDS_MAX && (word = strsep(&text, "\n")) != NULL)
        argv[argc++] = word;
    argv[argc] = NULL;
    return argc;
}

/* Only files of our own are read: the input must not choose what is on this machine. */
static bool is_ours(const struct cmdline *cmdline)
{
    if (cmdline->config_path != NULL)
        return strcmp(cmdline->config_path, INPUT_CONFIG) == 0;
    return strcmp(cmdline->allowed_path, INPUT_SUBNETS) == 0;
}

static void configure(const struct cmdline *cmdline)
{
    struct reports reports = { .n_errors = 0 };
    struct config_sink sink = { .report = input_report, .context = &reports };
    bool is_usage_error;
    struct config *config = cmdline_config(cmdline, &sink, &is_usage_error);

    PROPERTY((config == NULL) == (reports.n_errors > 0));
    PROPERTY(!is_usage_error || (config == NULL && reports.is_usage));
    if (config == NULL)
        return;
    PROPERTY(config->quiet == cmdline->quiet);
    PROPERTY(!cmdline->no_sandbox || !config->sandbox);
    PROPERTY(!cmdline->verbose || (config->log_connections && config->log.level >= LOG_LEVEL_INFO));
    PROPERTY(cmdline->config_path != NULL || config->n_listeners == 1);
    if (cmdline->config_path == NULL)
        input_check_listener(&config->listeners[0]);
    config_free(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct reports reports = { .n_errors = 0 };
    struct config_sink sink = { .report = input_report, .context = &reports };
    char *argv[WORDS_MAX + 2];
    struct cmdline cmdline;
    char *text = malloc(len + 1);
    int error;

    PROPERTY(text != NULL);
    memcpy(text, bytes, len);
    text[len] = '\0';
    input_write(INPUT_CONFIG_FD, "workers = 1;", 12);
    input_write(INPUT_SUBNETS_FD, "192.0.2.0/24\nx\n", 15);

    error = cmdline_parse(&cmdline, split(text, argv), argv, &sink);
    PROPERTY(error == 0 || error == -EINVAL);
    PROPERTY(reports.n_warnings == 0 && reports.n_errors == (error == 0 ? 0 : 1));
    PROPERTY(error == 0 || reports.is_usage);
    if (error == 0 && cmdline.action != CMDLINE_HELP && cmdline.action != CMDLINE_VERSION) {
        PROPERTY((cmdline.config_path == NULL) == (cmdline.allowed_path != NULL));
        PROPERTY((cmdline.config_path == NULL) == (cmdline.n_listen > 0));
        if (is_ours(&cmdline))
            configure(&cmdline);
    }
    cmdline_close(&cmdline);
    free(text);
    return 0;
}
