/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/generation.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/base/log.h"
#include "mmproxy/jail/trap.h"
#include "mmproxy/worker/datagram/peers.h"

enum {
    START_TIMEOUT_MS =
        10 * 1000,            /* READY takes milliseconds; a worker that takes longer is stuck */
    LONG_LIFE_MS = 10 * 1000, /* a worker that lived so long died of something new */
    BACK_OFF_MS = 250,        /* doubled with each death in a row after the first */
    BACK_OFF_MAX_MS = 30 * 1000,
    BACK_OFF_ALONE_MS = 500, /* the most while no other worker serves */
};

static void start_timer(struct generation *generation, unsigned delay_ms)
{
    ev_timer_stop(generation->start.loop, &generation->timer);
    ev_now_update(generation->start.loop);
    ev_timer_set(&generation->timer, delay_ms / 1000., 0.);
    ev_timer_start(generation->start.loop, &generation->timer);
}

static int claim_listeners(struct generation *generation)
{
    const struct config *config = generation->config;
    size_t n = config->n_listeners;

    generation->listener_ids = calloc(n > 0 ? n : 1, sizeof *generation->listener_ids);
    if (!generation->listener_ids)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int id =
            counters_claim_listener(generation->start.spec.counters, config->listeners[i].name);
        if (id < 0) {
            while (i-- > 0)
                counters_release_listener(generation->start.spec.counters,
                                          generation->listener_ids[i]);
            free(generation->listener_ids);
            generation->listener_ids = NULL;
            return id;
        }
        generation->listener_ids[i] = (unsigned)id;
    }
    return 0;
}

static void release_listeners(const struct generation *generation)
{
    const struct config *config = generation->config;

    if (!generation->listener_ids || !config)
        return;
    for (size_t i = 0; i < config->n_listeners; i++)
        counters_release_listener(generation->start.spec.counters, generation->listener_ids[i]);
}

/* The namespaces of its listeners, each once. returns: 0 or -ENOMEM. */
static int find_namespaces(struct generation *generation)
{
    const struct config *config = generation->config;

    generation->namespaces = calloc(config->n_listeners + 1, sizeof *generation->namespaces);
    if (!generation->namespaces)
        return -ENOMEM;
    for (size_t i = 0; i < config->n_listeners; i++) {
        uint64_t id = config->listeners[i].namespace_id;
        size_t j = 0;
        while (j < generation->n_namespaces && generation->namespaces[j] != id)
            j++;
        if (j == generation->n_namespaces && !config->listeners[i].closed_because)
            generation->namespaces[generation->n_namespaces++] = id;
    }
    return 0;
}

static bool is_taken(const struct generation *generation, uint64_t namespace_id, unsigned index)
{
    const struct process *process;

    TAILQ_FOREACH (process, &generation->processes, link)
        if (process->namespace_id == namespace_id && process->index == index)
            return true;
    return false;
}

/* A worker that takes the place of a dead one reads the same UDP sockets. */
static int start_worker(struct generation *generation, struct process **out)
{
    size_t n = generation->n_namespaces * generation->config->workers;

    for (size_t i = 0; i < n; i++) {
        uint64_t id = generation->namespaces[i / generation->config->workers];
        unsigned index = (unsigned)(i % generation->config->workers);
        if (!is_taken(generation, id, index))
            return process_new(out, &generation->start, id, index);
    }
    assert(false); /* no more are missing than there are places */
    return -ENOSPC;
}

/* Starts the missing ones. returns: 0, or -errno with some of them still missing. */
static int start_workers(struct generation *generation)
{
    for (; generation->missing > 0; generation->missing--) {
        struct process *process;
        int err = start_worker(generation, &process);
        if (err < 0)
            return err;
        process->generation = generation;
        process->round = generation->round;
        TAILQ_INSERT_TAIL(&generation->processes, process, link);
        generation->n_processes++;
    }
    return 0;
}

static bool all_are_ready(const struct generation *generation)
{
    const struct process *process;

    TAILQ_FOREACH (process, &generation->processes, link)
        if (process->state == PROCESS_STARTING)
            return false;
    return true;
}

static void check_ready(struct generation *generation)
{
    if (generation->state != GENERATION_STARTING || generation->missing > 0 ||
        !all_are_ready(generation))
        return;
    ev_timer_stop(generation->start.loop, &generation->timer);
    generation->state = GENERATION_SERVING;
    generation->events.on_ready(generation);
}

static void on_message(struct process *process, enum worker_message message)
{
    process->has_answered = true;
    if (message != WORKER_READY || process->state != PROCESS_STARTING)
        return;
    process->state = PROCESS_SERVING;
    if (process->generation->state == GENERATION_SERVING)
        process_send(process, process->generation->serve_message);
    else
        check_ready(process->generation);
}

static void start_failed(struct generation *generation, const char *why)
{
    generation->failure = why;
    log_error("worker", "[!] generation %u could not start: %s", generation->number, why);
    generation->events.on_failed(generation);
}

static void start_timed_out(struct generation *generation)
{
    if (generation->missing > 0)
        start_failed(generation, counters_strerror(generation->start_error));
    else if (!all_are_ready(generation))
        start_failed(generation, "its workers are not ready in time");
    else
        check_ready(generation); /* without listeners there are no workers to say READY */
}

static void retry_later(struct generation *generation)
{
    unsigned n = generation->deaths_in_a_row > 10 ? 10 : generation->deaths_in_a_row;
    unsigned delay_ms = n <= 1 ? 0 : (unsigned)BACK_OFF_MS << (n - 2);
    unsigned max_ms = generation->n_processes > 0 ? BACK_OFF_MAX_MS : BACK_OFF_ALONE_MS;

    start_timer(generation, delay_ms < max_ms ? delay_ms : max_ms);
}

static void start_missing(struct generation *generation)
{
    int err = start_workers(generation);
    if (err == 0)
        return;
    log_error("worker", "[!] a worker can't be started: %s", counters_strerror(-err));
    generation->deaths_in_a_row++;
    retry_later(generation);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct generation *generation = timer->data;

    (void)loop;
    (void)revents;
    if (generation->state == GENERATION_STARTING)
        start_timed_out(generation);
    else if (generation->state == GENERATION_SERVING)
        start_missing(generation);
    else
        generation->events.on_gone(generation);
}

static int generation_open(struct generation *generation, const struct sockets *sockets)
{
    struct worker_spec *spec = &generation->start.spec;

    spec->config = generation->config;
    spec->generation = generation->number;
    spec->epoch = peers_next_epoch(spec->peers);
    generation->sockets = sockets_for_workers(sockets, generation->config, &spec->n_sockets);
    if (!generation->sockets)
        return -ENOMEM;
    spec->sockets = generation->sockets;
    int err = find_namespaces(generation);
    if (err == 0)
        err = claim_listeners(generation);
    spec->listener_ids = generation->listener_ids;
    return err;
}

int generation_new(struct generation **out, struct config *config, const struct sockets *sockets,
                   const struct process_start *template, const struct generation_events *events)
{
    static unsigned last_number;
    struct generation *generation = calloc(1, sizeof *generation);
    if (!generation)
        return -ENOMEM;

    generation->number = ++last_number;
    generation->config = config;
    generation->events = *events;
    generation->start = *template;
    generation->start.on_message = on_message;
    generation->began_ms = clock_now_ms();
    TAILQ_INIT(&generation->processes);
    ev_timer_init(&generation->timer, on_timer, 0., 0.);
    generation->timer.data = generation;

    int err = generation_open(generation, sockets);
    if (err < 0) {
        generation->config = NULL;
        generation_free(generation);
        return err;
    }
    *out = generation; /* before the forks: each child leaves those before it through this */
    generation->missing = (unsigned)generation->n_namespaces * config->workers;
    generation->start_error = -start_workers(generation);
    bool is_decided = generation->missing > 0 || generation->n_processes == 0;
    start_timer(generation, is_decided ? 0 : START_TIMEOUT_MS);
    return 0;
}

static void free_all(struct generation *generation)
{
    ev_timer_stop(generation->start.loop, &generation->timer);
    free(generation->listener_ids);
    free(generation->sockets);
    free(generation->namespaces);
    config_free(generation->config);
    free(generation);
}

void generation_free(struct generation *generation)
{
    if (!generation)
        return;
    assert(generation->n_processes == 0);
    release_listeners(generation);
    free_all(generation);
}

/* When the last worker is gone the owner hears of it, but not from within its own call. */
static void check_gone(struct generation *generation)
{
    if (generation->state == GENERATION_DRAINING && generation->n_processes == 0)
        start_timer(generation, 0);
}

static void send_to_all(struct generation *generation, enum worker_message message)
{
    struct process *process;

    if (generation->state != GENERATION_DRAINING)
        generation->draining_since_ms = clock_now_ms();
    generation->state = GENERATION_DRAINING;
    ev_timer_stop(generation->start.loop, &generation->timer);
    TAILQ_FOREACH (process, &generation->processes, link)
        process_send(process, message);
    check_gone(generation);
}

void generation_serve(struct generation *generation, bool is_alone)
{
    struct process *process;

    generation->serve_message = is_alone ? WORKER_SERVE : WORKER_SERVE_BESIDE;
    TAILQ_FOREACH (process, &generation->processes, link)
        if (process->state == PROCESS_SERVING)
            process_send(process, generation->serve_message);
}

void generation_drain(struct generation *generation)
{
    send_to_all(generation, WORKER_DRAIN);
}

void generation_stop(struct generation *generation)
{
    send_to_all(generation, WORKER_STOP);
}

void generation_leave_alone(struct generation *generation)
{
    struct process *process;

    send_to_all(generation, WORKER_LEAVE_ALONE);
    while ((process = TAILQ_FIRST(&generation->processes))) {
        TAILQ_REMOVE(&generation->processes, process, link);
        process_forget(process);
    }
    free_all(generation);
}

void generation_kill(struct generation *generation)
{
    struct process *process;

    generation->is_killed = true;
    generation_stop(generation);
    TAILQ_FOREACH (process, &generation->processes, link)
        (void)kill(process->pid, SIGKILL);
}

static void tell_death(const struct process *process, int status)
{
    struct counters *counters = process->generation->start.spec.counters;
    uint32_t forbidden = atomic_load(&counters_worker(counters, process->worker_id)->forbidden);
    unsigned number = process->generation->number;
    char call[TRAP_NAME_MAX];

    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS && forbidden != 0)
        log_error("worker",
                  "[!] worker %d of generation %u died: the jail forbids the system call %s",
                  (int)process->pid, number, trap_name(forbidden, call));
    else if (WIFSIGNALED(status))
        log_error("worker", "[!] worker %d of generation %u died: killed by signal %d (%s)",
                  (int)process->pid, number, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        log_error("worker", "[!] worker %d of generation %u died: exit status %d",
                  (int)process->pid, number, WEXITSTATUS(status));
}

/* Workers that were started together and die together have died once, not in a row. */
static void count_death(struct generation *generation, const struct process *dead)
{
    if (dead->round < generation->round)
        return;
    if (clock_now_ms() - dead->started_ms >= LONG_LIFE_MS)
        generation->deaths_in_a_row = 0;
    generation->deaths_in_a_row++;
    generation->round++;
}

static void replace(struct generation *generation, const struct process *dead)
{
    count_death(generation, dead);
    generation->missing++;
    retry_later(generation);
}

static void process_gone(struct generation *generation, struct process *process, int status)
{
    bool is_regular = WIFEXITED(status) && WEXITSTATUS(status) == 0;

    if (generation->state != GENERATION_DRAINING || (!is_regular && !generation->is_killed))
        tell_death(process, status);
    TAILQ_REMOVE(&generation->processes, process, link);
    generation->n_processes--;
    if (generation->state == GENERATION_STARTING)
        start_failed(generation, "a worker died");
    else if (generation->state == GENERATION_SERVING)
        replace(generation, process);
    process_free(process, &generation->start);
    check_gone(generation);
}

bool generation_reaped(struct generation *generation, pid_t pid, int status)
{
    struct process *process;

    TAILQ_FOREACH (process, &generation->processes, link) {
        if (process->pid == pid) {
            process_gone(generation, process, status);
            return true;
        }
    }
    return false;
}

unsigned generation_sessions(const struct generation *generation)
{
    const struct process *process;
    unsigned sessions = 0;

    TAILQ_FOREACH (process, &generation->processes, link)
        sessions += atomic_load(
            &counters_worker(generation->start.spec.counters, process->worker_id)->sessions);
    return sessions;
}

unsigned generation_list_sessions(const struct generation_list *list)
{
    const struct generation *generation;
    unsigned sessions = 0;

    TAILQ_FOREACH (generation, list, link)
        sessions += generation_sessions(generation);
    return sessions;
}

bool generation_ping(struct generation *generation)
{
    struct process *process;
    bool all_answered = true;

    TAILQ_FOREACH (process, &generation->processes, link) {
        if (process->state != PROCESS_SERVING)
            continue;
        all_answered = all_answered && process->has_answered;
        process->has_answered = false;
        process_send(process, WORKER_PING);
    }
    return all_answered;
}

void generation_leave(struct generation *generation)
{
    struct process *process;

    TAILQ_FOREACH (process, &generation->processes, link)
        close(process->channel);
}
