/* SPDX-License-Identifier: BSD-2-Clause */
/* cmdline: argv → what to run. Prints nothing; mistakes go to the sink. */
#ifndef MMPROXY_CONFIG_CMDLINE_H
#define MMPROXY_CONFIG_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>

#include "mmproxy/config/config.h"

enum cmdline_action {
    CMDLINE_SERVE,
    CMDLINE_TEST_CONFIG, /* -n */
    CMDLINE_CHECK,       /* --check */
    CMDLINE_RULES,       /* --rules[=FORM] */
    CMDLINE_HELP,
    CMDLINE_VERSION,
};

enum rules_form { RULES_SHELL, RULES_UNDO, RULES_NETWORKD, RULES_INTERFACES };

struct cmdline {
    enum cmdline_action action;
    enum rules_form rules_form;
    const char *config_path; /* with a file; NULL: the options below describe one listener */
    const char *allowed_path;
    const char **listen; /* owned; the strings are argv's */
    size_t n_listen;
    const char *target_v4;
    const char *target_v6;
    const char *mark;
    const char *table;
    const char *return_path;
    const char *protocol;
    bool force_real_client_port;
    bool quiet;
    bool verbose;
    bool no_sandbox; /* also with a file */
};

/*
 * Parses argv. returns: 0; -EINVAL after the usage error was reported (exit status 64).
 * Missing required options are usage errors too; values are judged by cmdline_config.
 */
int cmdline_parse(struct cmdline *out, int argc, char *const argv[],
                  const struct config_sink *sink);
void cmdline_close(struct cmdline *cmdline);

/*
 * The configuration that it asks for: the file's, with -q, -v and -N on top, or the one
 * listener's. returns: as config_load; *is_usage_error then tells whether an option's value
 * was wrong (exit status 64) or a file (78).
 */
struct config *cmdline_config(const struct cmdline *cmdline, const struct config_sink *sink,
                              bool *is_usage_error);

/* The text of --help; static. */
const char *cmdline_help(void);

#endif
