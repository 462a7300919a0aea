# SPDX-License-Identifier: BSD-2-Clause
"""
A daemon whose monotonic clock is in the test's hands: it can be stopped, and put forward by hours.

A library stands between the daemon and its clock, and between its event loop and the kernel's idea
of a second. Test and library share a file: when the clock was stopped, how far it has been put
forward, and how far it was when the daemon last went to sleep.
"""

import mmap
import struct
import time

from lib import preload
from lib.wait import until

_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_EVERY_MS = 1, NS = 1000000000, STOPPED_FACTOR = 1000000 };

static struct {
    _Atomic int64_t stopped_ns; /* 0 = it runs */
    _Atomic int64_t forward_ns;
    _Atomic int64_t slept_at_ns;
} *shared;
static pid_t owner;
static int64_t seen_ns;

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

    if (err == 0 && id == CLOCK_MONOTONIC && shared && shared != MAP_FAILED) {
        int64_t ns = (int64_t)now->tv_sec * NS + now->tv_nsec;
        int64_t stopped_ns = atomic_load(&shared->stopped_ns);
        if (stopped_ns != 0) /* a microsecond a second: libev waits until a timer is overdue */
            ns = stopped_ns + (ns - stopped_ns) / STOPPED_FACTOR;
        seen_ns = atomic_load(&shared->forward_ns);
        ns += seen_ns;
        now->tv_sec = ns / NS;
        now->tv_nsec = ns % NS;
    }
    return (int)err;
}

/* Who is about to sleep has done all that was due by the clock that it has seen. */
int epoll_wait(int fd, struct epoll_event *events, int n, int timeout_ms)
{
    if (timeout_ms != 0 && getpid() == owner)
        atomic_store(&shared->slept_at_ns, seen_ns);
    if (timeout_ms < 0 || timeout_ms > LOOK_EVERY_MS)
        timeout_ms = LOOK_EVERY_MS;
    return (int)syscall(SYS_epoll_pwait, fd, events, n, timeout_ms, NULL, 8);
}
"""
_STOPPED, _FORWARD, _SLEPT_AT, _SIZE = 0, 8, 16, 24
_NS = 1_000_000_000
_MARGIN_NS = _NS // 10  # the daemon's clock is not to jump back when it is stopped


class ManualClock:
    """environment is for the daemon, of which there is one."""

    def __init__(self, directory):
        path = directory / "manual_clock.map"
        path.write_bytes(bytes(_SIZE))
        path.chmod(0o666)
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _SIZE)
        self.environment = preload.environment(directory, "manual_clock", _SOURCE) | {
            "MANUAL_CLOCK": str(path)}

    def stop(self):
        """From now on only forward() moves it."""
        self._write(_STOPPED, time.monotonic_ns() + _MARGIN_NS)

    def run(self, ahead=0):
        """It runs again, by so many seconds further: for what makes the supervisor end."""
        self._write(_FORWARD, self._read(_FORWARD) + int(ahead * _NS))
        self._write(_STOPPED, 0)

    def forward(self, seconds):
        """Puts it forward; returns when the supervisor has done what was due by then."""
        now = self._read(_FORWARD) + int(seconds * _NS)
        self._write(_FORWARD, now)
        until(lambda: self._read(_SLEPT_AT) == now, "the supervisor to see what time it is")

    def settle(self):
        """Waits until the supervisor has ended what it is doing, and has set its timers."""
        self.forward(0.001)

    def _read(self, where):
        return struct.unpack_from("q", self._shared, where)[0]

    def _write(self, where, value):
        struct.pack_into("q", self._shared, where, value)
