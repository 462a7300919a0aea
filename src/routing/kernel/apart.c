/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/kernel/apart.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"

enum { PIECE = 65536 };

/* Behind the text comes one byte: the error. Nothing of the parent's is flushed or freed. */
static _Noreturn void be_child(apart_work *work, const void *context, int fd)
{
    FILE *out;
    int err;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (null >= 0) /* libnftables writes to stderr what it does not know of a container's rules */
        (void)dup2(null, STDERR_FILENO);
    out = fdopen(fd, "w");
    if (out) {
        err = work(context, out);
        (void)fputc(-err, out);
        (void)fclose(out);
    }
    _exit(0);
}

/* No handler of the parent's may run in the child. */
static pid_t fork_blocked(void)
{
    sigset_t all;
    sigset_t old;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    pid_t pid = fork();
    int err = errno;
    if (pid != 0)
        sigprocmask(SIG_SETMASK, &old, NULL);
    errno = err;
    return pid;
}

static int wait_for(int fd, uint64_t end_ms)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    uint64_t now_ms = clock_now_ms();
    int n = poll(&ready, 1, now_ms < end_ms ? (int)(end_ms - now_ms) : 0);

    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    return n == 0 ? -ETIMEDOUT : 0;
}

/* Up to the end of what the child writes. */
static int copy_all(int fd, int limit_ms, FILE *out)
{
    uint64_t end_ms = clock_now_ms() + (uint64_t)limit_ms;
    char piece[PIECE];
    ssize_t n;

    do {
        int err = wait_for(fd, end_ms);
        if (err < 0)
            return err;
        n = read(fd, piece, sizeof piece);
        if (n > 0)
            (void)fwrite(piece, 1, (size_t)n, out);
    } while (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)));
    return n < 0 ? -errno : 0;
}

static int receive(int fd, int limit_ms, char **text)
{
    size_t len = 0;
    FILE *out = open_memstream(text, &len);

    if (!out)
        return -errno;
    int err = copy_all(fd, limit_ms, out);
    if (fclose(out) != 0 && err == 0)
        err = -ENOMEM;
    if (err == 0)
        err = len > 0 ? -(*text)[len - 1] : -ECHILD;
    if (err < 0) {
        free(*text);
        *text = NULL;
        return err;
    }
    (*text)[len - 1] = '\0';
    return 0;
}

int apart_run(apart_work *work, const void *context, int limit_ms, char **text)
{
    int ends[2];

    *text = NULL;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = fork_blocked();
    if (pid == 0)
        be_child(work, context, ends[1]);
    int err = pid < 0 ? -errno : 0;
    close(ends[1]);
    if (err == 0) {
        err = receive(ends[0], limit_ms, text);
        kill(pid, SIGKILL); /* it may hang */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    close(ends[0]);
    return err;
}
