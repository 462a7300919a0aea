/* SPDX-License-Identifier: BSD-2-Clause */
/* For the tests of log: something else as standard error, and what arrived there. */
#ifndef MMPROXY_TESTS_LOG_SUPPORT_H
#define MMPROXY_TESTS_LOG_SUPPORT_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../src/base/log_internal.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int real_stderr = -1;

/* Takes fd over as standard error; -1 closes it. */
static inline void stderr_become(int fd)
{
    real_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    assert_true(real_stderr >= 0);
    close(STDERR_FILENO);
    if (fd >= 0) {
        assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
        close(fd);
    }
    log_stderr_release();
}

/* Also as cmocka's teardown, so that a failed test can say so. */
static inline int stderr_restore(void **state)
{
    (void)state;
    if (real_stderr >= 0) {
        dup2(real_stderr, STDERR_FILENO);
        close(real_stderr);
    }
    real_stderr = -1;
    log_close();
    log_set_socket_paths(NULL, NULL);
    log_stderr_release();
    unsetenv("JOURNAL_STREAM");
    return 0;
}

/* A pipe as standard error; returns its read end, which does not wait. */
static inline int stderr_become_pipe(void)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    stderr_become(ends[1]);
    return ends[0];
}

/* Everything that has arrived at fd by now (its last MiB counts). */
static inline const char *drain(int fd)
{
    static char bytes[1 << 20];
    size_t len = 0;
    ssize_t n;
    while (len < sizeof(bytes) - 1 && (n = read(fd, bytes + len, sizeof(bytes) - 1 - len)) > 0)
        len += (size_t)n;
    bytes[len] = '\0';
    return bytes;
}

#endif
