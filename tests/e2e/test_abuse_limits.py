# SPDX-License-Identifier: BSD-2-Clause
"""Limits against abuse, each at its edge: max_sessions_per_client, max_pending, deadlines."""

import itertools
import time

import pytest

from lib import conf, header, lines, proc
from lib.chatter import Chatter
from lib.conn import RST
from lib.reloading import RELOADED, Reloader
from lib.topology import CLIENT4, CLIENT6, ORIGIN4
from lib.upgrading import Upgradable
from lib.wait import until

PORTS = itertools.count(20000)
OTHER4 = "198.51.100.8"


def head(client=CLIENT4):
    return header.v2(client, next(PORTS))


def told(limit, client=CLIENT4):
    """The line that refuses one more session of client."""
    host = rf"\[{client}\]" if ":" in client else client
    return lines.told("?", rf"refused, proxy protocol source {host}:[0-9]+: {limit} sessions are "
                      r"this client's limit \(max_sessions_per_client\)")


@pytest.fixture
def served(net, dial, target, echo):
    """served(client): a session that answers, or None where it is refused."""
    for version in (4, 6):
        echo(version)

    def attempt(client=CLIENT4, **options):
        peer = dial(**options)
        peer.send(head(client) + b"x")
        try:
            return peer if peer.recv(1) == b"x" else None
        except ConnectionResetError:
            return None
    return attempt


# --- max_sessions_per_client


@pytest.mark.parametrize("workers", (1, 4))
@pytest.mark.parametrize("client", (CLIENT4, CLIENT6))
def test_sessions_of_one_client_are_limited(serve, served, workers, client):
    gateway = serve(settings={"workers": workers}, max_sessions_per_client=3)
    held = [served(client) for _ in range(3)]
    assert all(held)
    for _ in range(5):
        assert not served(client)
    gateway.wait_line(told(3, client), 5)

    # Nobody else is concerned; and one that ends makes room for one.
    assert served(OTHER4)
    held[1].finish()
    held[1].end()
    again = until(lambda: served(client), "a session in the place of the one that ended")
    assert not served(client)
    for peer in (held[0], held[2], again):
        peer.send(b"still there")
        assert peer.recv(11) == b"still there"


def test_each_listener_counts_for_itself(launch, net, directory, served):
    listeners = [conf.listener(max_sessions_per_client=1),
                 conf.listener(name="web", listen="0.0.0.0:8080", max_sessions_per_client=2)]
    gateway = launch(net.origin, "-c", conf.write(directory, listeners, workers=2))
    gateway.wait_listening("0.0.0.0:8080", name="web")
    assert served() and not served()
    assert served(port=8080) and served(port=8080) and not served(port=8080)


def test_sessions_of_no_client_are_not_one_client_s(serve, dial, echo):
    """LOCAL and UNKNOWN name nobody: a load balancer's health checks are no client."""
    serve(max_sessions_per_client=1)
    echo()
    held = [dial() for _ in range(4)]
    for number, peer in enumerate(held):
        peer.send((header.v2_local() if number % 2 else b"PROXY UNKNOWN\r\n") + b"x")
        assert peer.recv(1) == b"x"


def test_generations_count_together(serve, served, directory):
    gateway = serve(max_sessions_per_client=2)
    held = [served(), served()]
    reloader = Reloader(gateway, directory)
    reloader.write([conf.listener(max_sessions_per_client=3)], workers=2)
    reloader.hup(RELOADED)
    held.append(served())
    assert all(held) and not served()
    gateway.wait_line(told(3))

    # The sessions of the generation before end: they make room in the one that serves.
    for peer in held[:2]:
        peer.finish()
        peer.end()
    reloader.wait_settled(2)
    assert served() and served() and not served()


def test_sessions_before_an_upgrade_count_in_both_limits(net, launch, directory, served, dial):
    service = Upgradable(net, launch, directory, [
        conf.listener(max_sessions=3, max_sessions_per_client=2)])
    held = [served(), served()]
    old = service.pid
    service.upgrade()
    assert all(held) and not served()
    assert served(OTHER4)
    dial().expect_end(RST)
    service.gateway.wait_line(lines.told("?", r"refused: 3 sessions are the limit \(max_sessions\)"))

    # The sessions of the old process end: they make room in the new one.
    for peer in held:
        peer.finish()
        peer.end()
    service.wait_gone(old)
    assert served() and served()
    service.close()


def test_killed_worker_s_sessions_are_no_client_s(serve, served):
    gateway = serve(max_sessions_per_client=2)
    gateway.may_lose_workers = True
    assert served() and served() and not served()
    worker, = gateway.workers()
    proc.kill(worker)
    until(lambda: (w := gateway.workers()) and worker not in w, "a replacement")
    assert served() and served() and not served()


# --- max_pending


@pytest.fixture
def wait_for_header(dial):
    """wait_for_header(gateway, beginning): a connection that has been accepted and says no more."""
    def make(gateway, beginning=b""):
        peer = dial()
        peer.send(beginning)
        until(lambda: any(peer.local in line.split() for line in _accepted(gateway)),
              "to be accepted")
        return peer
    return make


@pytest.mark.parametrize("workers", (1, 4))
@pytest.mark.parametrize("beginning", (b"", b"PROXY TCP4 198.51"))
def test_oldest_session_without_a_whole_header_goes_first(serve, dial, echo, wait_for_header,
                                                          workers, beginning):
    """Whichever worker has it."""
    gateway = serve(settings={"workers": workers}, max_pending=4, header_timeout=600)
    echo()
    pending = [wait_for_header(gateway, beginning) for _ in range(4)]
    done = dial()  # is not pending when its header is complete
    done.send(head() + b"x")
    assert done.recv(1) == b"x"
    for _ in range(8):
        pending.append(wait_for_header(gateway, beginning))
        pending.pop(0).expect_end(RST)
        assert all(peer.is_quiet() for peer in pending)
    gateway.wait_line(lines.told("?", "refused: the oldest of max_pending sessions without a "
                                 "whole header"), 8)
    done.send(b"still there")
    assert done.recv(11) == b"still there"


def test_max_pending_holds_over_all_workers(serve, dial, echo):
    limit = 20
    serve(settings={"workers": 4}, max_pending=limit, header_timeout=600)
    echo()
    silent = [dial() for _ in range(200)]
    until(lambda: sum(peer.is_quiet() for peer in silent) == limit,
          lambda: f"{limit} of them to be left, {sum(peer.is_quiet() for peer in silent)} are")
    good = dial()
    good.send(head() + b"x")
    assert good.recv(1) == b"x"


def test_worker_that_is_stuck_holds_no_room(net, serve, dial, echo):
    """It can't let its own go: others do without, and what they take stays bounded."""
    gateway = serve(settings={"workers": 2}, max_pending=4, header_timeout=600)
    echo()
    stuck, _ = gateway.workers()
    held = [dial() for _ in range(4)]
    until(lambda: len(_accepted(gateway)) == 4, "all to be accepted")
    net.origin.run("kill", "-STOP", stuck)
    try:
        silent = [dial() for _ in range(60)]
        good = dial()
        good.send(head() + b"x")
        assert good.recv(1) == b"x"
        until(lambda: sum(peer.is_quiet() for peer in [*held, *silent]) <= 4 + 16,
              "the number to stay within bounds")
    finally:
        net.origin.run("kill", "-CONT", stuck)
    silent += [dial() for _ in range(4)]  # one may have gone while the good one's header came
    until(lambda: sum(peer.is_quiet() for peer in [*held, *silent]) == 4,
          lambda: f"four to be left, {sum(peer.is_quiet() for peer in [*held, *silent])} are")


def test_pending_sessions_of_a_killed_worker_do_not_count_for_ever(serve, dial):
    gateway = serve(max_pending=3, header_timeout=600)
    gateway.may_lose_workers = True
    held = [dial() for _ in range(3)]
    until(lambda: len(_accepted(gateway)) == 3, "three to be accepted")
    assert all(peer.is_quiet() for peer in held)
    worker, = gateway.workers()
    proc.kill(worker)
    until(lambda: (w := gateway.workers()) and worker not in w, "a replacement")
    pending = [dial() for _ in range(3)]
    until(lambda: len(_accepted(gateway)) == 3, "three to be accepted")
    assert all(peer.is_quiet() for peer in pending)


# --- deadlines


def test_deadlines_hold_under_load(net, launch, directory, dial, echo):
    """Of headers that don't come and of a target that says nothing, while others talk."""
    net.origin.run("nft", "-f", "-", input="table inet silence { chain in { type filter hook "
                   "input priority 0; meta nfproto ipv6 tcp dport 22 drop; }; }")
    gateway = launch(net.origin, "-c", conf.write(directory, [
        conf.listener(client_port="any", header_timeout=1, connect_timeout=1),
        conf.listener(name="patient", listen="0.0.0.0:8080", client_port="any")], workers=2))
    gateway.wait_listening(*conf.LISTEN)
    echo()
    chatter = Chatter(net.lb, ORIGIN4, [8080])
    waiting = []
    for number in range(300):
        began, peer = time.monotonic(), dial()
        try:
            peer.send((b"", head()[:20], head(CLIENT6))[number % 3])
            waiting.append(peer)
        except ConnectionError:  # on a busy machine the deadline was first, and a reset is told once
            assert time.monotonic() - began >= 1
    for peer in waiting:
        peer.expect_end(RST)
    until(lambda: chatter.sessions or chatter.failures, "others to talk")
    assert not chatter.stop()
    gateway.wait_line(lines.told("?", "not complete within 1 s"))
    gateway.wait_line(lines.told("-", r"to \[::1\]:22 failed: Connection timed out.*; to see why: mmproxy --check"))
    until(lambda: not net.origin.ss("-tn", "state", "syn-sent"), "the connects to be given up")


def _accepted(gateway):
    """Connections that its workers have accepted."""
    return [line for line in gateway.namespace.ss("-tnp", "state", "established")
            if "mmproxy" in line]
