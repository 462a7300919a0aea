/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "mmproxy/base/log.h"
#include "mmproxy/net/spoof.h"
#include "mmproxy/supervisor/confine.h"
#include "mmproxy/supervisor/control.h"
#include "mmproxy/supervisor/exports.h"
#include "mmproxy/supervisor/load.h"
#include "mmproxy/supervisor/network_watch.h"
#include "mmproxy/supervisor/preflight.h"
#include "mmproxy/supervisor/return_path.h"
#include "mmproxy/supervisor/service.h"
#include "mmproxy/supervisor/state.h"
#include "mmproxy/supervisor/status.h"
#include "mmproxy/supervisor/stop.h"
#include "mmproxy/supervisor/takeover.h"
#include "mmproxy/supervisor/upgrade.h"
#include "mmproxy/worker/datagram/peers.h"

static void refuse_connections(struct supervisor *supervisor)
{
    sockets_shut_down(&supervisor->sockets);
}

/* A process that came to nothing: all of it stays with the old one. */
static void let_go(struct supervisor *supervisor)
{
    sockets_close(&supervisor->sockets);
    leash_drop_all(&supervisor->leashes);
}

static void serve(struct supervisor *supervisor)
{
    generation_serve(supervisor->current, true);
    counters_take_ended(supervisor->counters);
}

static void serve_beside(struct supervisor *supervisor)
{
    generation_serve(supervisor->current, false);
}

static void be_main(struct supervisor *supervisor)
{
    service_mute(false);
    sockets_store(&supervisor->sockets);
}

static void abandon(struct supervisor *supervisor)
{
    stop_abandon(supervisor);
    sockets_abandon(&supervisor->sockets);
    return_path_leave(supervisor, true);
}

static void fail_start(struct supervisor *supervisor)
{
    int status = supervisor->load.exit_status;

    supervisor->exit_status = status != EX_OK ? status : EX_OSERR;
}

static void tell_stopping(struct supervisor *supervisor)
{
    (void)supervisor;
    service_stopping();
}

static void end(struct supervisor *supervisor)
{
    ev_break(supervisor->loop, EVBREAK_ALL);
}

static void take_step(void *context, enum life_step step)
{
    static void (*const steps[LIFE_STEPS])(struct supervisor *) = {
        [DO_PREPARE] = load_prepare,
        [DO_OPEN_LOG] = load_open_log,
        [DO_SET_UP_RETURN] = return_path_update,
        [DO_FORK] = load_fork,
        [DO_PROMOTE] = load_promote,
        [DO_COMMIT_PORTS] = load_commit_ports,
        [DO_SERVE] = serve,
        [DO_SERVE_BESIDE] = serve_beside,
        [DO_RETIRE] = stop_retire,
        [DO_OFFER_CONTROL] = control_offer,
        [DO_WITHDRAW_CONTROL] = control_withdraw,
        [DO_CHECK_TARGETS] = preflight_start,
        [DO_RECHECK_TARGETS] = preflight_repeat,
        [DO_ADJUST_PORTS] = preflight_adjust_ports,
        [DO_ROLL_BACK] = load_roll_back,
        [DO_FAIL_START] = fail_start,
        [DO_TELL_LOADING] = load_tell_loading,
        [DO_TELL_LOADED] = load_tell_loaded,
        [DO_TELL_UNCHANGED] = load_tell_unchanged,
        [DO_TELL_FAILED] = load_tell_failed,
        [DO_START_BINARY] = upgrade_start,
        [DO_KILL_BINARY] = upgrade_abort,
        [DO_HAND_OVER] = upgrade_hand_over,
        [DO_PASS_HUP_ON] = upgrade_pass_on_hup,
        [DO_REFUSE_USR2] = upgrade_refuse,
        [DO_TELL_UPGRADED] = upgrade_tell_done,
        [DO_TELL_UPGRADE_FAILED] = upgrade_tell_failed,
        [DO_ANNOUNCE] = takeover_announce,
        [DO_BE_MAIN] = be_main,
        [DO_LET_GO] = let_go,
        [DO_TELL_STOPPING] = tell_stopping,
        [DO_CLOSE_PORTS] = refuse_connections,
        [DO_RETIRE_ALL] = stop_retire_all,
        [DO_GRANT_TIME] = stop_grant_time,
        [DO_RESET] = stop_reset,
        [DO_KILL] = stop_kill,
        [DO_EXPORT] = exports_start,
        [DO_END_EXPORT] = exports_stop,
        [DO_ABANDON] = abandon,
        [DO_END_IF_ALONE] = stop_end_if_alone,
        [DO_END] = end,
    };

    steps[step](context);
}

static void on_signal(void *context, int number)
{
    struct supervisor *supervisor = context;
    enum life_event event = ON_TERM;

    if (number == SIGHUP)
        event = ON_HUP;
    else if (number == SIGUSR1)
        event = ON_USR1;
    else if (number == SIGUSR2)
        event = ON_USR2;
    lifecycle_report(&supervisor->life, event);
}

static void on_pulled(void *context)
{
    struct supervisor *supervisor = context;

    lifecycle_report(&supervisor->life, ON_PULLED);
}

static void on_earlier_gone(void *context, int counted)
{
    struct supervisor *supervisor = context;

    if (counted >= 0)
        counters_end_earlier(supervisor->counters, (unsigned)counted);
    if (supervisor->upgrade.channel < 0)
        counters_take_ended(supervisor->counters);
    lifecycle_report(&supervisor->life, ON_GONE);
}

static void on_generation_ready(struct generation *generation)
{
    struct supervisor *supervisor = generation->start.context;

    lifecycle_report(&supervisor->life, ON_READY);
}

static void on_child(void *context, pid_t pid, int status)
{
    struct supervisor *supervisor = context;
    struct generation *generation;

    if (preflight_reaped(supervisor, pid, status)) {
        exports_take_checks(supervisor);
        return;
    }
    if (exports_reaped(supervisor, pid, status) || control_reaped(supervisor, pid, status))
        return;
    if (supervisor->current && generation_reaped(supervisor->current, pid, status))
        return;
    if (supervisor->next && generation_reaped(supervisor->next, pid, status))
        return;
    TAILQ_FOREACH (generation, &supervisor->draining, link)
        if (generation_reaped(generation, pid, status))
            return;
}

static void on_watchdog(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct supervisor *supervisor = timer->data;

    (void)loop;
    (void)revents;
    /* A manager that hears nothing restarts the service: right for a worker that is stuck. */
    if (!supervisor->current || generation_ping(supervisor->current))
        service_watchdog();
}

static void start_watchdog(struct supervisor *supervisor)
{
    double watchdog_s = (double)service_watchdog_interval_ms() / 1000.;

    ev_timer_init(&supervisor->watchdog, on_watchdog, watchdog_s, watchdog_s);
    supervisor->watchdog.data = supervisor;
    if (watchdog_s > 0)
        ev_timer_start(supervisor->loop, &supervisor->watchdog);
}

/* Two descriptors a session: the most that there are is just enough. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warning("start", "[!] the limit of open files stays as it is: %s", strerror(errno));
}

static int take_one(struct supervisor *supervisor, int fd, size_t i)
{
    if (leash_is(fd))
        return leash_adopt(&supervisor->leashes, fd);
    if (takeover_is(supervisor) && counters_is(fd))
        return leash_adopt_counters(&supervisor->leashes, fd);
    if (!supervisor->peers && peers_adopt(&supervisor->peers, fd) == 0)
        return 0;
    if (takeover_is(supervisor) && leash_is_end(fd)) {
        leash_take_end(&supervisor->leashes, fd);
        return 0;
    }
    if (takeover_is(supervisor))
        return sockets_adopt(&supervisor->sockets, fd, takeover_socket_is_kept(i),
                             takeover_socket_is_stored(i));
    return sockets_adopt(&supervisor->sockets, fd, true, service_is_stored(i));
}

/* From a service manager, which keeps a copy, or from the process that this one replaces. */
static void take_descriptors(struct supervisor *supervisor)
{
    int first;
    int n = service_sockets(&first);
    int n_missing = 0;

    for (int fd = first; fd < first + n; fd++) {
        int err = take_one(supervisor, fd, (size_t)(fd - first));
        if (err == 0)
            continue;
        if (err == -EBADF && n_missing++ > 0)
            continue;
        log_warning("start", "[!] descriptor %d was handed over but is of no use: %s", fd,
                    err == -EEXIST ? "another one listens on its address" : strerror(-err));
        if (err != -EBADF)
            close(fd);
    }
    if (n_missing > 1)
        log_warning("start", "[!] %d more descriptors of LISTEN_FDS are not open", n_missing - 1);
}

/* The counts of earlier processes continue here. */
static void adopt_counters(struct supervisor *supervisor)
{
    struct leash *leash;

    LIST_FOREACH (leash, &supervisor->leashes.earlier, link) {
        if (leash->counters_fd < 0)
            continue;
        leash->counted = counters_adopt(supervisor->counters, leash->counters_fd);
        if (leash->counted < 0)
            log_warning("start", "[!] the counters of the old process are lost: %s",
                        strerror(-leash->counted));
    }
}

static int supervisor_open(struct supervisor *supervisor)
{
    /* First of all: a descriptor that was promised but not handed over would be one of ours. */
    take_descriptors(supervisor);
    supervisor->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    supervisor->counters = counters_new(COUNTERS_WORKERS, COUNTERS_LISTENERS);
    if (!supervisor->peers)
        (void)peers_new(&supervisor->peers, PEERS_SETS);
    if (!supervisor->loop || !supervisor->counters || !supervisor->peers) {
        log_error("start", "mmproxy: no event loop or no memory to start with");
        return EX_OSERR;
    }
    adopt_counters(supervisor);
    int err = signals_open(&supervisor->signals, supervisor->loop);
    if (err < 0) {
        log_error("start", "mmproxy: no signals can be heard: %s", strerror(-err));
        return EX_OSERR;
    }
    raise_descriptor_limit();
    err = leash_open(&supervisor->leashes, supervisor->loop);
    if (err < 0) {
        log_error("start", "mmproxy: no pipe can be had: %s", strerror(-err));
        return EX_OSERR;
    }
    if (!takeover_is(supervisor))
        service_keep_leash(supervisor->leashes.pull);
    takeover_open(supervisor);
    err = namespaces_open(&supervisor->namespaces);
    if (err == 0)
        err = return_path_open(supervisor);
    if (err < 0)
        log_warning("start", "[!] the return path can't be managed: %s", strerror(-err));
    start_watchdog(supervisor);
    load_init(supervisor);
    exports_init(supervisor);
    stop_init(supervisor);
    status_init(supervisor);
    preflight_init(supervisor);
    network_watch_init(supervisor);
    return EX_OK;
}

static void supervisor_close(struct supervisor *supervisor)
{
    control_withdraw(supervisor);
    exports_close(supervisor);
    status_close(supervisor);
    preflight_close(supervisor);
    return_path_close(supervisor);
    network_watch_close(supervisor);
    namespaces_close(&supervisor->namespaces);
    upgrade_close(supervisor);
    takeover_close(supervisor);
    leash_close(&supervisor->leashes);
    sockets_close(&supervisor->sockets);
    counters_free(supervisor->counters);
    peers_free(supervisor->peers);
    signals_close(&supervisor->signals, supervisor->loop);
    if (supervisor->loop)
        ev_loop_destroy(supervisor->loop);
    service_close();
    log_close();
}

/* In a forked child: what a worker must not hold. Listening sockets it does hold. */
static void leave(void *context)
{
    struct supervisor *supervisor = context;
    const struct config *serving[2] = { supervisor->current ? supervisor->current->config : NULL,
                                        supervisor->next ? supervisor->next->config : NULL };
    struct generation *generation;

    sockets_leave_exporter(&supervisor->sockets, serving);
    exports_leave(supervisor);
    signals_leave(&supervisor->signals);
    return_path_leave(supervisor, true);
    upgrade_close(supervisor);
    takeover_close(supervisor);
    leash_leave(&supervisor->leashes);
    counters_leave(supervisor->counters);
    peers_leave(supervisor->peers);
    control_leave(supervisor);
    if (supervisor->next)
        generation_leave(supervisor->next);
    if (supervisor->current)
        generation_leave(supervisor->current);
    TAILQ_FOREACH (generation, &supervisor->draining, link)
        generation_leave(generation);
    ev_loop_destroy(supervisor->loop);
}

static void supervisor_init(struct supervisor *supervisor, const struct cmdline *cmdline,
                            char *const argv[])
{
    *supervisor = (struct supervisor){
        .cmdline = cmdline,
        .leave = leave,
        .generation_events = { .on_ready = on_generation_ready,
                               .on_failed = load_generation_failed,
                               .on_gone = stop_generation_gone },
        .signals = { .fd = -1,
                     .on_signal = on_signal,
                     .on_child = on_child,
                     .context = supervisor },
        .exports = { .channel = -1, .old_channel = -1 },
        .leashes = { .end = -1,
                     .pull = -1,
                     .on_pulled = on_pulled,
                     .on_gone = on_earlier_gone,
                     .context = supervisor },
    };
    TAILQ_INIT(&supervisor->draining);
    control_init(supervisor);
    upgrade_init(supervisor, argv);
    takeover_init(supervisor);
    service_mute(takeover_is(supervisor)); /* the old process is the main one still */
    lifecycle_init(&supervisor->life, takeover_is(supervisor) ? LIFE_TAKING_OVER : LIFE_STARTING,
                   take_step, supervisor);
}

int supervisor_run(const struct cmdline *cmdline, char *const argv[])
{
    struct supervisor supervisor;

    log_hold(); /* the first load says how lines are to be written */
    supervisor_init(&supervisor, cmdline, argv);
    supervisor.exit_status = supervisor_open(&supervisor);
    if (supervisor.exit_status == EX_OK)
        supervisor.exit_status = confine_supervisor();
    if (supervisor.exit_status == EX_OK)
        lifecycle_report(&supervisor.life, ON_BEGIN);
    if (supervisor.exit_status == EX_OK && supervisor.life.state != LIFE_ENDED)
        ev_run(supervisor.loop, 0);
    supervisor_close(&supervisor);
    return supervisor.exit_status;
}
