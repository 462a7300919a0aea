/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mmproxy/base/log.h"
#include "mmproxy/supervisor/process.h"
#include "mmproxy/supervisor/service.h"

/* The environment variable that names the descriptor on which the new process says READY. */
#define READY_FD_VARIABLE "MMPROXY_UPGRADE_FD"
/* A character for each socket handed over: has a service manager a copy, and is it from us? */
#define KEPT_VARIABLE "MMPROXY_UPGRADE_KEPT"

enum { IS_OURS_ALONE = '0', IS_KEPT = '1', IS_STORED = '2' };

enum {
    READY_TIMEOUT_S = 30,
    FIRST_SOCKET = 3, /* as sd_listen_fds(3) has it */
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
    supervisor->upgrade.argv = argv;
    supervisor->upgrade.ready_fd = -1;
    supervisor->upgrade.tell_fd = -1;

    const char *variable = getenv(READY_FD_VARIABLE);
    int fd = variable ? atoi(variable) : -1;
    if (fd >= FIRST_SOCKET && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
        supervisor->upgrade.tell_fd = fd;
    (void)unsetenv(READY_FD_VARIABLE);
}

bool upgrade_is_under_way(const struct supervisor *supervisor)
{
    return supervisor->upgrade.tell_fd >= 0;
}

static int keeper(size_t i)
{
    const char *kept = getenv(KEPT_VARIABLE);

    return kept && i < strlen(kept) ? kept[i] : IS_OURS_ALONE;
}

bool upgrade_socket_is_kept(size_t i)
{
    return keeper(i) != IS_OURS_ALONE;
}

bool upgrade_socket_is_stored(size_t i)
{
    return keeper(i) == IS_STORED;
}

static int set_kept(const struct sockets *sockets)
{
    char *kept = calloc(sockets->n + 1, 1);
    if (!kept)
        return -ENOMEM;

    for (size_t i = 0; i < sockets->n; i++) {
        const struct listen_socket *socket = &sockets->all[i];
        kept[i] = socket->is_stored ? IS_STORED : socket->is_kept_outside ? IS_KEPT : IS_OURS_ALONE;
    }
    int err = setenv(KEPT_VARIABLE, kept, 1) < 0 ? -errno : 0;
    free(kept);
    return err;
}

static void set_number(const char *variable, long number)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%ld", number);
    (void)setenv(variable, text, 1);
}

/* Puts the descriptors where the new process looks for them; all others close on exec. */
static int lay_out(const struct sockets *sockets, int ready_fd)
{
    int above = FIRST_SOCKET + (int)sockets->n + 1;

    /* Out of the way first: the places may be taken by one another. */
    int moved = fcntl(ready_fd, F_DUPFD_CLOEXEC, above);
    if (moved < 0)
        return -errno;
    for (size_t i = 0; i < sockets->n; i++) {
        sockets->all[i].fd = fcntl(sockets->all[i].fd, F_DUPFD_CLOEXEC, above);
        if (sockets->all[i].fd < 0)
            return -errno;
    }
    for (size_t i = 0; i < sockets->n; i++)
        if (dup2(sockets->all[i].fd, FIRST_SOCKET + (int)i) < 0)
            return -errno;
    return dup2(moved, above - 1) < 0 ? -errno : above - 1;
}

static _Noreturn void be_new_binary(const struct supervisor *supervisor, int ready_fd)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    ready_fd = lay_out(&supervisor->sockets, ready_fd);
    int err = ready_fd < 0 ? ready_fd : set_kept(&supervisor->sockets);
    if (err == 0) {
        set_number("LISTEN_FDS", (long)supervisor->sockets.n);
        set_number("LISTEN_PID", (long)getpid());
        if (getenv("WATCHDOG_PID"))
            set_number("WATCHDOG_PID", (long)getpid());
        (void)unsetenv("LISTEN_FDNAMES");
        set_number(READY_FD_VARIABLE, ready_fd);
        execv(binary, supervisor->upgrade.argv);
        err = -errno;
    }
    log_error("upgrade", "[!] %s can't be started: %s", binary, strerror(-err));
    _exit(EXIT_FAILURE);
}

static void failed(struct supervisor *supervisor, const char *why)
{
    upgrade_close(supervisor);
    supervisor->upgrade.failure = why;
    lifecycle_report(&supervisor->life, ON_NEW_FAILED);
}

static void on_ready(void *context)
{
    struct supervisor *supervisor = context;
    char byte;

    ssize_t n = read(supervisor->upgrade.ready_fd, &byte, 1);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        failed(supervisor, "ended before it was ready");
    else
        lifecycle_report(&supervisor->life, ON_NEW_READY);
}

/* Its end of the pipe may still be open in workers that it has forked. */
static void on_end(void *context)
{
    struct supervisor *supervisor = context;

    supervisor->upgrade.pid = 0;
    failed(supervisor, "ended before it was ready");
}

static void on_timeout(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct supervisor *supervisor = timer->data;

    (void)loop;
    (void)revents;
    (void)kill(supervisor->upgrade.pid, SIGKILL);
    failed(supervisor, "was not ready in time");
}

static void watch(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;

    upgrade->end_fd = (int)syscall(SYS_pidfd_open, upgrade->pid, 0);
    if (upgrade->end_fd >= 0)
        reader_open(&upgrade->end, supervisor->loop, upgrade->end_fd, on_end, supervisor);
    reader_open(&upgrade->ready, supervisor->loop, upgrade->ready_fd, on_ready, supervisor);
    ev_timer_init(&upgrade->timeout, on_timeout, READY_TIMEOUT_S, 0.);
    upgrade->timeout.data = supervisor;
    ev_now_update(supervisor->loop);
    ev_timer_start(supervisor->loop, &upgrade->timeout);
}

/* returns: 0 or -errno. */
static int start(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    upgrade->pid = process_fork_beside();
    if (upgrade->pid == 0)
        be_new_binary(supervisor, ends[1]);
    int err = errno;
    close(ends[1]);
    if (upgrade->pid < 0) {
        close(ends[0]);
        return -err;
    }
    upgrade->ready_fd = ends[0];
    return 0;
}

void upgrade_start(struct supervisor *supervisor)
{
    if (getpid() == 1) {
        log_warning("upgrade", "[!] SIGUSR2 is ignored: everything here ends with process 1");
        failed(supervisor, NULL);
        return;
    }
    int err = start(supervisor);
    if (err < 0) {
        log_error("upgrade", "[!] upgrade failed: %s", strerror(-err));
        failed(supervisor, NULL);
        return;
    }
    log_notice("upgrade", "[ ] upgrading: %s starts as process %d", binary,
               (int)supervisor->upgrade.pid);
    watch(supervisor);
}

void upgrade_abort(struct supervisor *supervisor)
{
    if (supervisor->upgrade.ready_fd < 0)
        return;
    (void)kill(supervisor->upgrade.pid, SIGKILL);
    upgrade_close(supervisor);
}

void upgrade_hand_over(struct supervisor *supervisor)
{
    service_main_pid(supervisor->upgrade.pid);
    upgrade_close(supervisor);
    sockets_close(&supervisor->sockets);
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
        log_error("upgrade", "[!] upgrade failed: %s %s; generation %u goes on", binary,
                  supervisor->upgrade.failure, supervisor->current->number);
}

void upgrade_announce(struct supervisor *supervisor)
{
    int fd = supervisor->upgrade.tell_fd;
    if (fd < 0)
        return;

    (void)!write(fd, "R", 1);
    close(fd);
    supervisor->upgrade.tell_fd = -1;
}

void upgrade_close(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;

    if (upgrade->tell_fd >= 0)
        close(upgrade->tell_fd);
    upgrade->tell_fd = -1;
    if (upgrade->ready_fd < 0)
        return;
    reader_close(&upgrade->ready, supervisor->loop);
    ev_timer_stop(supervisor->loop, &upgrade->timeout);
    close(upgrade->ready_fd);
    upgrade->ready_fd = -1;
    reader_close(&upgrade->end, supervisor->loop);
    if (upgrade->end_fd >= 0)
        close(upgrade->end_fd);
    upgrade->end_fd = -1;
}
