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
#include "mmproxy/supervisor/check_networks.h"
#include "mmproxy/supervisor/config_warnings.h"
#include "mmproxy/supervisor/namespaces.h"

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

/* Signals that end a program, unless our parent ignores them, and SIGCHLD. */
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
 * SIGCHLD may be of a child from before exec. *number: the signal
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
static int check_beside(const struct config *config, struct namespaces *namespaces,
                        const sigset_t *signals, const sigset_t *before, int *number)
{
    struct network *network;
    pid_t pid = fork();

    if (pid < 0) {
        fprintf(stderr, "mmproxy: the targets can't be checked: %s\n", strerror(errno));
        return EX_OSERR;
    }
    if (pid == 0) {
        LIST_FOREACH (network, &namespaces->all, link)
            (void)managed_leave(network->managed);
        sigprocmask(SIG_SETMASK, before, NULL);
        exit(status_of(check_networks(namespaces, config, true, &sink)));
    }
    return wait_for(pid, signals, number);
}

/* Within the namespace. */
static void set_up(struct network *network, const struct config *part)
{
    if (part->n_listeners == 0)
        return;
    if (managed_is_in_use()) {
        print_line(NULL, LOG_LEVEL_INFO,
                   "[ ] A mmproxy that runs manages the return path: --check changes nothing.");
        return;
    }
    network->managed = managed_new();
    if (!network->managed)
        fprintf(stderr, "mmproxy: the return path can't be managed: %s\n", strerror(errno));
    else
        (void)managed_apply(network->managed, &part, 1); /* what is missing is in the report */
}

/* Within the namespace. */
static void take_down(struct network *network)
{
    if (!network->managed)
        return;
    managed_remove(network->managed);
    managed_free(network->managed);
    network->managed = NULL;
}

static void set_up_all(struct namespaces *namespaces, const struct config *config)
{
    struct network *network;

    LIST_FOREACH (network, &namespaces->all, link) {
        struct config part;
        if (namespaces_part(config, network->id, &part) < 0)
            return;
        if (namespaces_enter(network) == 0) {
            set_up(network, &part);
            namespaces_leave(namespaces, network);
        }
        free(part.listeners);
    }
}

static void take_down_all(struct namespaces *namespaces)
{
    struct network *network;

    LIST_FOREACH (network, &namespaces->all, link) {
        if (namespaces_enter(network) < 0)
            continue;
        take_down(network);
        namespaces_leave(namespaces, network);
    }
}

static int check_managed(struct namespaces *namespaces, const struct config *config)
{
    static const struct sigaction child_ends = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP };
    sigset_t signals;
    sigset_t before;
    int number = 0;

    (void)sigaction(SIGCHLD, &child_ends, NULL);
    list_signals(&signals);
    sigprocmask(SIG_BLOCK, &signals, &before);
    set_up_all(namespaces, config);
    int status = check_beside(config, namespaces, &signals, &before, &number);
    take_down_all(namespaces);
    if (number != 0)
        (void)raise(number);
    sigprocmask(SIG_SETMASK, &before, NULL); /* which ends us, as if it had never been held up */
    return number != 0 ? EX_BY_SIGNAL + number : status;
}

/* returns: false after a message. */
static bool look(struct namespaces *namespaces, struct config *config)
{
    int err = namespaces_open(namespaces);

    if (err < 0) {
        fprintf(stderr, "mmproxy: the network can't be looked at: %s\n", strerror(-err));
        return false;
    }
    namespaces_find(namespaces, config);
    return true;
}

int foreground_check(struct config *config)
{
    struct namespaces namespaces = { .device = 0 };
    int status;

    if (!look(&namespaces, config))
        return EX_OSERR;
    if (config->n_listeners == 0)
        print_line(NULL, LOG_LEVEL_WARNING, "[!] No listener is configured: nothing to check.");
    if (config->n_listeners > 0 && config->routing == ROUTING_MANAGED)
        status = check_managed(&namespaces, config);
    else
        status = status_of(check_networks(&namespaces, config, true, &sink));
    namespaces_close(&namespaces);
    return status;
}

/* Commands are to be run there; files are for a machine, and it has no place in them. */
static void print_there(const char *netns, char *text, enum rules_form form)
{
    bool is_shell = form == RULES_SHELL || form == RULES_UNDO;
    char *rest = NULL;

    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (is_shell)
            printf("nsenter --net=%s%s %s\n", netns[0] == '/' ? "" : NAMESPACES_NAMES, netns, line);
        else
            printf("# netns %s: %s\n", netns, line);
    }
}

/* Within the namespace. returns: 0 or -errno. */
static int print_part(const struct config *part, enum rules_form form, bool is_own)
{
    char *text = NULL;
    size_t size = 0;

    if (is_own)
        return rules_print(stdout, part, form);
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    int err = rules_print(out, part, form);
    if (fclose(out) != 0)
        err = -ENOMEM;
    if (err == 0 && part->n_listeners > 0)
        print_there(part->listeners[0].netns, text, form);
    free(text);
    return err;
}

static int print_rules(struct namespaces *namespaces, const struct config *config,
                       enum rules_form form)
{
    struct network *network;
    int err = 0;

    LIST_FOREACH (network, &namespaces->all, link) {
        struct config part;
        err = namespaces_part(config, network->id, &part);
        if (err < 0)
            return err;
        if (namespaces_enter(network) == 0) {
            err = print_part(&part, form, network->id == 0);
            namespaces_leave(namespaces, network);
        }
        free(part.listeners);
        if (err < 0)
            return err;
    }
    for (size_t i = 0; i < config->n_listeners; i++)
        if (config->listeners[i].closed_because)
            printf("# %s: %s (netns \"%s\")\n", config->listeners[i].name,
                   config->listeners[i].closed_because, config->listeners[i].netns);
    return err;
}

int foreground_rules(struct config *config, enum rules_form form)
{
    struct namespaces namespaces = { .device = 0 };
    int err;

    if (!look(&namespaces, config))
        return EX_OSERR;
    err = print_rules(&namespaces, config, form);
    if (err == 0 && fflush(stdout) != 0)
        err = -errno;
    if (err < 0)
        fprintf(stderr, "mmproxy: the rules can't be printed: %s\n", strerror(-err));
    namespaces_close(&namespaces);
    return err < 0 ? EX_OSERR : EX_OK;
}

void foreground_warn(struct config *config, const struct config_sink *out)
{
    struct namespaces namespaces = { .device = 0 };

    if (look(&namespaces, config))
        namespaces_close(&namespaces);
    config_warnings(config, out);
}
