# SPDX-License-Identifier: BSD-2-Clause
"""
A daemon whose monotonic clock the test puts forward, for tests of what it does in hours.

As in fast_clock, a library stands between the daemon and its clock. Test and library share a file:
how far the clock has been put forward, and how far it was when the daemon last went to sleep.
"""

import mmap
import struct

from lib import preload
from lib.wait import until

_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_EVERY_MS = 1 };

static struct {
    _Atomic long forward_s;
    _Atomic long slept_at_s;
} *shared;
static pid_t owner;
static long seen_s;

__attribute__((constructor)) static void share(void)
{
    int fd = open(getenv("MANUAL_CLOCK"), O_RDWR | O_CLOEXEC);

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    owner = getpid();
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    long err = syscall(SYS_clock_gettime, id, now);

    if (err == 0 && id == CLOCK_MONOTONIC && shared != MAP_FAILED) {
        seen_s = atomic_load(&shared->forward_s);
        now->tv_sec += seen_s;
    }
    return (int)err;
}

/* Who is about to sleep has done all that was due by the clock that it has seen. */
int epoll_wait(int fd, struct epoll_event *events, int n, int timeout_ms)
{
    if (timeout_ms != 0 && getpid() == owner)
        atomic_store(&shared->slept_at_s, seen_s);
    if (timeout_ms < 0 || timeout_ms > LOOK_EVERY_MS)
        timeout_ms = LOOK_EVERY_MS;
    return (int)syscall(SYS_epoll_pwait, fd, events, n, timeout_ms, NULL, 8);
}
"""


class ManualClock:
    """environment is for the daemon, of which there is one."""

    def __init__(self, directory):
        path = directory / "manual_clock.map"
        path.write_bytes(bytes(16))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 16)
        self.environment = preload.environment(directory, "manual_clock", _SOURCE) | {
            "MANUAL_CLOCK": str(path)}

    def forward(self, seconds):
        """Puts the clock forward; returns when the supervisor has done what was due by then."""
        (now,) = struct.unpack_from("q", self._shared)
        struct.pack_into("q", self._shared, 0, now + seconds)
        until(lambda: struct.unpack_from("q", self._shared, 8)[0] == now + seconds,
              "the supervisor to see what time it is")
