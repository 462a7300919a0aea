# SPDX-License-Identifier: BSD-2-Clause
"""SIGUSR2: another binary takes over, or does not, and no connection is lost."""

import os
import re
import signal

import pytest

from lib import conf, header, proc
from lib.chatter import Chatter, next_client
from lib.conn import FIN, RST, connect
from lib.daemon import UPGRADED
from lib.reloading import RELOADED, UNCHANGED, client_sessions
from lib.stopped_child import stop_next_child
from lib.topology import ORIGIN4
from lib.upgrading import Upgradable
from lib.wait import until

STILL_SERVES = "; generation 1 still serves"
READY_TIMEOUT_S = 30


def head():
    return header.v1(*next_client())


@pytest.fixture
def session(dial):
    yield from client_sessions(dial)


@pytest.fixture
def upgradable(net, launch, directory):
    """upgradable(...) as Daemon: one that serves."""
    started = []

    def start(**options):
        started.append(Upgradable(net, launch, directory, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_binary_replaced_under_load_loses_nothing(net, upgradable, target, echo, session):
    echo()
    service = upgradable()
    chatter = Chatter(net.lb, ORIGIN4, [2222])
    for _ in range(5):
        old = service.pid
        service.replace()
        new = service.upgrade()
        assert os.stat(f"/proc/{new}/exe").st_ino == service.path.stat().st_ino
        served = chatter.sessions
        until(lambda: chatter.sessions >= served + 50, lambda: f"sessions {chatter.failures}")
        service.wait_gone(old)
    assert not chatter.stop()
    service.wait_workers()
    until(lambda: not proc.zombies(service.pid), "the process that checked to be reaped")


def test_session_of_the_old_binary_lives_on_then_the_process_ends(upgradable, target, session):
    service = upgradable()
    behind = target()
    peer, conn = session(behind, head())
    old = service.pid
    service.upgrade()
    fresh, fresh_conn = session(behind, head())
    fresh.trip(fresh_conn)
    peer.trip(conn)
    assert proc.is_alive(old)
    conn.close()
    peer.expect_end(FIN)
    peer.close()
    until(lambda: not service.gateway.is_running(), "the old process to end")
    assert "Sanitizer" not in service.gateway.text()
    fresh.trip(fresh_conn)


def test_connections_queued_at_the_hand_over_are_served(net, upgradable, echo):
    echo()
    service = upgradable()
    workers = proc.children(service.pid)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    waiting = [connect(net.lb, ORIGIN4, 2222) for _ in range(50)]
    for number, conn in enumerate(waiting):
        conn.send(head() + b"%3d" % number)
    service.upgrade()
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    for number, conn in enumerate(waiting):
        assert conn.recv(3) == b"%3d" % number
        conn.close()


HANGS = b"#!/bin/sh\nexec sleep 1000\n"
FAILURES = {
    "exits 1": (b"#!/bin/sh\nexit 1\n", "ended before it was ready"),
    "is no program": (b"\x7fnonsense", "ended before it was ready"),
    "kills itself": (b"#!/bin/sh\nkill -9 $$\n", "ended before it was ready"),
    "hangs": (HANGS, "was not ready in time"),
}


@pytest.mark.parametrize("content, why", FAILURES.values(), ids=FAILURES)
def test_new_binary_that_fails_under_load(net, upgradable, echo, clock, content, why):
    """The old one goes on, and a better one takes over later."""
    echo()
    service = upgradable(env=clock.environment)
    chatter = Chatter(net.lb, ORIGIN4, [2222], count=4)
    service.replace(content)
    service.signal(signal.SIGUSR2)
    if content == HANGS:
        # A sibling of the old one, since a service manager waits for its own children only.
        until(lambda: _has_child("sleep"), "the new binary to hang")
        clock.forward(READY_TIMEOUT_S)
    service.gateway.wait_line(re.escape(f"[!] upgrade failed: {service.path} {why}{STILL_SERVES}"))
    until(lambda: len(proc.children(service.pid)) == 2, "the new process to be gone")
    until(lambda: not proc.zombies(service.pid), "it to be reaped")
    served = chatter.sessions
    until(lambda: chatter.sessions >= served + 50, lambda: f"sessions {chatter.failures}")
    service.replace()
    service.upgrade()
    served = chatter.sessions
    until(lambda: chatter.sessions >= served + 50, lambda: f"sessions {chatter.failures}")
    assert not chatter.stop()


def _has_child(name):
    return any(proc.name(child) == name for child in proc.children(os.getpid()))


def test_new_binary_that_is_not_there(upgradable, echo, dial):
    echo()
    service = upgradable()
    service.path.unlink()
    service.signal(signal.SIGUSR2)
    service.gateway.wait_line(re.escape(
        f"[!] {service.path} can't be started: No such file or directory"))
    service.gateway.wait_line(r"\[!\] upgrade failed: .*")
    _expect_served(dial)


def _expect_served(dial):
    peer = dial()
    peer.send(head() + b"x")
    assert peer.recv(1) == b"x"


def test_new_binary_that_does_not_like_the_configuration(upgradable, echo, dial, directory):
    echo()
    service = upgradable()
    path = directory / "mmproxy.conf"
    path.write_text("nonsense")
    service.signal(signal.SIGUSR2)
    service.gateway.wait_line(re.escape(f'{path}:1: "=" is missing behind "nonsense"'))
    service.gateway.wait_line(r"\[!\] upgrade failed: .* ended before it was ready; .*")
    _expect_served(dial)


def test_new_binary_killed_when_it_has_workers_already(upgradable, echo, dial):
    """They see that their supervisor died, and must not touch the sockets of the old one."""
    echo()
    service = upgradable()
    service.gateway.may_lose_workers = True
    new = stop_next_child(service.pid, lambda: service.signal(signal.SIGUSR2))
    worker = stop_next_child(new.pid, new.resume, behind=1)
    new.kill()
    service.gateway.wait_line(r"\[!\] upgrade failed: .* ended before it was ready; .*")
    worker.resume()
    service.wait_gone(worker.pid)
    for _ in range(8):
        _expect_served(dial)


def test_old_process_killed_while_it_drains(upgradable, target, session):
    """Its workers are orphans, and must not touch the sockets of the new one."""
    service = upgradable()
    service.gateway.may_lose_workers = True
    behind = target()
    peer, conn = session(behind, head())
    old, workers = service.pid, proc.children(service.pid)
    service.upgrade()
    proc.kill(old)
    service.gateway.wait_line(r"\[!\] the supervisor has died: .*")
    peer.trip(conn)
    for _ in range(8):
        other, other_conn = session(behind, head())
        other.trip(other_conn)
    conn.close()
    peer.expect_end(FIN)
    peer.close()
    until(lambda: not any(map(proc.is_alive, workers)), "the orphans to end")


def test_sighup_during_an_upgrade_reaches_the_new_binary(upgradable, directory, net):
    service = upgradable()
    new = stop_next_child(service.pid, lambda: service.signal(signal.SIGUSR2))
    worker = stop_next_child(new.pid, new.resume, behind=1)
    conf.write(directory, [conf.listener(), conf.listener(name="web", listen="0.0.0.0:8080")],
               workers=2)
    service.signal(signal.SIGHUP)
    worker.resume()
    service.wait_upgraded()
    service.gateway.wait_line(RELOADED)
    assert net.origin.is_listening(8080)


def test_sighup_during_an_upgrade_that_fails(upgradable, directory, net):
    service = upgradable()
    new = stop_next_child(service.pid, lambda: service.signal(signal.SIGUSR2))
    conf.write(directory, [conf.listener(), conf.listener(name="web", listen="0.0.0.0:8080")],
               workers=2)
    service.signal(signal.SIGHUP)
    new.kill()
    service.gateway.wait_line(RELOADED)
    assert net.origin.is_listening(8080)


def test_sigusr2_during_a_reload_comes_after_it(upgradable, directory, net):
    service = upgradable()
    conf.write(directory, [conf.listener(), conf.listener(name="web", listen="0.0.0.0:8080")],
               workers=2)
    worker = stop_next_child(service.pid, lambda: service.signal(signal.SIGHUP))
    service.signal(signal.SIGUSR2)
    worker.resume()
    service.wait_upgraded()
    lines = service.gateway.lines
    assert [each for each in lines if re.fullmatch(f"{RELOADED}|{UPGRADED}", each)] == [
        service.gateway.find(RELOADED)[0], service.gateway.find(UPGRADED)[0]]
    assert not service.gateway.find(UNCHANGED)
    assert net.origin.is_listening(8080)


def test_sigterm_during_an_upgrade_ends_both(upgradable, net, target, session):
    service = upgradable()
    peer, conn = session(target(), head())
    new = stop_next_child(service.pid, lambda: service.signal(signal.SIGUSR2))
    service.signal(signal.SIGTERM)
    service.wait_gone(new.pid)
    until(lambda: not net.origin.is_listening(2222), "the listeners to close")
    peer.trip(conn)
    service.signal(signal.SIGTERM)
    service.wait_gone(service.pid)
    peer.expect_end(RST)


def test_sigterm_to_the_new_binary_before_it_is_ready(upgradable, echo, dial):
    echo()
    service = upgradable()
    new = stop_next_child(service.pid, lambda: service.signal(signal.SIGUSR2))
    stop_next_child(new.pid, new.resume, behind=1)
    os.kill(new.pid, signal.SIGTERM)
    service.gateway.wait_line(r"\[!\] upgrade failed: .* ended before it was ready; .*")
    for _ in range(8):
        _expect_served(dial)


def test_second_sigusr2_is_ignored(upgradable):
    service = upgradable()
    new = stop_next_child(service.pid, lambda: service.signal(signal.SIGUSR2))
    service.signal(signal.SIGUSR2)
    service.gateway.wait_line(re.escape(
        "[!] SIGUSR2 is ignored while starting, stopping or upgrading"))
    new.resume()
    service.wait_upgraded()


def test_filters_do_not_pile_up_over_upgrades(upgradable, echo, dial):
    """The kernel takes so many only: the 176th new binary could not start, and each was slower."""
    echo()
    service = upgradable()
    first = proc.status(service.pid)["Seccomp_filters"]
    for _ in range(10):
        old = service.pid
        service.upgrade()
        service.wait_gone(old)
    assert proc.status(service.pid)["Seccomp"] == "2"
    assert proc.status(service.pid)["Seccomp_filters"] == first
    for _ in range(8):
        _expect_served(dial)


def test_sigterm_after_an_upgrade_ends_the_sessions_of_the_old_process_too(upgradable, target,
                                                                           session, clock):
    """A service manager sends it to the main process alone."""
    service = upgradable(settings={"drain_timeout": 2}, env=clock.environment)
    behind = target()
    pairs = []
    for _ in range(3):
        pairs.append([session(behind, head()) for _ in range(2)])
        service.upgrade()
    clock.stop()
    service.signal(signal.SIGTERM)
    for (peer, conn), (left_peer, left_conn) in pairs:
        peer.trip(conn)
        conn.close()
        peer.expect_end(FIN)
        peer.close()
        left_peer.trip(left_conn)
    clock.run(ahead=2)
    for _, left in pairs:
        for each in left:
            each.expect_end(RST)
    for pid in service.pids:
        service.wait_gone(pid)


def test_second_sigterm_after_an_upgrade_ends_the_old_process_at_once(upgradable, target, session):
    service = upgradable(settings={"drain_timeout": 600})
    peer, conn = session(target(), head())
    service.upgrade()
    service.signal(signal.SIGTERM)
    service.gateway.wait_line(r"\[\+\] stopping: 600 s for the sessions that are left: 1")
    peer.trip(conn)
    service.signal(signal.SIGTERM)
    peer.expect_end(RST)
    for pid in service.pids:
        service.wait_gone(pid)


def test_old_process_killed_while_the_new_one_starts(upgradable, net, launch, directory, target,
                                                     session):
    """Neither is left, the port is free, and the session goes on."""
    service = upgradable()
    service.gateway.may_lose_workers = True
    behind = target()
    peer, conn = session(behind, head())
    old = service.pid
    new = stop_next_child(old, lambda: service.signal(signal.SIGUSR2))
    worker = stop_next_child(new.pid, new.resume, behind=1)
    proc.kill(old)
    until(lambda: not proc.is_alive(old), "the old process to be gone")
    worker.resume()
    service.gateway.wait_line(r"\[!\] the old process ended before it had handed over")
    service.wait_gone(new.pid)
    again = launch(net.origin, "-c", directory / "mmproxy.conf")
    again.wait_listening(*conf.LISTEN)
    other, other_conn = session(behind, head())
    other.trip(other_conn)
    peer.trip(conn)


def test_new_process_killed_later_its_sessions_live_on(upgradable, target, session):
    """As those of any supervisor that is killed."""
    service = upgradable()
    service.gateway.may_lose_workers = True
    behind = target()
    new = service.upgrade()
    peer, conn = session(behind, head())
    workers = proc.children(new)
    proc.kill(new)
    service.gateway.wait_line(r"\[!\] the supervisor has died: serving 1 sessions to their end")
    peer.trip(conn)
    conn.close()
    peer.expect_end(FIN)
    peer.close()
    until(lambda: not any(map(proc.is_alive, workers)), "the orphans to end")
