# SPDX-License-Identifier: BSD-2-Clause
"""
A daemon whose monotonic clock runs faster, so that a test of its long timeouts is short.

A library that is loaded before all others stands between the daemon and the clock, and
between its event loop and the kernel's idea of a second.
"""

import os
import subprocess

from lib import daemon

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
        f = atol(getenv("HASTE"));
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


def preload(directory, name, source):
    """Variables for a daemon before whose libraries a library made of this source is loaded."""
    library = directory / f"{name}.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-x", "c", "-o", library, "-"],
                   input=source, text=True, check=True)
    os.chmod(library, 0o755)
    # A sanitizer's runtime insists on being the first otherwise.
    asan = daemon.environment(directory)["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": asan}


def environment(directory, factor):
    """Variables for a daemon for which a second lasts 1/factor of one."""
    return preload(directory, "haste", _SOURCE) | {"HASTE": str(factor)}
