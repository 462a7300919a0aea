# SPDX-License-Identifier: BSD-2-Clause
"""The real binary: started, listened to, stopped and searched for sanitizer reports."""

import fcntl
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import termios
import threading

from lib import proc
from lib.wait import DEADLINE, until

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = os.environ.get("MMPROXY_BIN", str(ROOT / "build" / "release" / "mmproxy"))

EXPORTER = "mmproxy-metrics"  # what that process calls itself

# A worker that nobody killed must not die; the supervisor says so in words like these.
WORKER_DIED = re.compile(r"worker .*(died|can't be started)")

UPGRADED = r"\[\+\] upgraded: process ([0-9]+) serves, process [0-9]+ drains"


def environment(directory):
    """Nothing of ours but where sanitizers leave their reports: directory is for any user."""
    reports = f"log_path={directory}/sanitizer"
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "ASAN_OPTIONS": f"{reports}:detect_leaks=1:detect_stack_use_after_return=1:exitcode=99",
        "UBSAN_OPTIONS": f"{reports}:print_stacktrace=1:exitcode=99",
    }


def sanitizer_reports(directory):
    """But for what LeakSanitizer says of a thread that was killed while it looked."""
    killed = re.compile(r"(==[0-9]+==Unable to get registers from thread [0-9]+\.\n)*")
    reports = [path.read_text() for path in sorted(pathlib.Path(directory).glob("sanitizer*"))]
    return [text for text in reports if not killed.fullmatch(text)]


def run(arguments, directory, namespace=None, prefix=()):
    """Runs the binary to its end: an object with returncode, stdout and stderr."""
    argv = [*prefix, BINARY, *map(str, arguments)]
    done = subprocess.run(namespace.argv(*argv) if namespace else argv, capture_output=True,
                          text=True, env=environment(directory), timeout=DEADLINE, check=False)
    assert not sanitizer_reports(directory), sanitizer_reports(directory)
    return done


class Daemon:
    """
    A running mmproxy. Its stderr is kept line by line; prefix is what to start it through
    (prlimit, setpriv, ...), which must exec it.
    """

    def __init__(self, namespace, arguments, directory, prefix=(), env=None):
        self.namespace = namespace
        self.directory = directory
        self.lines = []
        self.may_lose_workers = False
        self._changed = threading.Condition()
        self._may_read = threading.Event()
        self._may_read.set()
        self._is_deaf = False
        self._left_out = ()
        env = dict(env or {})
        # Tests that are the service manager themselves bring a socket of their own.
        self._manager = None if "NOTIFY_SOCKET" in env else self._be_manager(env)
        self._process = subprocess.Popen(
            namespace.argv(*prefix, BINARY, *map(str, arguments)),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=environment(directory) | env)
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _be_manager(self, env):
        env["NOTIFY_SOCKET"] = f"{self.directory}/manager-{id(self)}"
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(env["NOTIFY_SOCKET"])
        os.chmod(env["NOTIFY_SOCKET"], 0o777)  # for whomever the prefix makes it run as
        manager.settimeout(DEADLINE)
        return manager

    def _read(self):
        with self._process.stderr as stream:
            begun = b""
            while not self._is_deaf:
                select.select([stream], [], [])
                self._may_read.wait()
                with self._changed:
                    data = b"" if self._is_deaf else os.read(stream.fileno(), 65536)
                    if not data:
                        return
                    *lines, begun = (begun + data).split(b"\n")
                    for raw in lines:
                        line = raw.decode(errors="backslashreplace")
                        if not line.startswith(self._left_out):
                            self.lines.append(line)
                    self._changed.notify_all()

    def _has_read_all(self):
        """Of what is there now: processes that are still running may write more."""
        with self._changed:
            if not self._reader.is_alive() or not self._may_read.is_set():
                return True
            try:
                waiting = fcntl.ioctl(self._process.stderr, termios.FIONREAD, bytes(4))
            except ValueError:
                return True  # closed: there was nothing more
            return waiting == bytes(4)

    # --- the log

    def pause_reading(self):
        """From the next line on nobody reads its stderr, until resume_reading()."""
        self._may_read.clear()

    def resume_reading(self):
        self._may_read.set()
        self.read_all()

    def end_reading(self):
        """With the next line its stderr is a pipe that nobody will ever read again."""
        self._is_deaf = True

    def leave_out(self, *beginnings):
        """Lines that begin so are not kept from now on."""
        self._left_out = beginnings

    def read_all(self):
        """Returns when all lines are there that were written before."""
        until(self._has_read_all, "what it wrote to be read")

    def find(self, pattern):
        """Lines that match as a whole."""
        with self._changed:
            return [line for line in self.lines if re.fullmatch(pattern, line)]

    def wait_line(self, pattern, count=1, deadline=None):
        """Waits until count lines match as a whole; returns the last one's match object."""
        matches, seen = [], 0

        def has_enough():
            nonlocal seen
            new, seen = self.lines[seen:], len(self.lines)
            matches.extend(m for m in (re.fullmatch(pattern, line) for line in new) if m)
            return len(matches) >= count or not self._reader.is_alive()

        with self._changed:
            self._changed.wait_for(has_enough, deadline or DEADLINE)
            has_enough()
        assert len(matches) >= count, f"no line like {pattern}\namong:\n{self.text()}"
        return matches[-1]

    def text(self):
        return "\n".join(self.lines)

    def wait_listening(self, *addresses, name="ssh"):
        suffix = f" ({name})" if name else ""
        for address in addresses:
            self.wait_line(re.escape(f"[+] Listening on {address}{suffix}"))
        self.settle()

    def settle(self):
        """
        Waits until it is ready and has tried its targets, which it does once after a start; the
        connections of these checks are not for the test, which sees none of them.
        """
        if not self._manager:
            return
        with self._manager:
            while b"READY=1" not in self._manager.recv(4096).splitlines():
                pass
        self._manager = None
        until(lambda: self.workers() == self.children(),
              lambda: f"the checks to end, {self.children()} run\n{self.text()}")
        self.read_all()
        for target in self.namespace.targets:
            target.forget()

    # --- the processes

    def is_running(self):
        return self._process.poll() is None

    def workers(self):
        """They leave SIGTERM to the supervisor; the short-lived process that checks does not."""
        return [pid for pid in self.children() if proc.ignores(pid, signal.SIGTERM)]

    def children(self):
        """All but exporters."""
        return [pid for pid in proc.children(self.pid) if proc.name(pid) != EXPORTER]

    def exporters(self):
        """One, or two while one takes the other's place."""
        return [pid for pid in proc.children(self.pid) if proc.name(pid) == EXPORTER]

    def wait_workers(self, count):
        return until(lambda: len(w := self.workers()) == count and w,
                     lambda: f"{count} workers, there are {self.workers()}\n{self.text()}")

    def signal(self, number):
        self._process.send_signal(number)

    def wait_exit(self, deadline=None):
        status = self._process.wait(deadline or DEADLINE)
        self.read_all()
        return status

    def stop(self):
        """SIGTERM, and a second one for sessions that a test left behind; must exit 0."""
        workers = self.workers()
        self.signal(signal.SIGTERM)
        try:
            status = self.wait_exit(0.1)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGTERM)
            status = self.wait_exit()
        assert status == 0, f"exit status {status}\n{self.text()}"
        until(lambda: not any(map(proc.is_alive, workers)), f"workers {workers} outlive the stop")

    def close(self):
        """Ends it if it runs, and judges what it left: to be called for every daemon."""
        try:
            if self.is_running():
                self.stop()
            self._stop_successors()
        finally:
            self._kill()
        reports = sanitizer_reports(self.directory)
        assert not reports, "\n".join(reports)
        assert "Sanitizer" not in self.text(), self.text()
        if not self.may_lose_workers:
            assert not WORKER_DIED.search(self.text()), self.text()

    def _stop_successors(self):
        """What it became by upgrades: they are nobody's children that a test would wait for."""
        for line in self.find(UPGRADED):
            pid = int(re.fullmatch(UPGRADED, line)[1])
            if proc.name(pid) == "mmproxy":
                proc.cut_off(pid, self.text)

    def _kill(self):
        self.resume_reading()
        if self._manager:
            self._manager.close()
        for pid in [*proc.children(self.pid), self.pid] if self.is_running() else []:
            proc.kill(pid)
        self._process.wait()
