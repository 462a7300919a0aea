/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/worker.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "mmproxy/base/log.h"
#include "mmproxy/jail/leftovers.h"
#include "mmproxy/net/congestion.h"
#include "mmproxy/net/datagram.h"
#include "mmproxy/net/sock.h"
#include "mmproxy/worker/datagram/peers.h"
#include "mmproxy/worker/datagram/udp_table.h"
#include "mmproxy/worker/inspection.h"
#include "mmproxy/worker/listener.h"
#include "mmproxy/worker/roster.h"
#include "mmproxy/worker/stream/session.h"

enum {
    MAX_PIPES = 64,    /* 16 MiB of pipe buffers at the most; further bulk streams are copied */
    LASTING_MS = 1000, /* until a session counts as lasting */
    RESET_MS = 100,    /* between two looks whether a target would believe a reset */
    RESERVED = 32,     /* descriptors besides those of listeners and sessions */
};

static void for_each_listener(struct worker *worker, void (*act)(struct listener *))
{
    for (size_t i = 0; i < worker->spec->config->n_listeners; i++)
        act(&worker->listeners[i]);
}

static bool is_udp(const struct worker *worker, const struct worker_socket *socket)
{
    return worker->spec->config->listeners[socket->listener].protocol == PROTOCOL_UDP;
}

/*
 * Sessions may last for days here: the ports must not be held up by a process that does not
 * accept. UDP sessions send their replies from the sockets: these stay, unread.
 */
static void close_sockets(const struct worker *worker)
{
    for (size_t i = 0; i < worker->spec->n_sockets; i++)
        if (!is_udp(worker, &worker->spec->sockets[i]))
            close(worker->spec->sockets[i].fd);
}

static void drain(struct worker *worker)
{
    if (worker->draining)
        return;
    worker->draining = true;
    worker->has_ports_alone = false;
    for_each_listener(worker, listener_stop);
    if (worker->udp_table)
        peers_stop_reading(worker->spec->peers);
    close_sockets(worker);
    roster_check_drained(worker);
}

static void stop(struct worker *worker)
{
    drain(worker);
    for_each_listener(worker, listener_end_datagrams);
    while (!LIST_EMPTY(&worker->roster))
        session_drive(LIST_FIRST(&worker->roster)->session, READY_STOP); /* UDP has none left */
}

/* A supervisor that does not read has died: end of file will tell. */
static int send_message(struct worker *worker, enum worker_message message)
{
    char byte = (char)message;

    return send(worker->spec->channel, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/*
 * The ports must be free for the next start, even while sessions are open here. Only a worker that
 * serves alone may see to that: the sockets of one that has not begun may be those of another
 * mmproxy, before an upgrade has succeeded.
 */
static void free_ports(const struct worker *worker)
{
    for (size_t i = 0; i < worker->spec->n_sockets && worker->has_ports_alone; i++)
        if (!worker->spec->sockets[i].is_kept_outside)
            sock_free_port(worker->spec->sockets[i].fd);
}

static void on_orphaned(struct worker *worker)
{
    if (!worker->is_left_alone)
        log_warning("worker", "[!] the supervisor has died: serving %u sessions to their end",
                    worker->n_sessions);
    loop_unwatch(worker->loop, &worker->channel_io);
    free_ports(worker);
    drain(worker);
}

static void serve(struct worker *worker, bool has_ports_alone)
{
    if (worker->draining)
        return;
    if (worker->udp_table)
        peers_start_reading(worker->spec->peers, worker->spec->epoch);
    worker->has_ports_alone = has_ports_alone;
    for_each_listener(worker, listener_serve);
}

static void obey(struct worker *worker, char message)
{
    switch (message) {
    case WORKER_PING:
        (void)send_message(worker, WORKER_ALIVE);
        break;
    case WORKER_INSPECT:
        inspection_answer(worker);
        (void)send_message(worker, WORKER_INSPECTED);
        break;
    case WORKER_SERVE:
    case WORKER_SERVE_BESIDE:
        serve(worker, message == WORKER_SERVE);
        break;
    case WORKER_LEAVE_ALONE:
        worker->is_left_alone = true;
        drain(worker);
        break;
    case WORKER_DRAIN:
        drain(worker);
        break;
    case WORKER_STOP:
        stop(worker);
        break;
    }
}

static void on_channel(struct loop_io *io, unsigned events)
{
    struct worker *worker = io->owner;
    char message;

    (void)events;
    ssize_t n = recv(io->fd, &message, 1, MSG_DONTWAIT);
    /* Only errors that can mean nothing else: an orphan closes the listeners of all workers. */
    if (n < 0 && errno != ECONNRESET)
        return;
    if (n <= 0)
        on_orphaned(worker);
    else
        obey(worker, message);
}

/* Pulled, or no process is left that could pull it: there is nothing more to hear. */
static void on_leash(struct loop_io *io, unsigned events)
{
    struct pollfd leash = { .fd = io->fd, .events = POLLIN };
    struct worker *worker = io->owner;

    (void)events;
    loop_unwatch(worker->loop, io);
    if (poll(&leash, 1, 0) > 0 && (leash.revents & POLLIN))
        stop(worker);
}

static void update_locals(struct locals_watch *watch)
{
    int err = locals_update(watch->locals);
    /* Until it works, a header might name an address that has become this host's own. */
    if (err < 0 && !watch->has_failed)
        log_warning("worker", "[!] this host's addresses could not be read again: %s",
                    strerror(-err));
    watch->has_failed = err < 0;

    int due_ms = locals_due_ms(watch->locals);
    loop_stop_timer(watch->loop, &watch->timer);
    if (due_ms >= 0)
        loop_start_timer(watch->loop, &watch->timer, (uint64_t)due_ms * 1000);
}

static void on_locals(struct loop_io *io, unsigned events)
{
    (void)events;
    update_locals(io->owner);
}

static void on_locals_due(struct timer *timer)
{
    update_locals(timer->owner);
}

static int watch_locals(struct loop *loop, struct locals_watch *watch, struct locals *locals)
{
    *watch = (struct locals_watch){
        .locals = locals,
        .loop = loop,
        .io = { .on_event = on_locals, .owner = watch, .fd = locals_fd(locals) },
        .timer = { .on_due = on_locals_due, .owner = watch },
    };
    watch->io.is_first = true; /* a claim is judged by what holds by then */
    return loop_watch(loop, &watch->io);
}

static void on_held_back(struct timer *timer)
{
    for_each_listener(timer->owner, report_held_back);
}

static void on_lasting(struct deadline *deadline)
{
    session_lasts(deadline->owner);
}

static void on_reset_due(struct deadline *deadline)
{
    session_drive(deadline->owner, READY_DEADLINE);
}

static bool has(const struct config *config, enum protocol protocol)
{
    for (size_t i = 0; i < config->n_listeners; i++)
        if (config->listeners[i].protocol == protocol)
            return true;
    return false;
}

/* Any client can start UDP sessions: connections and the log get along beside as many as can be. */
static unsigned max_udp_sessions(const struct config *config)
{
    struct rlimit limit = { .rlim_cur = 1024 };

    (void)getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t kept = has(config, PROTOCOL_TCP) ? limit.rlim_cur / 4 : 0;
    rlim_t open = RESERVED + kept;
    rlim_t max = limit.rlim_cur > 2 * open ? limit.rlim_cur - open : limit.rlim_cur / 2;
    return max < UINT_MAX ? (unsigned)max : UINT_MAX;
}

static int open_udp(struct worker *worker)
{
    const struct worker_spec *spec = worker->spec;

    worker->max_udp_sessions = max_udp_sessions(spec->config);
    worker->datagrams = datagrams_new();
    worker->udp_table = udp_table_new(worker->max_udp_sessions);
    if (!worker->datagrams || !worker->udp_table)
        return -ENOMEM;
    return peers_own(spec->peers, spec->region);
}

static int open_listeners(struct worker *worker)
{
    size_t n = worker->spec->config->n_listeners;

    int err = has(worker->spec->config, PROTOCOL_UDP) ? open_udp(worker) : 0;
    if (err < 0)
        return err;
    worker->listeners = calloc(n > 0 ? n : 1, sizeof *worker->listeners);
    if (!worker->listeners)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        err = listener_open(&worker->listeners[i], worker, (unsigned)i);
        if (err < 0)
            return err;
    }
    return 0;
}

/* Orders of the supervisor, and of a later one. */
static int watch_orders(struct worker *worker)
{
    worker->channel_io = (struct loop_io){
        .on_event = on_channel,
        .owner = worker,
        .fd = worker->spec->channel,
        .is_first = true, /* a connection that comes after the order to drain is not ours */
    };
    worker->leash_io =
        (struct loop_io){ .on_event = on_leash, .owner = worker, .fd = worker->spec->leash };
    int err = loop_watch(worker->loop, &worker->channel_io);
    if (err == 0 && worker->spec->leash >= 0)
        err = loop_watch(worker->loop, &worker->leash_io);
    return err;
}

static int open_watchers(struct worker *worker)
{
    worker->held_back_timer = (struct timer){ .on_due = on_held_back, .owner = worker };
    int err = watch_orders(worker);
    if (err == 0)
        err = watch_locals(worker->loop, &worker->locals_watch, worker->locals);
    if (err == 0 && worker->spec->outside)
        err = watch_locals(worker->loop, &worker->outside_watch, worker->spec->outside);
    return err;
}

static int worker_open(struct worker *worker, const struct worker_spec *spec)
{
    worker->spec = spec;
    worker->is_paced = congestion_is_paced();
    LIST_INIT(&worker->roster);
    worker->loop = loop_new();
    worker->pool = pump_pool_new(MAX_PIPES);
    if (!worker->loop || !worker->pool)
        return -ENOMEM;

    int err = locals_new(&worker->locals);
    if (err < 0)
        return err;
    if (worker->is_paced)
        (void)locals_follow_bridges(worker->locals);

    err = counters_own(spec->counters, spec->worker_id);
    if (err < 0)
        return err;

    deadline_queue_open(&worker->lasting_deadlines, worker->loop, LASTING_MS, on_lasting);
    deadline_queue_open(&worker->reset_deadlines, worker->loop, RESET_MS, on_reset_due);
    err = open_watchers(worker);
    return err < 0 ? err : open_listeners(worker);
}

/* Takes any half-opened worker. */
static void worker_close(struct worker *worker)
{
    if (worker->listeners)
        for_each_listener(worker, report_held_back);
    if (worker->listeners)
        for_each_listener(worker, listener_close);
    free(worker->listeners);
    udp_table_free(worker->udp_table);
    datagrams_free(worker->datagrams);
    deadline_queue_close(&worker->lasting_deadlines);
    deadline_queue_close(&worker->reset_deadlines);
    locals_free(worker->locals);
    locals_free(worker->spec->outside);
    pump_pool_free(worker->pool);
    loop_free(worker->loop);
}

/* Where the supervisor has died there is no failure: end of file tells that. */
static int tell_ready(struct worker *worker)
{
    int err = send_message(worker, WORKER_READY);

    return err == -EPIPE || err == -ECONNRESET ? 0 : err;
}

int worker_run(const struct worker_spec *spec, int (*prepare)(const struct worker_spec *spec))
{
    struct worker worker = { 0 };

    leftovers_set_signals(); /* the channel alone gives orders */
    int err = log_open(&spec->config->log);
    if (err == 0)
        err = worker_open(&worker, spec);
    if (err < 0)
        log_error("worker", "[!] a worker could not start: %s", strerror(-err));
    else if (prepare(spec) < 0)
        err = -EPERM; /* prepare has said why */
    if (err == 0 && (err = tell_ready(&worker)) < 0)
        log_error("worker", "[!] a worker can't tell that it is ready: %s", strerror(-err));
    if (err == 0)
        loop_run(worker.loop);
    worker_close(&worker);
    return err < 0 ? EX_OSERR : EX_OK;
}
