# SPDX-License-Identifier: BSD-2-Clause
"""Reloads: whatever changes, no connection is lost."""

import random
import signal
import time

import pytest

from lib import conf, header, proc
from lib.chatter import Chatter, next_client
from lib.conn import FIN, connect
from lib.reloading import RELOADED, UNCHANGED, Reloader, client_sessions, drained
from lib.stopped_child import stop_next_child
from lib.topology import LB4, LB6, ORIGIN4
from lib.wait import until

RELOADS, FEWEST_RELOADS = 200, 40
RELOADS_S = 30  # a machine that is slower than that does fewer of them
STEADY_PORTS = (2222, 8080)
CHANGING_PORTS = range(3000, 3010)


def head():
    return header.v1(*next_client())


def web(**keys):
    return conf.listener(**({"name": "web", "listen": "0.0.0.0:8080"} | keys))


@pytest.fixture
def session(dial):
    yield from client_sessions(dial)


@pytest.fixture
def reloader(serve, directory):
    """reloader(...) as serve; returns one that has reload() and gateway."""
    def start(**options):
        return Reloader(serve(**options), directory)
    return start


# --- 200 reloads under load


def _changed(generator, number):
    """Two listeners that stay, with settings that change, and others that come and go."""
    steady = [conf.listener(header_timeout=50 + number % 3, keepalive=60 + number),
              web(max_pending=500 + number, target_v4="127.0.0.1:22" if number % 2 else
                  "127.0.0.1:23")]
    for port in generator.sample(CHANGING_PORTS, generator.randrange(6)):
        steady.append(conf.listener(name=f"{generator.choice('ab')}{port}",
                                    listen=f"{generator.choice(('0.0.0.0', ORIGIN4))}:{port}",
                                    idle_timeout=generator.randrange(5)))
    generator.shuffle(steady)
    return steady


def _is_sanitized(pid):
    """Its allocator keeps what was freed, and looks for leaks by itself at the end."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        return "libasan" in file.read()


def _measure(reloader):
    """Descriptors and memory with the same configuration each time, and one generation."""
    reloader.reload([conf.listener(), web()], workers=2, log=_QUIET)
    pid = reloader.gateway.pid
    return proc.resting_descriptors(pid), proc.anonymous_kb(pid)


_QUIET = {"level": "notice"}


def _reload(reloader, generator, number):
    reloader.write(_changed(generator, number), workers=2, log=_QUIET,
                   subnets=f"{LB4}\n{LB6}\n10.0.0.{number}\n")
    reloader.hup_only()


@pytest.mark.release
def test_200_reloads_under_load_lose_nothing(net, launch, directory, echo):
    echo()
    echo(port=23)
    gateway = launch(net.origin, "-c", conf.write(directory, [conf.listener(), web()], workers=2,
                                                  log=_QUIET))
    gateway.settle()
    reloader, generator = Reloader(gateway, directory), random.Random(4)
    chatter = Chatter(net.lb, ORIGIN4, STEADY_PORTS)
    began = time.monotonic()
    for number in range(1, 20):
        _reload(reloader, generator, number)
    descriptors, memory = _measure(reloader)
    number = 20
    while number < FEWEST_RELOADS or (number < RELOADS - 1
                                      and time.monotonic() - began < RELOADS_S):
        number += 1
        _reload(reloader, generator, number)
    until(lambda: chatter.sessions > number or chatter.failures, "sessions all the time")
    assert not chatter.stop()
    later_descriptors, later_memory = _measure(reloader)
    assert len(later_descriptors) == len(descriptors), (descriptors, later_descriptors)
    if not _is_sanitized(gateway.pid):
        assert later_memory <= memory + 128, f"{memory} kB after 20 reloads, {later_memory} kB now"
    assert len(gateway.workers()) == 2
    until(lambda: not proc.zombies(gateway.pid), "zombies to be reaped")
    assert len(gateway.find(RELOADED)) == number + 1


# --- many signals


def test_100_sighups_in_a_second_coalesce(reloader, echo, dial):
    echo()
    before = reloader()
    before.write([conf.listener(keepalive=77)])
    for _ in range(100):
        before.gateway.signal(signal.SIGHUP)
    before.gateway.wait_line(RELOADED)
    until(lambda: _has_taken_signals(before.gateway.pid), "the signals to be taken")
    # One more, after all of those: what comes of it is the last of the lot.
    before.write([conf.listener(keepalive=78)])
    before.hup()
    assert len(before.gateway.find(RELOADED)) == 2
    assert len(before.gateway.find(UNCHANGED)) < 100
    before.wait_settled()
    peer = dial()
    peer.send(head() + b"x")
    assert peer.recv(1) == b"x"


def test_sighups_during_a_reload_are_one_reload_after_it(net, reloader):
    held = reloader()
    held.write([conf.listener(), web()])
    worker = stop_next_child(held.gateway.pid, lambda: held.gateway.signal(signal.SIGHUP))
    held.write([conf.listener(), web(listen="0.0.0.0:8081")])
    for _ in range(100):
        held.gateway.signal(signal.SIGHUP)
    until(lambda: _has_taken_signals(held.gateway.pid), "the signals to be taken")
    assert not held.gateway.find(RELOADED)
    worker.resume()
    held.gateway.wait_line(RELOADED, 2)
    held.wait_checked()
    held.wait_settled()
    assert net.origin.is_listening(8081) and not net.origin.is_listening(8080)
    assert len(held.gateway.find(RELOADED)) == 2 and not held.gateway.find(UNCHANGED)


def _has_taken_signals(pid):
    """None is pending, and the process sleeps: it has dealt with all of them."""
    status = proc.status(pid)
    return int(status["ShdPnd"], 16) == 0 and status["State"].startswith("S")


def test_sigterm_during_a_reload_is_a_regular_stop(net, reloader, session, target):
    held = reloader()
    peer, conn = session(target(), head())
    held.write([conf.listener(), web()])
    stop_next_child(held.gateway.pid, lambda: held.gateway.signal(signal.SIGHUP))
    held.gateway.signal(signal.SIGTERM)
    until(lambda: not net.origin.is_listening(2222), "the listeners to close")
    peer.trip(conn)
    conn.close()
    peer.expect_end(FIN)
    peer.close()
    assert held.gateway.wait_exit() == 0


def test_reload_without_a_change_forks_nothing(reloader, directory):
    same = reloader(settings={"workers": 2})
    workers = same.gateway.workers()
    path = directory / "mmproxy.conf"
    path.write_text("// a comment\n" + path.read_text())
    assert same.hup(UNCHANGED) == "[+] reloaded: nothing has changed, generation 1 still serves"
    assert same.gateway.workers() == workers


# --- hand-over


def _queue_up(net, count, port=2222):
    """count connections that nobody has accepted, each with all it has to say."""
    waiting = [connect(net.lb, ORIGIN4, port) for _ in range(count)]
    for number, conn in enumerate(waiting):
        conn.send(head() + b"%3d" % number)
    return waiting


def _expect_served(waiting):
    for number, conn in enumerate(waiting):
        assert conn.recv(3) == b"%3d" % number
        conn.close()


@pytest.mark.parametrize("how", ("continued", "killed"))
def test_50_connections_queued_at_the_hand_over_are_served(net, reloader, echo, how):
    echo()
    old = reloader(settings={"workers": 2})
    old.gateway.may_lose_workers = True
    workers = old.gateway.workers()
    for pid in workers:
        old.gateway.namespace.run("kill", "-STOP", pid)
    waiting = _queue_up(net, 50)
    old.write([conf.listener(keepalive=61)], workers=2)
    old.hup()
    for pid in workers:
        old.gateway.namespace.run("kill", "-CONT" if how == "continued" else "-KILL", pid)
    _expect_served(waiting)
    old.wait_settled(2)


def test_session_lives_on_over_20_reloads_then_its_generation_is_gone(reloader, session, target):
    held = reloader()
    first = held.gateway.workers()
    peer, conn = session(target(), head())
    for number in range(20):
        held.write([conf.listener(keepalive=100 + number)])
        held.hup()
        peer.trip(conn)
    until(lambda: len(held.gateway.workers()) == 2, "the generations between to be gone")
    assert first[0] in held.gateway.workers()
    assert not held.gateway.find(drained(1))
    peer.finish()
    conn.expect_end(FIN)
    conn.close()
    peer.expect_end(FIN)
    held.gateway.wait_line(drained(1))
    held.wait_settled()
    assert not proc.is_alive(first[0])


DRAINED_KB = 1024


def test_memory_of_a_worker_that_has_drained_is_small(net, reloader, echo):
    """Whatever it did before: one session that nobody ends may keep it for months."""
    echo()
    old = reloader()
    (worker,) = old.gateway.workers()
    fresh = proc.anonymous_kb(worker)
    peers = [connect(net.lb, ORIGIN4, 2222) for _ in range(500)]
    data = bytes(100_000)
    for peer in peers:
        peer.send(head())
    for peer in peers:
        peer.send(data)
        assert peer.recv(len(data)) == data
    old.write([conf.listener(keepalive=61)])
    old.hup()
    for peer in peers[1:]:
        peer.close()
    until(lambda: len([each for each in proc.descriptors(worker) if each.startswith("socket:")])
          < 20, "the others to end")
    if not _is_sanitized(worker):
        used = proc.anonymous_kb(worker)
        assert used < fresh + DRAINED_KB, f"{fresh} kB when it was new, {used} kB drained"
    peers[0].send(b"still there")
    assert peers[0].recv(11) == b"still there"
    peers[0].close()
    old.gateway.wait_line(drained(1))
