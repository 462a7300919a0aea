/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/foreground.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "mmproxy/routing/managed/managed.h"
#include "mmproxy/routing/report/rules.h"
#include "mmproxy/supervisor/preflight.h"

enum {
    EX_CHECK_FAILED = 1,
    EX_BY_SIGNAL = 128, /* plus its number, as shells have it */
};

static void print_line(void *context, enum log_level level, const char *line)
{
    (void)context;
    (void)level;
    fprintf(stderr, "%s\n", line);
}

static const struct report_sink sink = { .line = print_line };

static int status_of(bool holds)
{
    return holds ? EX_OK : EX_CHECK_FAILED;
}

/* Those that end a program and that nobody told us to ignore, and SIGCHLD. */
static void list_signals(sigset_t *out)
{
    static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
    struct sigaction action;

    sigemptyset(out);
    sigaddset(out, SIGCHLD);
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
        if (sigaction(ending[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(out, ending[i]);
}

static int status_of_child(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : EX_OSERR;
}

static int kill_and_reap(pid_t pid)
{
    int status;

    (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return EX_OSERR;
    return status_of_child(status);
}

/*
 * SIGCHLD may be of a child that whoever became this program had before. *number: the signal
 * that ended the wait early, or 0. returns: its exit status, or EX_OSERR where it has none.
 */
static int wait_for(pid_t pid, const sigset_t *signals, int *number)
{
    for (;;) {
        int status;

        if (sigwait(signals, number) != 0)
            continue;
        if (*number != SIGCHLD)
            return kill_and_reap(pid);
        *number = 0;
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid)
            return status_of_child(status);
        if (ended < 0)
            return EX_OSERR;
    }
}

/*
 * The checks wait for targets, so another process does them: this one takes the return path
 * down whatever happens. signals: blocked; before: the mask that was. *number: the signal that
 * ended it early. returns: an exit status.
 */
static int check_beside(const struct config *config, struct managed *managed,
                        const sigset_t *signals, const sigset_t *before, int *number)
{
    pid_t pid = fork();

    if (pid < 0) {
        fprintf(stderr, "mmproxy: the targets can't be checked: %s\n", strerror(errno));
        return EX_OSERR;
    }
    if (pid == 0) {
        managed_leave(managed);
        sigprocmask(SIG_SETMASK, before, NULL);
        exit(status_of(preflight_run(config, true, &sink)));
    }
    return wait_for(pid, signals, number);
}

static int check_managed(const struct config *config)
{
    static const struct sigaction child_ends = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP };
    sigset_t signals;
    sigset_t before;
    int number = 0;

    (void)sigaction(SIGCHLD, &child_ends, NULL);
    list_signals(&signals);
    sigprocmask(SIG_BLOCK, &signals, &before);
    struct managed *managed = managed_new();
    if (!managed) {
        fprintf(stderr, "mmproxy: the return path can't be managed: %s\n", strerror(errno));
        return EX_OSERR;
    }
    (void)managed_apply(managed, &config, 1); /* what is missing is in the report */
    int status = check_beside(config, managed, &signals, &before, &number);
    managed_remove(managed);
    managed_free(managed);
    if (number != 0)
        (void)raise(number);
    sigprocmask(SIG_SETMASK, &before, NULL); /* which ends us, as if it had never been held up */
    return number != 0 ? EX_BY_SIGNAL + number : status;
}

int foreground_check(const struct config *config)
{
    if (config->n_listeners == 0)
        print_line(NULL, LOG_LEVEL_WARNING, "[!] No listener is configured: nothing to check.");
    else if (config->routing == ROUTING_MANAGED && managed_is_in_use())
        print_line(NULL, LOG_LEVEL_INFO,
                   "[ ] A mmproxy that runs manages the return path: --check changes nothing.");
    else if (config->routing == ROUTING_MANAGED)
        return check_managed(config);
    return status_of(preflight_run(config, true, &sink));
}

int foreground_rules(const struct config *config, enum rules_form form)
{
    int err = rules_print(stdout, config, form);
    if (err == 0 && fflush(stdout) != 0)
        err = -errno;
    if (err < 0)
        fprintf(stderr, "mmproxy: the rules can't be printed: %s\n", strerror(-err));
    return err < 0 ? EX_OSERR : EX_OK;
}
