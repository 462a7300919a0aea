/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(const struct signals *signals)
{
    int status;
    pid_t pid;

    /* One signal may stand for many; as process 1 there are children of others too. */
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        signals->on_child(signals->context, pid, status);
}

static void on_readable(void *context)
{
    struct signals *signals = context;
    struct signalfd_siginfo info;

    if (read(signals->fd, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGCHLD)
        reap(signals);
    else
        signals->on_signal(signals->context, (int)info.ssi_signo);
}

int signals_open(struct signals *signals, struct ev_loop *loop)
{
    static const int heard[] = { SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGCHLD };
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof heard / sizeof *heard; i++)
        sigaddset(&set, heard[i]);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    /* Whoever started us may ignore it: then there would be nothing to reap. */
    (void)signal(SIGCHLD, SIG_DFL);
    signals->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals->fd < 0)
        return -errno;
    reader_open(&signals->reader, loop, signals->fd, on_readable, signals);
    return 0;
}

void signals_leave(struct signals *signals)
{
    if (signals->fd >= 0)
        close(signals->fd);
    signals->fd = -1;
}

void signals_close(struct signals *signals, struct ev_loop *loop)
{
    if (signals->fd < 0)
        return;
    reader_close(&signals->reader, loop);
    signals_leave(signals);
}
