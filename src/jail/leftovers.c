/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/jail/leftovers.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mmproxy/base/log.h"
#include "mmproxy/jail/descriptors.h"

/* An empty pipe: it reads as end of file, and unlike /dev/null it is always there. */
static int leave_input_and_output(void)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    int err = dup2(ends[0], STDIN_FILENO) < 0 || dup2(ends[0], STDOUT_FILENO) < 0 ? -errno : 0;
    close(ends[0]);
    close(ends[1]);
    return err;
}

/* The log's own descriptor of a terminal or pipe can write and do nothing else. */
static int narrow_error(void)
{
    int fds[2];

    log_descriptors(fds);
    if (fds[0] <= STDERR_FILENO)
        return 0;
    return dup2(fds[0], STDERR_FILENO) < 0 ? -errno : 0;
}

static void close_foreign(int fd, void *context)
{
    int flags = fcntl(fd, F_GETFD);

    (void)context;
    if (fd > STDERR_FILENO && flags >= 0 && !(flags & FD_CLOEXEC))
        close(fd);
}

/* The C library looks for the time zone each time that it formats a time. */
static int forget_environment(void)
{
    const char *given = getenv("TZ");
    char *zone = given ? strdup(given) : NULL;
    int err = given && !zone ? -ENOMEM : 0;

    for (char **variable = environ; variable && *variable; variable++)
        explicit_bzero(*variable, strlen(*variable));
    (void)clearenv();
    if (zone && setenv("TZ", zone, 1) < 0)
        err = -errno;
    free(zone);
    return err;
}

void leftovers_set_signals(void)
{
    static const int ignored[] = { SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGPIPE };
    sigset_t none;

    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

int leftovers_leave(void)
{
    int err = leave_input_and_output();
    if (err == 0)
        err = narrow_error();
    if (err < 0)
        return err;
    descriptors_each(close_foreign, NULL);
    return forget_environment();
}
