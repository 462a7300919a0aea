/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/preflight.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/base/log.h"
#include "mmproxy/base/shared.h"
#include "mmproxy/supervisor/check_networks.h"
#include "mmproxy/supervisor/confine.h"
#include "mmproxy/supervisor/process.h"
#include "mmproxy/supervisor/status.h"

enum {
    LIFETIME_S = 60,     /* a check that hangs is ended then */
    REPEAT_MIN_S = 1,    /* until a target that failed is tried again; doubled each time */
    REPEAT_MAX_S = 30,   /* ... up to this */
    REPEAT_CLOSED_S = 2, /* the most while its listener's ports are closed */
    WATCH_S = 1,         /* how often sessions' failures are looked at */
    DOUBT_MIN_S = 1,     /* before a check for such a failure, after any other check ... */
    DOUBT_MAX_S = 60,    /* ... and after one that found nothing: one client may be banned */
    DOUBT_CLOSES_S = 16, /* the most where ports are closed when the target is down: the gap ... */
    DOUBT_FORGOTTEN_S = 60, /* ... is doubled up to it; without failures it begins anew */
    TOLD_S = 3600,          /* until a client is told again */
};

/* Shared with the process that checks. */
struct preflight_results {
    struct preflight_told told; /* a client that fails, told by this check */
    size_t n;
    size_t max;
    struct target_state items[];
};

static size_t size_of(size_t n)
{
    return sizeof(struct preflight_results) + n * sizeof(struct target_state);
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

/* In the process that checks. */
struct child {
    const struct supervisor *supervisor;
    const struct preflight *preflight;
    const struct listener_config *listener; /* that lines are about; NULL = none */
    const struct addr *target;
};

static void report(void *context, enum log_level level, const char *line)
{
    const struct child *child = context;
    char whole[ADDR_STRLEN];
    char address[ADDR_STRLEN];
    struct log_field fields[5] = { LOG_TEXT("event", "check") };
    size_t n = 1;

    if (child->target) {
        fields[n++] = LOG_TEXT("target", addr_format(child->target, whole));
        fields[n++] = LOG_TEXT("target_address", addr_format_host(child->target, address));
        fields[n++] = LOG_NUMBER("target_port", addr_port(child->target));
    }
    if (child->listener && child->listener->name[0])
        fields[n++] = LOG_TEXT("listener", child->listener->name);
    log_report_event(level, fields, n, "%s", line);
}

/* When a session last could not reach a target of this listener. */
static uint64_t doubted_us(const struct supervisor *supervisor,
                           const struct listener_config *listener)
{
    const struct generation *current = supervisor->current;

    return counters_listener_doubted_us(supervisor->counters,
                                        current->listener_ids[listener->index]);
}

static bool is_wanted(void *context, const struct listener_config *listener,
                      const struct addr *target)
{
    const struct child *child = context;
    const struct target_state *known;

    if (!child->preflight->is_repeat)
        return true;
    known = targets_find(&child->preflight->known, listener, target);
    return !known || !known->holds ||
           doubted_us(child->supervisor, listener) > child->preflight->before_us;
}

static void keep(struct preflight_results *results, const struct report_verdict *verdict)
{
    struct target_state state = target_state(verdict->listener, verdict->target);

    state.holds = verdict->holds;
    state.is_reached = verdict->is_reached;
    state.answers = verdict->answers;
    if (results && results->n < results->max)
        results->items[results->n++] = state;
}

static bool begin_target(void *context, const struct report_verdict *verdict)
{
    struct child *child = context;
    const struct target_state *known =
        targets_find(&child->preflight->known, verdict->listener, verdict->target);
    char text[ADDR_STRLEN];
    const char *netns = verdict->listener->netns;
    char line[ADDR_STRLEN + LISTENER_NETNS_MAX + 80];

    child->listener = verdict->listener;
    child->target = verdict->target;
    keep(child->preflight->filling, verdict);
    if (!child->preflight->is_repeat || !known)
        return true;
    if (verdict->holds && !known->holds) {
        (void)snprintf(line, sizeof line,
                       "[+] OK. Target server %s is back: it can be reached.%s%s%s",
                       addr_format(verdict->target, text), netns[0] ? " (netns \"" : "", netns,
                       netns[0] ? "\")" : "");
        report(child, LOG_LEVEL_NOTICE, line);
    }
    return !verdict->holds && known->holds;
}

static void end_target(void *context)
{
    struct child *child = context;

    child->listener = NULL;
    child->target = NULL;
}

/* A client of this listener that could not connect since the last check began. */
static bool find_client(void *context, const struct listener_config *listener,
                        const struct addr *target, struct addr *client)
{
    const struct child *child = context;
    const struct generation *current = child->supervisor->current;

    return counters_doubted_client(child->supervisor->counters,
                                   current->listener_ids[listener->index], addr_family(target),
                                   child->preflight->before_us, client);
}

/* Once an hour for each. */
static bool begin_client(void *context, const struct report_verdict *verdict,
                         const struct addr *client)
{
    struct child *child = context;
    struct preflight_results *results = child->preflight->filling;
    uint64_t now_us = clock_now_us();

    for (size_t i = 0; i < PREFLIGHT_TOLD_MAX; i++) {
        const struct preflight_told *told = &child->preflight->told[i];
        if (told->listener == verdict->listener->index && addr_equal_host(&told->client, client) &&
            now_us - told->at_us < TOLD_S * UINT64_C(1000000))
            return false;
    }
    if (results)
        results->told = (struct preflight_told){ verdict->listener->index, *client, now_us };
    child->listener = verdict->listener;
    child->target = verdict->target;
    return true;
}

static void become_checker(struct supervisor *supervisor)
{
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
}

static _Noreturn void be_preflight(struct supervisor *supervisor)
{
    struct child child = { .supervisor = supervisor, .preflight = &supervisor->preflight };
    const struct report_sink sink = { .line = report,
                                      .is_wanted = is_wanted,
                                      .begin_target = begin_target,
                                      .end_target = end_target,
                                      .find_client = find_client,
                                      .begin_client = begin_client,
                                      .context = &child };
    const struct config *config = supervisor->current->config;
    bool is_verifying = config->routing == ROUTING_MANUAL && !config->quiet;

    become_checker(supervisor);
    bool holds = check_networks(&supervisor->namespaces, config,
                                is_verifying && !child.preflight->is_repeat, &sink);
    exit(holds ? EXIT_SUCCESS : EXIT_FAILURE);
}

pid_t preflight_fork(struct supervisor *supervisor, const struct config *config,
                     const struct report_sink *sink)
{
    pid_t pid = process_fork();

    if (pid == 0) {
        bool is_manual = config->routing == ROUTING_MANUAL;
        become_checker(supervisor);
        bool holds = check_networks(&supervisor->namespaces, config, is_manual, sink);
        exit((is_manual || check_networks_closed(config, sink)) && holds ? EXIT_SUCCESS
                                                                         : EXIT_FAILURE);
    }
    return pid < 0 ? -errno : pid;
}

static void stop(struct preflight *preflight)
{
    if (preflight->pid > 0)
        (void)kill(preflight->pid, SIGTERM);
    preflight->pid = 0;
    results_free(&preflight->filling);
}

static void start(struct supervisor *supervisor, bool is_repeat)
{
    struct preflight *preflight = &supervisor->preflight;

    /* Two targets a listener at the most, with a few ports each. */
    preflight->filling =
        results_new(2 * CONFIG_SAMPLE_MAX * supervisor->current->config->n_listeners);
    preflight->is_repeat = is_repeat;
    preflight->before_us = preflight->started_us;
    preflight->started_us = clock_now_us();
    pid_t pid = process_fork();
    if (pid == 0)
        be_preflight(supervisor);
    if (pid < 0)
        log_warning("check", "[!] the targets can't be checked: %s", strerror(errno));
    else
        preflight->pid = pid;
    keep_from_workers(preflight->filling);
}

void preflight_start(struct supervisor *supervisor)
{
    struct preflight *preflight = &supervisor->preflight;

    stop(preflight);
    ev_timer_stop(supervisor->loop, &preflight->due);
    preflight->doubt_gap_s = DOUBT_MIN_S;
    if (supervisor->current->config->n_listeners == 0)
        targets_clear(&preflight->known); /* of targets that are gone */
    else
        start(supervisor, false);
}

void preflight_repeat(struct supervisor *supervisor)
{
    if (supervisor->preflight.pid == 0 && supervisor->current->config->n_listeners > 0)
        start(supervisor, true);
}

/* The oldest one goes. */
static void keep_told(struct preflight *preflight, const struct preflight_told *told)
{
    if (told->at_us == 0)
        return;
    preflight->told[preflight->next_told] = *told;
    preflight->next_told = (preflight->next_told + 1) % PREFLIGHT_TOLD_MAX;
}

/* returns: does one fail that did not before? */
static bool take_results(struct preflight *preflight)
{
    const struct preflight_results *results = preflight->filling;
    bool has_new = false;

    if (!preflight->is_repeat) {
        targets_clear(&preflight->known);
        memset(preflight->told, 0, sizeof preflight->told); /* listeners may have changed */
    }
    keep_told(preflight, &results->told);
    for (size_t i = 0; i < results->n; i++) {
        const struct target_state *state = &results->items[i];
        struct target_state *known =
            preflight->is_repeat ? targets_get(&preflight->known, state) : NULL;
        has_new |= !state->holds && (!known || known->holds);
        if (known)
            *known = *state;
        else
            (void)targets_add(&preflight->known, state);
    }
    return has_new;
}

static bool is_any_down(const struct supervisor *supervisor)
{
    const struct config *config = supervisor->current->config;

    for (size_t i = 0; i < config->n_listeners; i++)
        if (config->listeners[i].close_when_down &&
            targets_are_down(&supervisor->preflight.known, &config->listeners[i]))
            return true;
    return false;
}

static void schedule(struct supervisor *supervisor, bool has_new)
{
    struct preflight *preflight = &supervisor->preflight;
    double max_s = REPEAT_MAX_S;

    ev_timer_stop(supervisor->loop, &preflight->due);
    if (!supervisor->current || targets_failing(&preflight->known) == 0)
        return;
    if (is_any_down(supervisor))
        max_s = REPEAT_CLOSED_S;
    preflight->delay_s = has_new ? REPEAT_MIN_S : 2 * preflight->delay_s;
    if (preflight->delay_s > max_s)
        preflight->delay_s = max_s;
    ev_now_update(supervisor->loop);
    ev_timer_set(&preflight->due, preflight->delay_s, 0.);
    ev_timer_start(supervisor->loop, &preflight->due);
}

static bool closes_any(const struct supervisor *supervisor)
{
    const struct generation *current = supervisor->current;

    for (size_t i = 0; current && i < current->config->n_listeners; i++)
        if (current->config->listeners[i].close_when_down)
            return true;
    return false;
}

/* A check for a session's sake that found nothing is not repeated as soon. */
static void learn_from_doubt(struct supervisor *supervisor, bool has_new)
{
    struct preflight *preflight = &supervisor->preflight;
    unsigned gap_s = DOUBT_MAX_S;

    if (!preflight->is_doubt)
        return;
    preflight->is_doubt = false;
    if (closes_any(supervisor))
        gap_s =
            preflight->doubt_gap_s < DOUBT_CLOSES_S ? 2 * preflight->doubt_gap_s : DOUBT_CLOSES_S;
    preflight->doubt_gap_s = has_new ? DOUBT_MIN_S : gap_s;
}

bool preflight_reaped(struct supervisor *supervisor, pid_t pid, int status)
{
    struct preflight *preflight = &supervisor->preflight;
    bool has_new = false;

    if (pid != preflight->pid)
        return false;
    preflight->pid = 0;
    if (WIFEXITED(status) && preflight->filling)
        has_new = take_results(preflight);
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM)
        log_warning("check", "[!] the check of the targets ended early: %s",
                    strsignal(WTERMSIG(status)));
    results_free(&preflight->filling);
    learn_from_doubt(supervisor, has_new);
    schedule(supervisor, has_new);
    lifecycle_report(&supervisor->life, ON_CHECKED);
    status_tell(supervisor);
    return true;
}

bool preflight_closes(const struct supervisor *supervisor, const struct listener_config *listener)
{
    return listener->close_when_down && targets_are_down(&supervisor->preflight.known, listener);
}

static bool is_to_be_closed(const void *context, const struct listener_config *listener)
{
    return preflight_closes(context, listener);
}

void preflight_adjust_ports(struct supervisor *supervisor)
{
    bool has_opened = sockets_close_some(&supervisor->sockets, supervisor->current->config,
                                         is_to_be_closed, supervisor);

    /* Its workers have given closed sockets up. */
    if (has_opened)
        generation_serve(supervisor->current, true);
}

static void on_due(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct supervisor *supervisor = timer->data;

    (void)loop;
    (void)revents;
    lifecycle_report(&supervisor->life, ON_CHECK_DUE);
}

/* Has a session failed to reach its target since the last check began? */
static void on_watch(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct supervisor *supervisor = timer->data;
    struct preflight *preflight = &supervisor->preflight;
    uint64_t since_us = clock_now_us() - preflight->started_us;

    (void)loop;
    (void)revents;
    if (since_us >= DOUBT_FORGOTTEN_S * UINT64_C(1000000))
        preflight->doubt_gap_s = DOUBT_MIN_S;
    if (preflight->pid > 0 || since_us < (uint64_t)preflight->doubt_gap_s * 1000000 ||
        counters_doubted_us(supervisor->counters) <= preflight->started_us)
        return;
    preflight->is_doubt = true;
    lifecycle_report(&supervisor->life, ON_CHECK_DUE);
}

void preflight_init(struct supervisor *supervisor)
{
    struct preflight *preflight = &supervisor->preflight;

    preflight->doubt_gap_s = DOUBT_MIN_S;
    ev_timer_init(&preflight->due, on_due, 0., 0.);
    preflight->due.data = supervisor;
    ev_timer_init(&preflight->watch, on_watch, WATCH_S, WATCH_S);
    preflight->watch.data = supervisor;
    ev_timer_start(supervisor->loop, &preflight->watch);
}

void preflight_close(struct supervisor *supervisor)
{
    stop(&supervisor->preflight);
    targets_clear(&supervisor->preflight.known);
}
