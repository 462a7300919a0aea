# SPDX-License-Identifier: BSD-2-Clause
"""
A daemon whose monotonic clock runs faster, so that a test of its long timeouts is short.

A library that is loaded before all others stands between the daemon and the clock, and
between its event loop and the kernel's idea of a second.
"""

from lib import preload

_SOURCE = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long factor(void)
{
    static long f;
    if (!f)
        f = atol(getenv("FAST_CLOCK_FACTOR"));
    return f;
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    long err = syscall(SYS_clock_gettime, id, now);
    if (err == 0 && id == CLOCK_MONOTONIC) {
        __int128 ns = ((__int128)now->tv_sec * 1000000000 + now->tv_nsec) * factor();
        now->tv_sec = (time_t)(ns / 1000000000);
        now->tv_nsec = (long)(ns % 1000000000);
    }
    return (int)err;
}

int epoll_wait(int fd, struct epoll_event *events, int n, int timeout_ms)
{
    if (timeout_ms > 0)
        timeout_ms = (int)((timeout_ms + factor() - 1) / factor());
    return (int)syscall(SYS_epoll_pwait, fd, events, n, timeout_ms, NULL, 8);
}
"""


def environment(directory, factor):
    """Variables for a daemon for which a second lasts 1/factor of one."""
    return preload.environment(directory, "fast_clock", _SOURCE) | {
        "FAST_CLOCK_FACTOR": str(factor)}
