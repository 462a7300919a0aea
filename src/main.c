/* SPDX-License-Identifier: BSD-2-Clause */
/* main: argv → what to run; nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "mmproxy/base/log.h"
#include "mmproxy/config/cmdline.h"
#include "mmproxy/supervisor/foreground.h"
#include "mmproxy/supervisor/supervisor.h"
#include "mmproxy/supervisor/unit.h"
#include "mmproxy/version.h"

static void print_mistake(void *context, bool is_error, const char *line)
{
    (void)context;
    (void)is_error;
    fprintf(stderr, "%s\n", line);
}

static const struct config_sink sink = { .report = print_mistake };

static int test_config(struct config *config)
{
    foreground_warn(config, &sink);
    fprintf(stderr, "%s: configuration is fine, listeners: %zu\n",
            config->path ? config->path : "mmproxy", config->n_listeners);
    return EX_OK;
}

/* Reads the configuration as the service would; see unit.h. */
static struct config *load_as_service(const struct cmdline *cmdline, bool *is_usage_error)
{
    struct unit unit;
    struct config *config;
    int err;

    unit_find(&unit, cmdline->config_path);
    if (unit.user[0] == '\0')
        return cmdline_config(cmdline, &sink, is_usage_error);
    err = unit_enter(&unit);
    if (err < 0) {
        fprintf(stderr, "mmproxy: files are read as root: user %s of mmproxy.service: %s\n",
                unit.user, strerror(-err));
        return cmdline_config(cmdline, &sink, is_usage_error);
    }
    fprintf(stderr, "mmproxy: files are read as user %s, as mmproxy.service reads them\n",
            unit.user);
    config = cmdline_config(cmdline, &sink, is_usage_error);
    unit_leave(&unit);
    return config;
}

/* The actions that need a configuration and end at once. */
static int answer(const struct cmdline *cmdline)
{
    bool is_usage_error;
    struct config *config = cmdline->action == CMDLINE_RULES
                                ? cmdline_config(cmdline, &sink, &is_usage_error)
                                : load_as_service(cmdline, &is_usage_error);
    int status;

    if (!config)
        return is_usage_error ? EX_USAGE : EX_CONFIG;
    if (cmdline->action == CMDLINE_CHECK)
        status = foreground_check(config);
    else if (cmdline->action == CMDLINE_RULES)
        status = foreground_rules(config, cmdline->rules_form);
    else
        status = test_config(config);
    config_free(config);
    return status;
}

static int print(const char *text)
{
    if (fputs(text, stdout) >= 0 && fflush(stdout) == 0)
        return EX_OK;
    fprintf(stderr, "mmproxy: standard output can't be written: %s\n", strerror(errno));
    return EX_OSERR;
}

static int run(const struct cmdline *cmdline, char *const argv[])
{
    switch (cmdline->action) {
    case CMDLINE_HELP:
        return print(cmdline_help());
    case CMDLINE_VERSION:
        return print("mmproxy " MMPROXY_VERSION "\n");
    case CMDLINE_TEST_CONFIG:
    case CMDLINE_CHECK:
    case CMDLINE_RULES:
        return answer(cmdline);
    case CMDLINE_SERVE:
        break;
    }
    return supervisor_run(cmdline, argv);
}

/*
 * A descriptor opened later must not become standard output by accident. Text that is
 * printed on a standard output that was closed is lost, and writing says so.
 */
static void fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        int opened = open("/dev/null", (fd == STDOUT_FILENO ? O_RDONLY : O_RDWR) | O_NOCTTY);
        if (opened != fd) /* nothing is there below it that could be opened */
            return;
    }
}

int main(int argc, char *argv[])
{
    struct cmdline cmdline;

    fill_standard_descriptors();
    (void)signal(SIGPIPE, SIG_IGN); /* a peer that went away is an error code, not our end */
    (void)signal(SIGXFSZ, SIG_IGN); /* so is a log file at its limit */
    if (cmdline_parse(&cmdline, argc, argv, &sink) < 0)
        return EX_USAGE;

    int status = run(&cmdline, argv);
    cmdline_close(&cmdline);
    return status;
}
