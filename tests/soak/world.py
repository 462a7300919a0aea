# SPDX-License-Identifier: BSD-2-Clause
"""Where the soak takes place: network, services, who lost a session to whom, and the account."""

import collections
import contextlib
import os
import signal
import socket
import threading
import time

from lib import conf, footprint, proc
from lib.chatter import WrongBytes
from lib.conn import Conn
from lib.reloading import Reloader
from lib.target import EchoTarget
from lib.topology import LOOPBACK_OF, Topology
from lib.upgrading import Upgradable
from lib.daemon import Daemon
from lib.wait import until

import datagrams
from sessions import TOKEN_SIZE, Extra, WrongSource

WORKERS = 2
TOLD_AT_ONCE = 10
ASKED_BACK = "TcpExtTCPChallengeACK"
NEVER_EXCUSED = (WrongBytes, WrongSource)


class Ledger:
    """How many sessions there were, and what was wrong with them."""

    def __init__(self):
        self.done = collections.Counter()
        self.cut = collections.Counter()
        self.failures = []
        self.late = 0  # resets of which somebody has learnt by keepalive only
        self.lost = 0  # datagrams, with a worker that was killed
        self._lock = threading.Lock()

    def pass_(self, session):
        with self._lock:
            self.done[type(session).__name__] += 1

    def excuse(self, session):
        with self._lock:
            self.cut[type(session).__name__] += 1

    def count_late(self):
        with self._lock:
            self.late += 1

    def count_lost(self):
        with self._lock:
            self.lost += 1

    def fail(self, session, error):
        self.note(f"{type(session).__name__} {session.number}, IPv{session.version}, "
                  f"{time.monotonic() - session.began:.1f} s old, {session.endpoints}: {error!r}")

    def note(self, text):
        with self._lock:
            self.failures.append(f"{time.strftime('%H:%M:%S')} {text}")
            if len(self.failures) <= TOLD_AT_ONCE:
                print(f"FAILURE {self.failures[-1]}", flush=True)

    def total(self):
        return sum(self.done.values()) + sum(self.cut.values())


class Service(EchoTarget):
    """Knows by the first bytes whose connection it has accepted; anybody else's is an echo."""

    def __init__(self, world, *args):
        self._world = world
        super().__init__(*args)

    def _echo(self, sock):
        self.sources.clear()
        with contextlib.suppress(OSError, AssertionError):
            conn = Conn(sock, sock.getpeername())
            session = self._world.running.get(conn.recv(TOKEN_SIZE))
            if session:
                session.serve(conn)
        super()._echo(sock)


# Lines about single sessions would be a million.
LEFT_OUT = tuple(f"[{mark}] {name}: " for mark in "+-" for name in ("ssh", "extra", *(f"udp-{mode}" for mode in datagrams.PORTS)))


class Gateway:
    """What serves at the moment: one process after another, by SIGUSR2."""

    def __init__(self, net, directory, listeners):
        self.namespace, self._directory = net.origin, directory
        self.upgradable = Upgradable(
            net, self._launch, directory, listeners,
            env=footprint.COMPACT_HEAP | {"RUNTIME_DIRECTORY": f"{directory}/runtime"})
        self.killed = set()

    def _launch(self, namespace, *arguments, **options):
        self.daemon = Daemon(namespace, arguments, self._directory, **options)
        self.daemon.may_lose_workers = True
        self.daemon.leave_out(*LEFT_OUT)
        return self.daemon

    @property
    def pid(self):
        return self.upgradable.pid

    def signal(self, number):
        self.upgradable.signal(number)

    def find(self, pattern):
        return self.daemon.find(pattern)

    def wait_line(self, *args):
        return self.daemon.wait_line(*args)

    def text(self):
        return "\n".join(self.daemon.lines[-40:])

    def workers(self):
        return [pid for pid in proc.children(self.pid) if proc.ignores(pid, signal.SIGTERM)]

    def wait_at_rest(self, deadline):
        """One process, one generation."""
        for pid in self.upgradable.pids[:-1]:
            until(lambda: not proc.is_alive(pid), f"process {pid} to end\n{self.text()}", deadline)
        until(lambda: len(proc.children(self.pid)) == WORKERS,
              lambda: f"one generation, there are {proc.children(self.pid)}\n{self.text()}",
              deadline)


class World:
    """over: all sessions are to come to their end."""

    def __init__(self, directory, listeners):
        self.net = Topology()
        self.net.return_path_loopback()
        self.net.lb.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
        self.ledger = Ledger()
        self.over = threading.Event()
        self.running = {}  # by token
        self.extra = 0     # even: the extra listener is not there, or about to go
        self.killed_at = 0  # when the latest worker was
        self._victims = {}
        self.services = [Service(self, self.net.origin, LOOPBACK_OF[version], conf.SERVICE_PORT)
                         for version in (4, 6)]
        self.services += [datagrams.Service(self.net.origin, version) for version in (4, 6)]
        self.gateway = Gateway(self.net, directory, listeners)
        self.reloader = Reloader(self.gateway, directory)

    def run_session(self, kind):
        session = kind(self)
        token, extra = session.token(), self.extra
        self.running[token] = session
        try:
            session.run()
            self.ledger.pass_(session)
        except NEVER_EXCUSED as error:
            self.ledger.fail(session, error)
        except Exception as error:
            is_closed = kind is Extra and not session.accepted.is_set() and self.extra != extra
            if is_closed or self._was_killed(session):
                self.ledger.excuse(session)
            else:
                self.ledger.fail(session, error)
        finally:
            del self.running[token]

    def _was_killed(self, session):
        return any(self._victims.get(endpoint, 0) > session.began
                   for endpoint in session.endpoints)

    def kill_worker(self, pid):
        """
        With SIGKILL. It is stopped before, so that its sessions are known; only those may end.
        """
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            os.kill(pid, signal.SIGSTOP)
            until(lambda: proc.status(pid)["State"][0] in "TZX", f"process {pid} to stop")
            now, victims = time.monotonic(), _endpoints(pid)
            self._victims = {endpoint: when for endpoint, when in self._victims.items()
                             if now - when < 600} | dict.fromkeys(victims, now)
            self.gateway.killed.add(pid)
            os.kill(pid, signal.SIGKILL)
            self.killed_at = time.monotonic()
            return len(victims)

    def figures_when_idle(self):
        """Waits until nobody is connected, and returns the figures of all processes."""
        footprint.wait_idle(self.net.origin, 120)
        until(lambda: not self._udp_sessions(), "UDP sessions to end", 60)
        self.gateway.wait_at_rest(60)
        return footprint.take(self.gateway.pid, self.gateway.workers())

    def _udp_sessions(self):
        """Sockets towards the service, which have a client's address."""
        return [line for line in self.net.origin.ss("-uan")
                if line.split()[3].startswith(("198.51.", "[2001:db8:"))]

    def resets_asked_back(self):
        """How many resets have reached a kernel that did not act on them at once."""
        return sum(int(line.split()[1]) for namespace in (self.net.lb, self.net.origin)
                   for line in namespace.run("nstat", "-asz", ASKED_BACK).splitlines()
                   if line.startswith(ASKED_BACK))

    def close(self):
        self.gateway.upgradable.close()
        for service in self.services:
            service.close()
        self.net.close()


def _endpoints(pid):
    """Of both connections of every session that a process has: their far ends, as sessions do."""
    found = []
    for copy in proc.sockets(pid):
        with copy, contextlib.suppress(OSError):
            if copy.family in (socket.AF_INET, socket.AF_INET6):
                peer = copy.getpeername()[:2]
                is_target = peer[1] == conf.SERVICE_PORT
                found.append(copy.getsockname()[:2] if is_target else peer)
    return found
