# SPDX-License-Identifier: BSD-2-Clause
"""What a gateway's processes have when nobody is connected, and whether it has become more."""

import pathlib

from lib import daemon, proc
from lib.wait import until

# The allocator's rounding, and pages that are written for the first time; AddressSanitizer's
# allocator takes pages at random places, and finds leaks by itself.
GROWTH_ALLOWED = 64 << 10
GROWTH_ALLOWED_SANITIZED = 4 << 20
# For the daemon's environment. Of memory that is free between pieces in use the allocator gives
# nothing back, and a leak could hide in it for long: long headers get pages of their own.
COMPACT_HEAP = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=8192:"
                                  "glibc.malloc.trim_threshold=65536"}
CONNECTED = [word for state in ("established", "close-wait", "syn-sent", "syn-recv")
             for word in ("state", state)]


def without_quarantine(directory):
    """Builds with AddressSanitizer hold freed memory back, hundreds of MB of it, otherwise."""
    usual = daemon.environment(directory)["ASAN_OPTIONS"]
    return {"ASAN_OPTIONS": f"{usual}:quarantine_size_mb=0:thread_local_quarantine_size_kb=0"}


class Figures:
    """One process: the same role at another time has the same name."""

    def __init__(self, name, pid):
        self.name, self.pid = name, pid
        self.anonymous, self.pss = proc.memory(pid)
        # Pipes are kept for the next bulk session: a bounded number, which tests look at.
        names = proc.descriptors(pid)
        self.pipes = sum(each.startswith("pipe:") for each in names)
        self.descriptors = len(names) - self.pipes

    def __str__(self):
        return (f"{self.name:12} {self.anonymous / 1024:7.0f} KiB anonymous, "
                f"{self.pss / 1024:7.0f} KiB of the sum, {self.descriptors:3} descriptors, "
                f"{self.pipes} of pipes")


def wait_idle(namespace, deadline=None):
    """Nobody is connected to anything there."""
    until(lambda: not namespace.ss("-tn", *CONNECTED),
          lambda: "connections to end:\n" + "\n".join(namespace.ss("-tn", *CONNECTED)), deadline)


def take(supervisor, workers):
    return [Figures("supervisor", supervisor),
            *(Figures(f"worker {number}", pid) for number, pid in enumerate(workers, 1))]


def allowed_growth():
    is_sanitized = b"__asan_init" in pathlib.Path(daemon.BINARY).read_bytes()
    return GROWTH_ALLOWED_SANITIZED if is_sanitized else GROWTH_ALLOWED


def growth(before, after, allowed=None):
    """What has become more, one line each; allowed: bytes of memory a process."""
    allowed, grown = allowed or allowed_growth(), []
    for old, new in zip(before, after, strict=True):
        more = new.anonymous - old.anonymous
        if more > allowed:
            grown.append(f"{new.name}: {more / 1024:+.0f} KiB of anonymous memory")
        if new.descriptors > old.descriptors:
            grown.append(f"{new.name}: {new.descriptors - old.descriptors:+} descriptors")
    more = sum(each.pss for each in after) - sum(each.pss for each in before)
    if more > allowed * len(after):
        grown.append(f"all of them: {more / 1024:+.0f} KiB of memory (PSS)")
    return grown
