# SPDX-License-Identifier: BSD-2-Clause
"""
Supervisors and workers that are killed in every phase of reloads and upgrades, and started again
as a service manager does: held sessions go on, and in the end nothing is left.
"""

import collections
import os
import random
import re
import select
import shutil
import signal
import threading
import time

from lib import conf, daemon, manager, proc, routing
from lib.chatter import Chatter, next_client
from lib.conn import connect
from lib.header import v1
from lib.target import EchoTarget
from lib.topology import ORIGIN4, Topology
from lib.wait import until

HELD = 12
WORKERS = 2
TOLD_EVERY = 50
A_SECOND = 1  # a start that takes longer is counted; a busy machine may be slower
LONGEST_PAUSE = 0.06  # a reload or an upgrade is over by then
SETTINGS = {"workers": WORKERS, "routing": "managed", "drain_timeout": 600,
            "log": {"level": "notice"}}


def _is_readable(conn):
    return bool(select.select([conn.sock], [], [], 0)[0])


def _has_hung_up(fd):
    poll = select.poll()
    poll.register(fd, 0)
    return bool(poll.poll(0))


class Gateway:
    """All processes of one mmproxy, with this class as their service manager."""

    def __init__(self, net, directory, has_store):
        self.net, self.directory = net, directory
        self.has_store = has_store
        self.runtime = directory / "run"
        self.manager = manager.Manager(directory)
        self.store = {}
        self.main = None
        self.daemons = []
        self._numbers = iter(range(1, 1_000_000))
        self.change()
        # A manager always reads: what its queue has no room for is lost.
        self._lock = threading.RLock()
        self._is_closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def change(self):
        conf.write(self.directory, [conf.listener(keepalive=next(self._numbers),
                                                  listen="0.0.0.0:2222")], **SETTINGS)

    def start(self):
        env = self.manager.environment | {"RUNTIME_DIRECTORY": str(self.runtime)}
        prefix = ()
        with self._lock:
            if self.has_store:
                env["FDSTORE"] = "64"
                prefix = manager.handing_over_store(list(self.store.items()))
            started = daemon.Daemon(self.net.origin, ["-c", self.directory / "mmproxy.conf"],
                                    self.directory, prefix=prefix, env=env)
            self.main = started.pid
        started.may_lose_workers = True
        self.daemons.append(started)

    def _read(self):
        while not self._is_closed:
            if select.select([self.manager], [], [], 0.1)[0]:
                self.hear()

    def hear(self):
        """What the processes have told their manager until now."""
        with self._lock:
            for message in self.manager.take_all():
                self._take(message)
            self._drop(_has_hung_up)  # as systemd does

    def _take(self, message):
        """As systemd with NotifyAccess=main, which hears no other process."""
        if message.pid != self.main:
            for fd in message.fds:
                os.close(fd)
            return
        if "MAINPID" in message.fields:
            self.main = int(message.fields["MAINPID"])
        name = message.fields.get("FDNAME")
        if "FDSTOREREMOVE" in message.fields:
            self._drop(lambda fd: self.store[fd] == name)
        self.store |= {fd: name for fd in message.fds}

    def _drop(self, is_to_go):
        for fd in [fd for fd in self.store if is_to_go(fd)]:
            os.close(fd)
            del self.store[fd]

    def processes(self):
        """All living ones: pid → may it be a supervisor?"""
        found = {}
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.path.samefile(f"/proc/{entry}/exe", daemon.BINARY):
                    found[int(entry)] = not proc.ignores(int(entry), signal.SIGTERM)
            except OSError:
                continue
        return {pid: kind for pid, kind in found.items() if proc.is_alive(pid)}

    def workers(self):
        return [pid for pid, is_supervisor in self.processes().items() if not is_supervisor]

    def close(self):
        for pid in self.processes():
            proc.kill(pid)
        for each in self.daemons:
            each.close()
        self._is_closed = True
        self._reader.join()
        for fd in self.store:
            os.close(fd)
        self.manager.close()


class Run:
    def __init__(self, count, directory, has_store):
        self.count = count
        self.net = Topology()
        routing.create_mangle(self.net.origin)
        self.before = routing.snapshot(self.net.origin)
        self.service = EchoTarget(self.net.origin, "127.0.0.1", conf.SERVICE_PORT)
        self.gateway = Gateway(self.net, directory, has_store)
        self.generator = random.Random(count)
        self.failures = []
        self.kinds = collections.Counter()
        self.waits = []  # (seconds until the port was served, number, what had happened)
        self.held = []  # (connection, the worker that has it)
        self.killed = set()

    # --- held sessions

    def _session(self):
        """
        A session that is served, or None where it was refused or cut off. It may wait in the
        queue of a port on which nobody accepts: meanwhile a start that failed is made again.
        """
        try:
            conn = connect(self.net.lb, ORIGIN4, 2222)
        except OSError:
            return None
        try:
            conn.send(v1(*next_client()) + b"?")
            until(lambda: self._start_again() or _is_readable(conn), "an answer")
            if conn.recv(1) == b"?":
                return conn
        except (OSError, AssertionError):
            pass
        conn.close()
        return None

    def _start_again(self):
        """As a manager does, where the main process has ended by itself: that is a failure."""
        if proc.is_alive(self.gateway.main):
            return
        self.gateway.hear()  # it may have named another in its place
        if not proc.is_alive(self.gateway.main):
            self.failures.append("a start failed\n" + self._last_lines())
            self.gateway.start()

    def _last_lines(self):
        return "\n".join(self.gateway.daemons[-1].lines[-20:])

    def _hold_more(self):
        owners = None
        while len(self.held) < HELD and (conn := self._session()):
            owners = {int(m[1]): int(m[2]) for line in self.net.origin.ss(
                "-tnp", "state", "established", "sport", "= :2222")
                if (m := re.search(r":([0-9]+) +users:.*?pid=([0-9]+)", line))}
            if conn.port in owners:
                self.held.append((conn, owners[conn.port]))
            else:
                conn.close()

    def _look_after_held(self, number, what):
        for pair in list(self.held):
            conn, worker = pair
            try:
                conn.send(b"x")
                is_well = conn.recv(1) == b"x"
            except (OSError, AssertionError):
                is_well = False
            if is_well:
                continue
            if worker not in self.killed:
                self.failures.append(f"{number}: a session of worker {worker} was cut off by {what}")
            conn.close()
            self.held.remove(pair)

    # --- one death

    def _phase(self):
        """Something that is under way, or nothing."""
        kind = self.generator.choice(("at rest", "reload", "reload", "upgrade", "upgrade"))
        try:
            if kind == "reload":
                self.gateway.change()
                os.kill(self.gateway.main, signal.SIGHUP)
            elif kind == "upgrade":
                os.kill(self.gateway.main, signal.SIGUSR2)
        except ProcessLookupError:
            pass
        time.sleep(self.generator.random() ** 2 * LONGEST_PAUSE)
        return kind

    def _victims(self):
        """One of all, or all workers and the supervisor of one moment."""
        processes = self.gateway.processes()
        supervisors = [pid for pid, kind in processes.items() if kind]
        workers = [pid for pid, kind in processes.items() if not kind]
        kind = self.generator.choice(("main", "main", "supervisor", "worker", "worker", "several"))
        if kind == "main":
            return kind, [self.gateway.main]
        if kind == "several":
            return kind, [self.gateway.main, *self.generator.sample(workers, len(workers) // 2)]
        chosen = supervisors if kind == "supervisor" else workers
        return kind, [self.generator.choice(chosen)] if chosen else []

    def _is_served(self):
        conn = self._session()
        if conn:
            conn.close()
        return bool(conn)

    def _die(self, number):
        phase = self._phase()
        kind, victims = self._victims()
        what = f"{phase}, {kind}"
        self.kinds[what] += 1
        self.killed.update(victims)
        for pid in victims:
            proc.kill(pid)
        began = time.monotonic()
        self.gateway.hear()
        until(lambda: not any(map(proc.is_alive, victims)), "them to be gone")
        self.gateway.hear()
        if not proc.is_alive(self.gateway.main):
            self.gateway.start()
            began = time.monotonic()
        try:
            until(lambda: self._start_again() or self._is_served(), "somebody to serve")
        except AssertionError as error:
            self.failures.append(f"{number}: {error} after {what}\n{self._last_lines()}")
        self.waits.append((time.monotonic() - began, number, what))
        self._look_after_held(number, what)
        self._hold_more()
        if self.generator.random() < 0.3 and self.held:  # else old generations would pile up
            for conn, _ in self.held[:6]:
                conn.close()
            del self.held[:6]

    # --- the whole

    def run(self):
        self.gateway.start()
        until(self._is_served, "the first session")
        chatter = Chatter(self.net.lb, ORIGIN4, [2222], count=4, may_break=True, pause=0.02)
        for number in range(1, self.count + 1):
            self._die(number)
            if number % TOLD_EVERY == 0:
                print(f"{number} of {self.count}, {chatter.sessions} sessions seen through, worst "
                      f"{max(self.waits)[0]:.2f} s, {len(self.failures)} failures", flush=True)
        self.failures += chatter.stop()
        self._stop()
        return self.failures

    def describe_waits(self):
        """No verdict: how long a start takes depends on what else the machine does."""
        seconds = sorted(wait for wait, _, _ in self.waits)
        longer = sum(wait > A_SECOND for wait in seconds)
        worst, number, what = max(self.waits)
        return (f"served again after {seconds[len(seconds) // 2]:.2f} s as a rule, after {worst:.2f} "
                f"s at the worst ({number}: {what}); {longer} of {len(seconds)} took more than a "
                f"second; load average {os.getloadavg()[0]:.0f}")

    def _stop(self):
        """SIGTERM to the main process alone; without a store nobody knows of orphans."""
        if not self.gateway.has_store:
            for conn, _ in self.held:
                conn.close()
        try:
            until(self._is_stopped, "all processes to end")
            until(lambda: routing.snapshot(self.net.origin) == self.before, "a clean host")
            assert not self.net.origin.is_listening(2222), "the port is open"
            left = list(self.gateway.runtime.iterdir())
            assert not left, f"in the runtime directory: {left}"
        except AssertionError as error:
            self.failures.append("\n".join([
                f"left behind: {error}; processes {self.gateway.processes()}",
                *self.net.origin.ss("-tnpo"), *routing.own(self.net.origin)]))

    def _is_stopped(self):
        """Asks again: the first time it drains, and an upgrade may be under way."""
        self.gateway.hear()
        if proc.is_alive(self.gateway.main):
            proc.send(self.gateway.main, signal.SIGTERM)
        time.sleep(0.5)
        return not self.gateway.processes()

    def close(self):
        for conn, _ in self.held:
            conn.close()
        self.gateway.close()
        self.service.close()
        self.net.close()


def run(count, directory):
    """Half of the deaths without a store for descriptors, half with one. returns: failures."""
    failures = []
    # A copy of our own: its processes are known by their file.
    daemon.BINARY = shutil.copy(daemon.BINARY, directory / "mmproxy")
    for has_store in (False, True):
        room = directory / ("store" if has_store else "plain")
        room.mkdir()
        room.chmod(0o1777)
        part = Run((count + 1) // 2, room, has_store)
        try:
            failures += [f"{room.name}: {failure}" for failure in part.run()]
            print(f"{'with' if has_store else 'without'} a store:",
                  ", ".join(f"{n} {what}" for what, n in sorted(part.kinds.items())))
            print(part.describe_waits(), flush=True)
        finally:
            part.close()
    return failures
