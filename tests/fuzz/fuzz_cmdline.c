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
    struct reports reports_again = { .n_errors = 0 };
    struct config_sink sink = { .report = input_report, .context = &reports };
    struct config_sink sink_again = { .report = input_report, .context = &reports_again };
    bool is_usage_error;
    bool is_usage_error_again;
    struct config *config = cmdline_config(cmdline, &sink, &is_usage_error);
    struct config *again = cmdline_config(cmdline, &sink_again, &is_usage_error_again);

    PROPERTY((config == NULL) == (reports.n_errors > 0) && (config == NULL) == (again == NULL));
    PROPERTY(is_usage_error == is_usage_error_again && reports.digest == reports_again.digest);
    PROPERTY(config == NULL || config_equal(config, again));
    config_free(again);
    PROPERTY(!is_usage_error || (config == NULL && reports.is_usage));
    if (config == NULL)
        return;
    PROPERTY(config->quiet == cmdline->quiet);
    PROPERTY(!cmdline->no_sandbox || !config->sandbox);
    PROPERTY(!cmdline->verbose || (config->log_connections == LOG_CONNECTIONS_BOTH &&
                                   config->log.level >= LOG_LEVEL_INFO));
    PROPERTY(cmdline->config_path != NULL || config->n_listeners == 1);
    if (cmdline->config_path == NULL)
        input_check_listener(&config->listeners[0]);
    config_free(config);
}

static bool is_same_word(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Another -q in front of everything makes it quiet, and changes nothing else. */
static void check_quiet(const struct cmdline *cmdline, int error, int argc, char *argv[])
{
    static char quiet[] = "-q";
    struct reports reports = { .n_errors = 0 };
    struct config_sink sink = { .report = input_report, .context = &reports };
    char *longer[WORDS_MAX + 3];
    struct cmdline other;

    longer[0] = argv[0];
    longer[1] = quiet;
    for (int i = 1; i <= argc; i++)
        longer[i + 1] = argv[i];
    PROPERTY(cmdline_parse(&other, argc + 1, longer, &sink) == error);
    if (error == 0) {
        PROPERTY(other.quiet && other.action == cmdline->action);
        PROPERTY(other.rules_form == cmdline->rules_form && other.n_listen == cmdline->n_listen);
        PROPERTY(is_same_word(other.config_path, cmdline->config_path));
        PROPERTY(is_same_word(other.allowed_path, cmdline->allowed_path));
        PROPERTY(is_same_word(other.target_v4, cmdline->target_v4));
        PROPERTY(is_same_word(other.target_v6, cmdline->target_v6));
        PROPERTY(is_same_word(other.mark, cmdline->mark));
        PROPERTY(is_same_word(other.table, cmdline->table));
        PROPERTY(is_same_word(other.return_path, cmdline->return_path));
        PROPERTY(other.verbose == cmdline->verbose && other.no_sandbox == cmdline->no_sandbox);
    }
    cmdline_close(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct reports reports = { .n_errors = 0 };
    struct config_sink sink = { .report = input_report, .context = &reports };
    static const char strict[] = "workers = 1; log: { level = \"error\"; };";
    char *argv[WORDS_MAX + 2];
    struct cmdline cmdline;
    char *text = malloc(len + 1);
    int argc;
    int error;

    PROPERTY(text != NULL);
    memcpy(text, bytes, len);
    text[len] = '\0';
    input_write(INPUT_CONFIG_FD, strict, sizeof(strict) - 1);
    input_write(INPUT_SUBNETS_FD, "192.0.2.0/24\nx\n", 15);

    argc = split(text, argv);
    error = cmdline_parse(&cmdline, argc, argv, &sink);
    PROPERTY(error == 0 || error == -EINVAL);
    PROPERTY(reports.n_warnings == 0 && reports.n_errors == (error == 0 ? 0 : 1));
    PROPERTY(error == 0 || reports.is_usage);
    if (error == 0 && cmdline.action != CMDLINE_HELP && cmdline.action != CMDLINE_VERSION) {
        PROPERTY((cmdline.config_path == NULL) == (cmdline.allowed_path != NULL));
        PROPERTY((cmdline.config_path == NULL) == (cmdline.n_listen > 0));
        if (is_ours(&cmdline))
            configure(&cmdline);
    }
    check_quiet(&cmdline, error, argc, argv);
    cmdline_close(&cmdline);
    free(text);
    return 0;
}
