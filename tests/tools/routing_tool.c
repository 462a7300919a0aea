/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * routing_tool ACTION [mmproxy's options]: the routing layer without the daemon, for tests.
 *
 *   verify, check   print the report on stdout; exit 1 where something does not hold
 *   rules           print the commands; the form by --rules=FORM
 *   managed         set up, say "ready" on stdout, keep up; SIGHUP reads the configuration
 *                   anew, SIGTERM takes down, SIGKILL is the crash
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "mmproxy/config/cmdline.h"
#include "mmproxy/net/locals.h"
#include "mmproxy/routing/managed/managed.h"
#include "mmproxy/routing/report/check.h"
#include "mmproxy/routing/report/rules.h"
#include "mmproxy/routing/report/verify.h"
#include "mmproxy/routing/wanted/auto_path.h"

static void print_mistake(void *context, bool is_error, const char *line)
{
    (void)context;
    (void)is_error;
    fprintf(stderr, "%s\n", line);
}

static void print_line(void *context, enum log_level level, const char *line)
{
    (void)context;
    (void)level;
    printf("%s\n", line);
}

static const struct config_sink mistakes = { .report = print_mistake };
static const struct report_sink lines = { .line = print_line };

static struct config *load(const struct cmdline *cmdline)
{
    bool is_usage_error;

    struct config *config = cmdline_config(cmdline, &mistakes, &is_usage_error);
    struct locals *locals = NULL;

    (void)locals_new(&locals);
    for (size_t i = 0; config && i < config->n_listeners; i++)
        auto_path_find(&config->listeners[i], locals);
    locals_free(locals);
    return config;
}

static int apply(struct managed *managed, const struct cmdline *cmdline)
{
    struct config *config = load(cmdline);
    const struct config *configs[] = { config };
    bool ok;

    if (!config)
        return EX_CONFIG;
    ok = managed_apply(managed, configs, 1);
    config_free(config);
    printf("%s\n", ok ? "ready" : "ready, but something is missing");
    fflush(stdout);
    return EX_OK;
}

/* returns: the next signal, after serving the descriptor until it comes. */
static int wait_signal(struct managed *managed, int signals)
{
    struct pollfd fds[] = { { .fd = signals, .events = POLLIN },
                            { .fd = managed_fd(managed), .events = POLLIN } };
    struct signalfd_siginfo info;

    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return SIGTERM;
        if (fds[1].revents)
            managed_on_readable(managed);
        if (fds[0].revents && read(signals, &info, sizeof(info)) == sizeof(info))
            return (int)info.ssi_signo;
    }
}

static int keep_up(const struct cmdline *cmdline)
{
    struct managed *managed;
    sigset_t set;
    int signals;
    int status;

    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signals = signalfd(-1, &set, SFD_CLOEXEC);
    managed = managed_new();
    if (!managed || signals < 0) {
        perror("managed_new");
        return EX_OSERR;
    }
    status = apply(managed, cmdline);
    while (wait_signal(managed, signals) == SIGHUP)
        apply(managed, cmdline);
    managed_remove(managed);
    managed_free(managed);
    close(signals);
    return status;
}

static int run(const char *action, const struct cmdline *cmdline)
{
    struct config *config;
    int status = EX_USAGE;
    int r;

    if (strcmp(action, "managed") == 0)
        return keep_up(cmdline);
    config = load(cmdline);
    if (!config)
        return EX_CONFIG;
    if (strcmp(action, "verify") == 0) {
        status = verify_run(config, &lines) ? 0 : 1;
    } else if (strcmp(action, "check") == 0) {
        status = check_run(config, &lines) ? 0 : 1;
    } else if (strcmp(action, "rules") == 0) {
        r = rules_print(stdout, config, cmdline->rules_form);
        status = r == 0 ? EX_OK : EX_OSERR;
    }
    config_free(config);
    return status;
}

int main(int argc, char *argv[])
{
    struct cmdline cmdline;
    int status;

    if (argc < 2 || cmdline_parse(&cmdline, argc - 1, argv + 1, &mistakes) < 0)
        return EX_USAGE;
    setvbuf(stdout, NULL, _IOLBF, 0);
    status = run(argv[1], &cmdline);
    cmdline_close(&cmdline);
    return status;
}
