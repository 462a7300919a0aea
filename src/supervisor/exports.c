/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/exports.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/base/log.h"
#include "mmproxy/base/shared.h"
#include "mmproxy/exporter/exporter.h"
#include "mmproxy/jail/trap.h"
#include "mmproxy/supervisor/listener_state.h"
#include "mmproxy/supervisor/process.h"
#include "mmproxy/supervisor/return_path.h"
#include "mmproxy/supervisor/targets.h"
#include "mmproxy/worker/datagram/peers.h"

enum {
    REFRESH_MS = 250,
    LONG_LIFE_MS = 10 * 1000, /* an exporter that lived so long died of something new */
    BACK_OFF_MS = 250,        /* doubled with each death in a row */
    BACK_OFF_MAX_MS = 30 * 1000,
};

/* ---- its board ------------------------------------------------------------------------ */

static unsigned serving_workers(const struct generation *generation)
{
    const struct process *process;
    unsigned n = 0;

    TAILQ_FOREACH (process, &generation->processes, link)
        n += process->state == PROCESS_SERVING;
    return n;
}

static void refresh(struct supervisor *supervisor)
{
    const struct generation *current = supervisor->current;
    struct board *board = supervisor->exports.board;
    const struct generation *generation;
    struct rlimit limit = { 0, 0 };
    unsigned draining = 0;

    if (!board)
        return;
    TAILQ_FOREACH (generation, &supervisor->draining, link)
        draining++;
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    atomic_store(&board->started_s, supervisor->exports.started_s);
    atomic_store(&board->loaded_s, supervisor->status.loaded_at);
    atomic_store(&board->has_failed, supervisor->status.has_failed);
    atomic_store(&board->generation, current ? current->number : 0);
    atomic_store(&board->workers, current ? serving_workers(current) : 0);
    atomic_store(&board->draining, draining);
    atomic_store(&board->descriptors_limit, limit.rlim_cur);
}

static void on_refresh(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    refresh(timer->data);
}

/* The order in which a target is looked for. */
static int by_target(const void *a, const void *b)
{
    const struct target_state *left = a;
    const struct target_state *right = b;
    const struct addr *target = &left->target;
    size_t len = addr_family(target) == AF_INET ? 4 : 16;
    int result = addr_family(target) - addr_family(&right->target);

    if (result == 0)
        result = addr_port(target) - addr_port(&right->target);
    if (result == 0)
        result = (left->mark > right->mark) - (left->mark < right->mark);
    if (result == 0)
        result = (left->table > right->table) - (left->table < right->table);
    if (result == 0)
        result =
            (left->namespace_id > right->namespace_id) - (left->namespace_id < right->namespace_id);
    if (result == 0)
        result = (int)left->return_path - (int)right->return_path;
    return result != 0 ? result : memcmp(addr_bytes(target), addr_bytes(&right->target), len);
}

static struct target_state *look_in_sorted(const struct targets *sorted,
                                           const struct target_state *wanted)
{
    return bsearch(wanted, sorted->items, sorted->n, sizeof *wanted, by_target);
}

/* state: NULL where there is no such target, or it has not been checked. */
static void show_target(struct board_listener *listener, enum board_family family,
                        const struct target_state *state)
{
    bool is_up = state && (state->answers || state->is_reached);
    enum board_health target = BOARD_UNKNOWN;
    enum board_health return_path = BOARD_UNKNOWN;

    if (is_up)
        return_path = state->holds ? BOARD_UP : BOARD_DOWN;
    /* A check that can't be tried, on a host without IPv6, holds. */
    if (state && (is_up || !state->holds))
        target = is_up ? BOARD_UP : BOARD_DOWN;
    atomic_store(&listener->target[family], (uint8_t)target);
    atomic_store(&listener->return_path[family], (uint8_t)return_path);
}

static void show_states(struct board *board, const struct supervisor *supervisor)
{
    const struct config *config = supervisor->current->config;

    for (size_t i = 0; i < config->n_listeners; i++)
        atomic_store(&board->listeners[i].state,
                     (uint8_t)listener_state(supervisor, &config->listeners[i]));
}

static void show_targets(struct board *board, const struct config *config,
                         const struct targets *sorted)
{
    for (size_t i = 0; i < 2 * config->n_listeners; i++) {
        struct target_state state;

        show_target(&board->listeners[i / 2], (enum board_family)(i % 2),
                    targets_judge(sorted, look_in_sorted, &config->listeners[i / 2],
                                  i % 2 == 0 ? AF_INET : AF_INET6, &state));
    }
}

void exports_take_checks(struct supervisor *supervisor)
{
    const struct targets *known = &supervisor->preflight.known;
    struct targets sorted = { .n = known->n };

    if (!supervisor->exports.board || !supervisor->current)
        return;
    sorted.items = calloc(known->n + 1, sizeof *sorted.items);
    if (!sorted.items)
        return; /* the next check may have more luck */
    for (size_t i = 0; i < known->n; i++)
        sorted.items[i] = known->items[i];
    qsort(sorted.items, sorted.n, sizeof *sorted.items, by_target);
    show_targets(supervisor->exports.board, supervisor->current->config, &sorted);
    show_states(supervisor->exports.board, supervisor);
    free(sorted.items);
}

/* ---- its board ------------------------------------------------------------------------ */

static size_t count_listeners(const struct supervisor *supervisor)
{
    const struct generation *generation;
    size_t n = supervisor->current->config->n_listeners;

    TAILQ_FOREACH (generation, &supervisor->draining, link)
        n += generation->config->n_listeners;
    return n + (supervisor->previous ? supervisor->previous->config->n_listeners : 0);
}

/* seen: by number in the counters. A listener that is there already is not added again. */
static void add_generation(struct board *board, bool *seen, const struct generation *generation)
{
    for (size_t i = 0; i < generation->config->n_listeners; i++) {
        const struct listener_config *config = &generation->config->listeners[i];
        unsigned number = generation->listener_ids[i];
        struct board_listener *listener = &board->listeners[board->n_listeners];

        if (seen[number])
            continue;
        seen[number] = true;
        memcpy(listener->name, config->name, sizeof listener->name);
        listener->number = number;
        listener->protocol = config->protocol;
        atomic_store(&listener->state, (uint8_t)BOARD_REMOVED);
        board->n_listeners++;
    }
}

static struct board *make_board(const struct supervisor *supervisor)
{
    const struct generation *generation;
    struct board *board = board_new(count_listeners(supervisor));
    bool *seen = calloc(COUNTERS_LISTENERS, sizeof *seen);

    if (!board || !seen) {
        board_free(board);
        free(seen);
        return NULL;
    }
    board->n_listeners = 0;
    add_generation(board, seen, supervisor->current);
    board->n_serving = board->n_listeners;
    if (supervisor->previous)
        add_generation(board, seen, supervisor->previous);
    TAILQ_FOREACH (generation, &supervisor->draining, link)
        add_generation(board, seen, generation);
    free(seen);
    return board;
}

struct board *exports_board(struct supervisor *supervisor)
{
    struct board *of_exporter = supervisor->exports.board;

    supervisor->exports.board = make_board(supervisor);
    refresh(supervisor);
    exports_take_checks(supervisor);
    struct board *made = supervisor->exports.board;
    supervisor->exports.board = of_exporter;
    return made;
}

/* ---- the process ---------------------------------------------------------------------- */

static _Noreturn void be_exporter(struct supervisor *supervisor, int listen_fd, int channel)
{
    const struct worker_spec *workers = &supervisor->current->start.spec;
    struct exporter_spec spec = {
        .jail = jail_of_exporter(&workers->jail),
        .counters = supervisor->counters,
        .board = supervisor->exports.board,
        .notes = supervisor->exports.notes,
        .listen_fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1),
        .channel = channel,
    };
    /* It needs no return path, so none may stay for its sake. */
    return_path_leave(supervisor, false);
    namespaces_close(&supervisor->namespaces);
    supervisor->leave(supervisor);
    peers_free(supervisor->peers); /* of UDP: for workers alone */
    sockets_close(&supervisor->sockets);
    close(supervisor->leashes.end);
    exit(exporter_run(&spec));
}

/* returns: 0 or -errno. */
static int start_process(struct supervisor *supervisor, int listen_fd)
{
    struct exports *exports = &supervisor->exports;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return -errno;
    pid_t pid = process_fork();
    if (pid == 0) {
        close(ends[0]);
        be_exporter(supervisor, listen_fd, ends[1]);
    }
    int err = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -err;
    }
    exports->pid = pid;
    exports->channel = ends[0];
    exports->started_ms = clock_now_ms();
    return 0;
}

static void try_again(struct supervisor *supervisor)
{
    struct exports *exports = &supervisor->exports;
    unsigned delay_ms = BACK_OFF_MS;

    for (unsigned i = 1; i < exports->deaths_in_a_row && delay_ms < BACK_OFF_MAX_MS; i++)
        delay_ms *= 2;
    ev_timer_stop(supervisor->loop, &exports->retry);
    ev_now_update(supervisor->loop);
    ev_timer_set(&exports->retry, delay_ms / 1000., 0.);
    ev_timer_start(supervisor->loop, &exports->retry);
}

static void start(struct supervisor *supervisor)
{
    struct exports *exports = &supervisor->exports;
    int listen_fd = sockets_of_exporter(&supervisor->sockets, supervisor->current->config);
    int err = -ENOMEM;

    if (listen_fd < 0)
        return;
    if (!exports->notes)
        exports->notes = shared_new(shared_whole_pages(sizeof *exports->notes));
    exports->board = make_board(supervisor);
    refresh(supervisor);
    exports_take_checks(supervisor);
    if (exports->board && exports->notes)
        err = start_process(supervisor, listen_fd);
    if (err == 0) {
        ev_timer_again(supervisor->loop, &exports->refresh);
        return;
    }
    log_error("exporter", "[!] the exporter can't be started: %s", strerror(-err));
    exports->deaths_in_a_row++;
    try_again(supervisor);
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    exports_start(timer->data);
}

void exports_init(struct supervisor *supervisor)
{
    struct exports *exports = &supervisor->exports;

    exports->started_s = time(NULL);
    ev_timer_init(&exports->retry, on_retry, 0., 0.);
    ev_timer_init(&exports->refresh, on_refresh, 0., REFRESH_MS / 1000.);
    exports->retry.data = exports->refresh.data = supervisor;
}

/* The new one listens before the old one stops. */
void exports_start(struct supervisor *supervisor)
{
    struct exports *exports = &supervisor->exports;
    struct exports old = *exports;

    ev_timer_stop(supervisor->loop, &exports->retry);
    ev_timer_stop(supervisor->loop, &exports->refresh);
    exports->pid = 0;
    exports->board = NULL;
    exports->old_channel = old.channel;
    exports->channel = -1;
    start(supervisor);
    if (old.channel >= 0)
        close(old.channel);
    exports->old_channel = -1;
    board_free(old.board);
}

void exports_stop(struct supervisor *supervisor)
{
    struct exports *exports = &supervisor->exports;

    ev_timer_stop(supervisor->loop, &exports->retry);
    ev_timer_stop(supervisor->loop, &exports->refresh);
    exports_leave(supervisor);
    exports->pid = 0;
    board_free(exports->board);
    exports->board = NULL;
}

static void tell_death(const struct supervisor *supervisor, int status)
{
    _Atomic uint32_t *forbidden = &supervisor->exports.notes->forbidden;
    uint32_t told = atomic_exchange(forbidden, 0);
    char name[TRAP_NAME_MAX];

    if (told != 0)
        log_error("exporter", "[!] the exporter died: its jail forbids the system call %s",
                  trap_name(told, name));
    else if (WIFSIGNALED(status))
        log_error("exporter", "[!] the exporter died: %s", strsignal(WTERMSIG(status)));
    else
        log_error("exporter", "[!] the exporter ended with exit status %d", WEXITSTATUS(status));
}

bool exports_reaped(struct supervisor *supervisor, pid_t pid, int status)
{
    struct exports *exports = &supervisor->exports;

    if (pid != exports->pid)
        return false;
    tell_death(supervisor, status);
    exports->deaths_in_a_row =
        clock_now_ms() - exports->started_ms < LONG_LIFE_MS ? exports->deaths_in_a_row + 1 : 1;
    exports_stop(supervisor);
    try_again(supervisor);
    return true;
}

void exports_leave(struct supervisor *supervisor)
{
    struct exports *exports = &supervisor->exports;

    if (exports->channel >= 0)
        close(exports->channel);
    if (exports->old_channel >= 0)
        close(exports->old_channel);
    exports->channel = exports->old_channel = -1;
}

void exports_close(struct supervisor *supervisor)
{
    struct exports *exports = &supervisor->exports;

    if (supervisor->loop)
        exports_stop(supervisor);
    if (exports->notes)
        shared_free(exports->notes, shared_whole_pages(sizeof *exports->notes));
    exports->notes = NULL;
}
