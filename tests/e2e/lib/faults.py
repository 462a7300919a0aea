# SPDX-License-Identifier: BSD-2-Clause
"""Calls of a running daemon that fail because a test says so: tests/faults/shim.c."""

import errno as errnos
import mmap
import os
import pathlib
import struct

from lib import daemon

SHIM = os.environ.get("MMPROXY_FAULTS_SHIM", str(
    pathlib.Path(daemon.BINARY).parent / "tests" / "faults" / "libfaults.so"))

_RULE = struct.Struct("=4I")  # behind is_armed: pid, error, skip, count
_SEEN, _FAILED, _NAME, _SIZE = 20, 24, 28, 64


class Faults:
    """One rule at a time; what a daemon is to be started with is in env."""

    def __init__(self, directory):
        path = pathlib.Path(directory) / "faults"
        path.write_bytes(bytes(_SIZE))
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        asan = daemon.environment(directory)["ASAN_OPTIONS"]
        # In the daemon alone: the programs that start it are left out by "env". The thread-local
        # memory of a preloaded library looks like a leak unless its whole stack is known.
        self.prefix = ["env", f"LD_PRELOAD={SHIM}", f"MMPROXY_FAULTS={path}",
                       f"ASAN_OPTIONS={asan}:verify_asan_link_order=0:fast_unwind_on_malloc=0",
                       "LSAN_OPTIONS=print_suppressions=0"]

    def arm(self, call, error=None, skip=0, count=1, pid=0):
        """
        After skip calls count of them fail (0: all) with error, a name; no error: they are
        counted. pid 0: in every process but the supervisor.
        """
        self.disarm()
        self._map[_NAME:_SIZE] = call.encode().ljust(_SIZE - _NAME, b"\0")
        self._map[_SEEN:_NAME] = bytes(_NAME - _SEEN)
        number = getattr(errnos, error) if error else 0
        self._map[4:4 + _RULE.size] = _RULE.pack(pid, number, skip, count)
        self._map[0:4] = struct.pack("=I", 1)

    def disarm(self):
        """returns: how many calls have failed."""
        self._map[0:4] = bytes(4)
        return self.failed

    @property
    def seen(self):
        return struct.unpack_from("=I", self._map, _SEEN)[0]

    @property
    def failed(self):
        return struct.unpack_from("=I", self._map, _FAILED)[0]
