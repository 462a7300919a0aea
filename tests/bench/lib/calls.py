# SPDX-License-Identifier: BSD-2-Clause
"""System calls of a gateway, counted by strace: a figure without noise."""

import contextlib
import signal

from lib import host


class Counter:
    """Attached to running processes, jailed ones included, until it is told to stop."""

    def __init__(self, pids, directory):
        self._table = directory / "calls"
        self._log = directory / "strace.log"
        argv = ["strace", "-f", "-c", "-U", "calls,name", "-o", self._table]
        for pid in pids:
            argv += ["-p", str(pid)]
        self._process = host.Process(argv, self._log)
        host.wait(lambda: self._is_attached(pids), "strace is attached")

    def _is_attached(self, pids):
        self._process.expect_running()
        return all(_tracer(pid) for pid in pids)

    def stop(self):
        """Returns {call: times}."""
        self._process.popen.send_signal(signal.SIGINT)
        self._process.popen.wait()
        found = {}
        for line in self._table.read_text(encoding="ascii").splitlines():
            fields = line.split()
            if len(fields) == 2 and fields[0].isdigit() and fields[1] != "total":
                found[fields[1]] = int(fields[0])
        if not found:
            raise host.Failure(f"strace has counted nothing: {self._process.said()[-300:]}")
        return found


def _tracer(pid):
    """Is something tracing that process?"""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii") as file:
        return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in file)
    return False
