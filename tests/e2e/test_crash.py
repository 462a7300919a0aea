# SPDX-License-Identifier: BSD-2-Clause
"""Crashes: a worker's, the supervisor's, over and over."""

import random
import re
import signal
import time

import pytest

from lib import conf, header, proc, routing
from lib.chatter import Chatter, next_client
from lib.conn import connect
from lib.reloading import RELOADED, Reloader, client_sessions
from lib.target import EchoTarget
from lib.topology import LB4, LB6, ORIGIN4
from lib.wait import until

KILLS = 50
WORKERS = 2
BACK_OFF_S, BACK_OFF_MAX_S, ALONE_S = 0.25, 30, 0.5
DIED = r"\[!\] worker [0-9]+ of generation [0-9]+ died: killed by signal 9 \(Killed\)"


def head():
    return header.v1(*next_client())


@pytest.fixture
def session(dial):
    yield from client_sessions(dial)


def _is_served(net, data=b"are you there?"):
    """One whole session through the gateway, with an echo service behind it."""
    try:
        conn = connect(net.lb, ORIGIN4, 2222)
    except OSError:
        return False
    try:
        conn.send(head() + data)
        return conn.recv(len(data)) == data
    except (OSError, AssertionError):
        return False
    finally:
        conn.close()


class Victim:
    """A gateway that is killed part by part, and started again as a service manager does."""

    def __init__(self, net, launch, path):
        self._net, self._launch, self._path = net, launch, path
        self.orphans = set()
        self.start()

    def start(self):
        self.gateway = self._launch(self._net.origin, "-c", self._path)
        self.gateway.may_lose_workers = True

    def _revive(self):
        """Where the orphans have kept the ports for too long it is started again."""
        if not self.gateway.is_running():
            self.start()

    def serves(self):
        self._revive()
        return _is_served(self._net)

    def kill_worker(self, generator):
        proc.kill(generator.choice(self.gateway.workers()))

    def kill_supervisor(self):
        proc.stop(self.gateway.pid)  # it makes no more of them
        self.orphans |= set(proc.children(self.gateway.pid))
        proc.kill(self.gateway.pid)
        self.gateway.wait_exit()
        self.start()


class ManagedVictim(Victim):
    """One that sets up the return path itself; ip, nft and /proc/sys are the witnesses."""

    def __init__(self, net, launch, directory, path):
        self.runtime = directory / "run"
        self._origin = net.origin
        self.before = routing.snapshot(net.origin)
        super().__init__(net, lambda *arguments: launch(
            *arguments, env={"RUNTIME_DIRECTORY": str(self.runtime)}), path)

    def has_workers(self):
        self._revive()
        return len(self.gateway.workers()) == WORKERS

    def expect_return_path(self, running):
        """The very rules and routes of the first start: nothing twice, nothing missing."""
        assert routing.snapshot(self._origin) == running

    def expect_nothing_left(self):
        assert routing.snapshot(self._origin) == self.before
        assert not list(self.runtime.iterdir())


_SETTINGS = {"workers": WORKERS, "log": {"level": "notice"}, "routing": "managed"}


@pytest.fixture
def unrouted_echo(plain_net):
    """An echo service that clients' addresses do not get back from by themselves."""
    routing.create_mangle(plain_net.origin)
    service = EchoTarget(plain_net.origin, "127.0.0.1", conf.SERVICE_PORT)
    yield service
    service.close()


@pytest.mark.release
@pytest.mark.parametrize("method", ("loopback", "fwmark", "connmark"))
@pytest.mark.usefixtures("unrouted_echo")
def test_50_kills_at_random_times_under_load(plain_net, launch, directory, method):
    """
    Workers and supervisors; service comes back, the return path is what it was, nothing else is
    hurt, and after the stop nothing is left.
    """
    net, generator = plain_net, random.Random(50)
    path = conf.write(directory, [conf.listener(return_path=method)], **_SETTINGS)
    victim = ManagedVictim(net, launch, directory, path)
    until(lambda: _is_served(net), "the first session")
    running = routing.snapshot(net.origin)
    assert running != victim.before
    chatter = Chatter(net.lb, ORIGIN4, [2222], count=8, may_break=True)
    for number in range(KILLS):
        _wait_sessions(chatter, generator.randrange(1, 30))
        if number % 2:
            victim.kill_supervisor()
        else:
            until(victim.gateway.workers, "a worker to kill")
            victim.kill_worker(generator)
        until(victim.serves, "service")
        victim.expect_return_path(running)
    assert not chatter.stop()
    until(lambda: not any(map(proc.is_alive, victim.orphans)), "the orphans to end")
    until(victim.has_workers, lambda: f"workers\n{victim.gateway.text()}")
    victim.gateway.stop()
    assert not net.origin.is_listening(2222)
    assert not _processes_in(net.origin)
    victim.expect_nothing_left()


@pytest.mark.parametrize("method", ("fwmark", "connmark"))
def test_killed_while_it_sets_the_return_path_up(plain_net, launch, directory, method):
    """At any of its steps, each time with another configuration: the next start knows its own."""
    net, generator = plain_net, random.Random(11)
    routing.create_mangle(net.origin)
    victim = None
    for number in range(KILLS):
        path = conf.write(directory, [conf.listener(
            return_path=method, mark=number % 5 + 1, table=1000 + number % 3)], **_SETTINGS)
        victim = victim or ManagedVictim(net, launch, directory, path)
        _spin(generator.randrange(120000))
        victim.kill_supervisor()
    until(lambda: not any(map(proc.is_alive, victim.orphans)), "the orphans to end")
    until(victim.has_workers, lambda: f"workers\n{victim.gateway.text()}")
    victim.gateway.stop()
    victim.expect_nothing_left()


def _wait_sessions(chatter, count):
    """A random moment: until so many more sessions have been served, or cut off."""
    wanted = chatter.sessions + chatter.broken + count
    until(lambda: chatter.sessions + chatter.broken >= wanted,
          lambda: f"{count} sessions: {chatter.failures}")


def _processes_in(namespace):
    return [line for line in namespace.ss("-ltnp") if "mmproxy" in line]


@pytest.mark.parametrize("workers", (1, 8))
def test_all_workers_killed_at_once_are_back_at_once(net, serve, echo, clock, workers):
    """Eight deaths at once are one, not eight in a row: no timer is waited for, it would not end."""
    echo()
    gateway = serve(settings={"workers": workers}, options={"env": clock.environment})
    gateway.may_lose_workers = True
    clock.stop()
    for pid in gateway.workers():
        proc.kill(pid)
    gateway.wait_line(DIED, workers)
    gateway.wait_workers(workers)
    assert _is_served(net)


def test_worker_that_dies_again_and_again_is_started_ever_less_often(serve, clock):
    """The others serve meanwhile."""
    gateway = serve(settings={"workers": 2}, options={"env": clock.environment})
    gateway.may_lose_workers = True
    steady = gateway.workers()[0]
    clock.stop()
    for count in range(1, 11):
        (victim,) = (pid for pid in gateway.workers() if pid != steady)
        proc.kill(victim)
        gateway.wait_line(DIED, count)
        clock.settle()
        if count > 1:
            # 0, then 0.25 s doubled each time, but never more than half a minute.
            wait_s = min(BACK_OFF_S * 2 ** (count - 2), BACK_OFF_MAX_S)
            clock.forward(0.9 * wait_s)
            until(lambda: gateway.workers() == gateway.children(), "no process to be starting")
            assert gateway.workers() == [steady]
            clock.forward(0.1 * wait_s)
        until(lambda: len(gateway.workers()) == 2, "another start")
    assert steady in gateway.workers()


def test_last_worker_is_hardly_waited_for(net, serve, echo, clock):
    """However often it died: nobody else serves."""
    echo()
    gateway = serve(options={"env": clock.environment})
    gateway.may_lose_workers = True
    clock.stop()
    for count in range(1, 7):
        proc.kill(gateway.workers()[0])
        gateway.wait_line(DIED, count)
        clock.settle()
        clock.forward(ALONE_S)
        gateway.wait_workers(1)
    assert _is_served(net)


def test_worker_of_a_draining_generation_killed(serve, directory, session, target):
    """Nobody replaces it, and the generation that serves is left alone."""
    gateway = serve()
    gateway.may_lose_workers = True
    (old,) = gateway.workers()
    service = target()
    session(service, head())
    reloader = Reloader(gateway, directory)
    reloader.write([conf.listener(keepalive=61)])
    reloader.hup(RELOADED)
    peer, conn = session(service, head())
    proc.kill(old)
    gateway.wait_line(re.escape(f"[!] worker {old} of generation 1 died: killed by signal 9 ")
                      + ".*")
    reloader.wait_settled()
    peer.trip(conn)
    gateway.wait_line(r"\[ \] generation 1 has drained")


def test_killed_worker_s_sessions_do_not_count_for_ever(serve, session, target):
    gateway = serve(max_sessions=2)
    gateway.may_lose_workers = True
    service = target()
    for _ in range(2):
        session(service, head())
    proc.kill(gateway.workers()[0])
    gateway.wait_line(DIED)
    gateway.wait_workers(1)
    for _ in range(2):
        peer, conn = session(service, head())
        peer.trip(conn)


def test_restart_at_once_after_the_supervisor_was_killed(net, launch, directory, echo):
    """The new one does not wait for anything, so the old workers may have the ports still."""
    echo()
    victim = Victim(net, launch, conf.write(directory, [conf.listener()], workers=8))
    until(victim.serves, "the first session")
    for _ in range(5):
        victim.kill_supervisor()
        until(victim.serves, "service")


def test_orphans_serve_their_sessions_to_the_end_and_go(net, serve, session, target):
    gateway = serve(settings={"workers": 2})
    service = target()
    orphans = gateway.workers()
    pairs = [session(service, head()) for _ in range(8)]
    proc.kill(gateway.pid)
    gateway.wait_line(r"\[!\] the supervisor has died: serving [0-9]+ sessions to their end", 2)
    until(lambda: not net.origin.is_listening(2222), "the ports to be free")
    for peer, conn in pairs:
        peer.trip(conn)
        conn.close()
        peer.expect_end("FIN")
        peer.close()
    until(lambda: not any(map(proc.is_alive, orphans)), "the orphans to go")


def test_supervisor_killed_during_a_reload(net, launch, directory, echo):
    """Two generations are orphans then, one of which never served."""
    echo()
    generator = random.Random(7)
    victim = Victim(net, launch, conf.write(directory, [conf.listener()], workers=2))
    until(victim.serves, "the first session")
    for number in range(10):
        conf.write(directory, [conf.listener(keepalive=61 + number)],
                   subnets=f"{LB4}\n{LB6}\n", workers=2)
        victim.gateway.signal(signal.SIGHUP)
        _spin(generator.randrange(2000))
        victim.kill_supervisor()
        until(victim.serves, "service")
        until(lambda: not any(map(proc.is_alive, victim.orphans)), "the orphans to go")


def _spin(turns):
    """A moment of a length that differs, for races; nothing is waited for."""
    for _ in range(turns):
        time.monotonic()
