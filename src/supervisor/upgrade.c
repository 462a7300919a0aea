/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mmproxy/base/log.h"
#include "mmproxy/net/sock.h"
#include "mmproxy/supervisor/control.h"
#include "mmproxy/supervisor/process.h"
#include "mmproxy/supervisor/service.h"
#include "mmproxy/supervisor/status.h"
#include "mmproxy/worker/datagram/peers.h"

#include "handover.h"

enum {
    READY_TIMEOUT_S = 30,
    SESSIONS_EVERY_S = 1, /* between notices to the new process about sessions here */
    FIRST_SOCKET = 3,     /* as sd_listen_fds(3) has it */
};

static char binary[PATH_MAX];

void upgrade_init(struct supervisor *supervisor, char *const argv[])
{
    /* Asked early: once the file has been replaced, the kernel calls it deleted. */
    ssize_t len = readlink("/proc/self/exe", binary, sizeof binary - 1);

    if (len > 0)
        binary[len] = '\0';
    else
        (void)snprintf(binary, sizeof binary, "%s", argv[0]);
    supervisor->upgrade = (struct upgrade){ .argv = argv, .channel = -1, .end_fd = -1 };
}

static int set_kinds(const struct sockets *sockets)
{
    char *kinds = calloc(sockets->n + 1, 1);
    if (!kinds)
        return -ENOMEM;

    for (size_t i = 0; i < sockets->n; i++) {
        const struct listen_socket *socket = &sockets->all[i];
        kinds[i] = socket->is_stored         ? IS_STORED
                   : socket->is_kept_outside ? IS_KEPT
                                             : IS_OURS_ALONE;
    }
    int err = setenv(HANDOVER_KINDS, kinds, 1) < 0 ? -errno : 0;
    free(kinds);
    return err;
}

static int set_drained(const struct supervisor *supervisor)
{
    char *names = NULL;

    int err = control_drained_names(supervisor, &names);
    if (err < 0)
        return err;
    (void)unsetenv(HANDOVER_DRAINED);
    if (names[0] && setenv(HANDOVER_DRAINED, names, 1) < 0)
        err = -errno;
    free(names);
    return err;
}

static void set_number(const char *variable, long number)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%ld", number);
    (void)setenv(variable, text, 1);
}

/*
 * The new process gets: listening sockets; the reading end of its leash; the writing ends of
 * all leashes, its own and ours among them, each with the counters of its process behind it; what
 * UDP's peers have said; the channel.
 */
struct parcel {
    int *fds;
    size_t n;
};

static void pack_leash(struct parcel *out, int leash, int counters)
{
    if (leash < 0)
        return;
    out->fds[out->n++] = leash;
    if (counters >= 0)
        out->fds[out->n++] = counters;
}

static int pack(struct parcel *out, const struct supervisor *supervisor, int channel, int end)
{
    const struct leash *leash;

    out->n = 0;
    out->fds =
        calloc(supervisor->sockets.n + 2 * supervisor->leashes.n_earlier + 5, sizeof *out->fds);
    if (!out->fds)
        return -ENOMEM;
    for (size_t i = 0; i < supervisor->sockets.n; i++)
        out->fds[out->n++] = supervisor->sockets.all[i].fd;
    out->fds[out->n++] = end;
    LIST_FOREACH (leash, &supervisor->leashes.earlier, link)
        pack_leash(out, leash->fd, leash->counters_fd);
    pack_leash(out, supervisor->leashes.pull, counters_fd(supervisor->counters));
    if (peers_fd(supervisor->peers) >= 0)
        out->fds[out->n++] = peers_fd(supervisor->peers);
    out->fds[out->n++] = channel;
    return 0;
}

/* Puts the descriptors where the new process looks for them; all others close on exec. */
static int lay_out(const struct parcel *parcel)
{
    int above = FIRST_SOCKET + (int)parcel->n;

    /* Out of the way first: the places may be taken by one another. */
    for (size_t i = 0; i < parcel->n; i++) {
        parcel->fds[i] = fcntl(parcel->fds[i], F_DUPFD_CLOEXEC, above);
        if (parcel->fds[i] < 0)
            return -errno;
    }
    for (size_t i = 0; i < parcel->n; i++)
        if (dup2(parcel->fds[i], FIRST_SOCKET + (int)i) < 0)
            return -errno;
    return 0;
}

static void set_variables(const struct parcel *parcel)
{
    set_number("LISTEN_FDS", (long)parcel->n - 1);
    set_number("LISTEN_PID", (long)getpid());
    if (getenv("WATCHDOG_PID"))
        set_number("WATCHDOG_PID", (long)getpid());
    (void)unsetenv("LISTEN_FDNAMES");
    set_number(HANDOVER_CHANNEL, FIRST_SOCKET + (long)parcel->n - 1);
}

static _Noreturn void be_new_binary(const struct supervisor *supervisor, int channel, int end)
{
    struct parcel parcel;
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int err = pack(&parcel, supervisor, channel, end);
    if (err == 0)
        err = lay_out(&parcel);
    if (err == 0)
        err = set_kinds(&supervisor->sockets);
    if (err == 0)
        err = set_drained(supervisor);
    if (err == 0) {
        set_variables(&parcel);
        execv(binary, supervisor->upgrade.argv);
        err = -errno;
    }
    log_error("upgrade", "[!] %s can't be started: %s", binary, strerror(-err));
    _exit(EXIT_FAILURE);
}

static void stop_watching(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;

    ev_timer_stop(supervisor->loop, &upgrade->timeout);
    reader_close(&upgrade->end, supervisor->loop);
    if (upgrade->end_fd >= 0)
        close(upgrade->end_fd);
    upgrade->end_fd = -1;
}

static void fail_upgrade(struct supervisor *supervisor, const char *why)
{
    upgrade_close(supervisor);
    supervisor->upgrade.failure = why;
    lifecycle_report(&supervisor->life, ON_NEW_FAILED);
}

static void on_message(void *context)
{
    struct supervisor *supervisor = context;
    struct handover_message message;

    ssize_t n = recv(supervisor->upgrade.channel, &message, sizeof message, MSG_DONTWAIT);
    if (n == sizeof message && message.kind == HANDOVER_READY)
        lifecycle_report(&supervisor->life, ON_NEW_READY);
    else if (n == 0)
        fail_upgrade(supervisor, "ended before it was ready");
}

/* Its end of the channel may still be open in workers that it has forked. */
static void on_end(void *context)
{
    struct supervisor *supervisor = context;

    supervisor->upgrade.pid = 0;
    fail_upgrade(supervisor, "ended before it was ready");
}

static void on_timeout(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct supervisor *supervisor = timer->data;

    (void)loop;
    (void)revents;
    (void)kill(supervisor->upgrade.pid, SIGKILL);
    fail_upgrade(supervisor, "was not ready in time");
}

static void watch(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;

    upgrade->end_fd = (int)syscall(SYS_pidfd_open, upgrade->pid, 0);
    if (upgrade->end_fd >= 0)
        reader_open(&upgrade->end, supervisor->loop, upgrade->end_fd, on_end, supervisor);
    reader_open(&upgrade->reader, supervisor->loop, upgrade->channel, on_message, supervisor);
    ev_timer_init(&upgrade->timeout, on_timeout, READY_TIMEOUT_S, 0.);
    upgrade->timeout.data = supervisor;
    ev_now_update(supervisor->loop);
    ev_timer_start(supervisor->loop, &upgrade->timeout);
}

/* Makes the new one's leash and keeps the writing end. returns: the reading end or -errno. */
static int make_leash(struct supervisor *supervisor)
{
    int ends[2];

    int err = leash_make(ends);
    if (err < 0)
        return err;
    err = leash_adopt(&supervisor->leashes, ends[1]);
    if (err < 0) {
        close(ends[0]);
        close(ends[1]);
        return err;
    }
    service_keep_leash(ends[1]);
    return ends[0];
}

/* end: of the new one's leash. returns: 0 or -errno. */
static int start_with(struct supervisor *supervisor, int end)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return -errno;
    upgrade->pid = process_fork_beside();
    if (upgrade->pid == 0)
        be_new_binary(supervisor, ends[1], end);
    int err = errno;
    close(ends[1]);
    if (upgrade->pid < 0) {
        close(ends[0]);
        return -err;
    }
    upgrade->channel = ends[0];
    return 0;
}

static int start(struct supervisor *supervisor)
{
    int end = make_leash(supervisor);
    if (end < 0)
        return end;

    int err = start_with(supervisor, end);
    close(end);
    return err;
}

static void report_key(void *context, bool is_error, const char *line)
{
    (void)context;
    (void)is_error;
    log_warning("config", "%s", line);
}

/* The new process knows no key but those in the files. */
static void keep_map_keys(const struct supervisor *supervisor)
{
    const struct config_sink sink = { .report = report_key };

    if (supervisor->current)
        (void)config_complete_map_keys(supervisor->current->config, supervisor->current->config,
                                       &sink);
}

void upgrade_start(struct supervisor *supervisor)
{
    status_upgrade_begins(supervisor);
    if (getpid() == 1) {
        log_warning("upgrade", "[!] SIGUSR2 is ignored: everything here ends with process 1");
        fail_upgrade(supervisor, NULL);
        return;
    }
    keep_map_keys(supervisor);
    int err = start(supervisor);
    if (err < 0) {
        log_error("upgrade", "[!] upgrade failed: %s", strerror(-err));
        fail_upgrade(supervisor, NULL);
        return;
    }
    log_notice("upgrade", "[ ] upgrading: %s starts as process %d", binary,
               (int)supervisor->upgrade.pid);
    watch(supervisor);
}

void upgrade_abort(struct supervisor *supervisor)
{
    if (supervisor->upgrade.channel < 0)
        return;
    (void)kill(supervisor->upgrade.pid, SIGKILL);
    upgrade_close(supervisor);
}

/* returns: 0 or -errno. */
static int tell(const struct supervisor *supervisor, enum handover_kind kind)
{
    struct handover_message message = {
        .kind = kind,
        .number = generation_list_sessions(&supervisor->draining) + supervisor->takeover.sessions,
    };

    return send(supervisor->upgrade.channel, &message, sizeof message,
                MSG_NOSIGNAL | MSG_DONTWAIT) < 0
               ? -errno
               : 0;
}

static void on_time_to_tell(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct supervisor *supervisor = timer->data;

    (void)revents;
    int err = tell(supervisor, HANDOVER_SESSIONS);
    if (err < 0 && err != -EAGAIN)
        ev_timer_stop(loop, timer); /* it is gone */
}

static void on_question(void *context)
{
    struct supervisor *supervisor = context;
    struct upgrade *upgrade = &supervisor->upgrade;
    struct handover_message message;
    int client;

    ssize_t n = sock_receive_with(upgrade->channel, &message, sizeof message, &client);
    if (n == sizeof message && message.kind == HANDOVER_QUESTION && client >= 0)
        control_take_question(supervisor, client, message.number != 0);
    else if (client >= 0)
        close(client);
    if (n == 0) /* the new process has gone */
        reader_close(&upgrade->reader, supervisor->loop);
}

void upgrade_hand_over(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;

    service_main_pid(upgrade->pid);
    service_mute(true);
    sockets_close(&supervisor->sockets);
    leash_drop_all(&supervisor->leashes);
    stop_watching(supervisor);
    reader_close(&upgrade->reader, supervisor->loop);
    (void)tell(supervisor, HANDOVER_DONE);
    (void)tell(supervisor, HANDOVER_ANSWERS);
    reader_open(&upgrade->reader, supervisor->loop, upgrade->channel, on_question, supervisor);
    ev_timer_init(&upgrade->timeout, on_time_to_tell, 0., SESSIONS_EVERY_S);
    ev_timer_start(supervisor->loop, &upgrade->timeout);
}

void upgrade_pass_on_hup(struct supervisor *supervisor)
{
    if (supervisor->upgrade.pid > 0)
        (void)kill(supervisor->upgrade.pid, SIGHUP);
}

void upgrade_refuse(struct supervisor *supervisor)
{
    (void)supervisor;
    log_warning("upgrade", "[!] SIGUSR2 is ignored while starting, stopping or upgrading");
}

void upgrade_tell_done(struct supervisor *supervisor)
{
    log_notice("upgrade", "[+] upgraded: process %d serves, process %d drains",
               (int)supervisor->upgrade.pid, (int)getpid());
}

void upgrade_tell_failed(struct supervisor *supervisor)
{
    if (supervisor->upgrade.failure)
        log_error("upgrade", "[!] upgrade failed: %s %s; generation %u still serves", binary,
                  supervisor->upgrade.failure, supervisor->current->number);
    status_upgrade_failed(supervisor);
}

void upgrade_close(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;

    if (upgrade->channel < 0)
        return;
    stop_watching(supervisor);
    reader_close(&upgrade->reader, supervisor->loop);
    close(upgrade->channel);
    upgrade->channel = -1;
}
