/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/preflight.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mmproxy/base/log.h"
#include "mmproxy/base/shared.h"
#include "mmproxy/routing/report/check.h"
#include "mmproxy/routing/report/verify.h"
#include "mmproxy/supervisor/confine.h"
#include "mmproxy/supervisor/process.h"

/* Whatever hangs in there (iptables' lock, say): nobody waits for its answer any more. */
enum { LIFETIME_S = 60 };

bool preflight_run(const struct config *config, bool is_verifying, const struct report_sink *sink)
{
    struct report_told told = { 0 }; /* by both */
    struct report_sink once = *sink;

    once.told = &told;
    bool holds = !is_verifying || verify_run(config, &once);
    holds = check_run(config, &once) && holds;
    report_told_close(&told);
    return holds;
}

static void report(void *context, enum log_level level, const char *line)
{
    (void)context;
    log_report(level, "check", "%s", line);
}

static size_t size_of(size_t n)
{
    return sizeof(struct preflight_results) + n * sizeof(struct preflight_result);
}

static struct preflight_results *results_new(size_t max)
{
    struct preflight_results *results = shared_new(size_of(max));

    if (results)
        results->max = max;
    return results;
}

static void results_free(struct preflight_results **results)
{
    if (*results)
        shared_free(*results, size_of((*results)->max));
    *results = NULL;
}

/* One that was taken over could write results of its own. */
static void keep_from_workers(struct preflight_results *results)
{
    if (results)
        (void)madvise(results, size_of(results->max), MADV_DONTFORK);
}

static void keep(void *context, const struct addr *target, bool holds)
{
    struct preflight_results *results = context;

    if (results && results->n < results->max)
        results->items[results->n++] = (struct preflight_result){ *target, holds };
}

static _Noreturn void be_preflight(struct supervisor *supervisor)
{
    const struct report_sink sink = { .line = report,
                                      .verdict = keep,
                                      .context = supervisor->checking };
    const struct config *config = supervisor->current->config;
    bool is_verifying = config->routing == ROUTING_MANUAL && !config->quiet;
    sigset_t none;

    supervisor->leave(supervisor);
    sockets_close(&supervisor->sockets);
    close(supervisor->leashes.end);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGUSR1, SIG_IGN);
    (void)signal(SIGUSR2, SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    alarm(LIFETIME_S);
    confine_begin_routing(); /* iptables, nftables; SO_MARK before Linux 5.17 */
    exit(preflight_run(config, is_verifying, &sink) ? EXIT_SUCCESS : EXIT_FAILURE);
}

void preflight_start(struct supervisor *supervisor)
{
    preflight_stop(supervisor);
    if (supervisor->current->config->n_listeners == 0) {
        results_free(&supervisor->checked); /* of targets that are gone */
        return;
    }
    /* Two targets a listener at the most. */
    supervisor->checking = results_new(2 * supervisor->current->config->n_listeners);
    pid_t pid = process_fork();
    if (pid == 0)
        be_preflight(supervisor);
    if (pid < 0)
        log_warning("check", "[!] the targets can't be checked: %s", strerror(errno));
    else
        supervisor->preflight = pid;
    keep_from_workers(supervisor->checking);
}

bool preflight_reaped(struct supervisor *supervisor, pid_t pid, int status)
{
    if (pid != supervisor->preflight)
        return false;
    supervisor->preflight = 0;
    if (WIFEXITED(status) && supervisor->checking) {
        results_free(&supervisor->checked);
        supervisor->checked = supervisor->checking;
        supervisor->checking = NULL;
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM)
        log_warning("check", "[!] the check of the targets ended early: %s",
                    strsignal(WTERMSIG(status)));
    return true;
}

void preflight_stop(struct supervisor *supervisor)
{
    if (supervisor->preflight > 0)
        (void)kill(supervisor->preflight, SIGTERM);
    supervisor->preflight = 0;
    results_free(&supervisor->checking);
}

void preflight_close(struct supervisor *supervisor)
{
    preflight_stop(supervisor);
    results_free(&supervisor->checked);
}
