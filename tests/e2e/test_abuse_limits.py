# SPDX-License-Identifier: BSD-2-Clause
"""Limits against abuse, each at its edge: max_sessions_per_client and max_pending."""

import itertools

import pytest

from lib import conf, header, lines, proc
from lib.conn import RST
from lib.reloading import RELOADED, Reloader
from lib.topology import CLIENT4, CLIENT6
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


def test_killed_worker_s_sessions_are_no_client_s(serve, served):
    gateway = serve(max_sessions_per_client=2)
    gateway.may_lose_workers = True
    assert served() and served() and not served()
    worker, = gateway.workers()
    proc.kill(worker)
    until(lambda: (w := gateway.workers()) and worker not in w, "a replacement")
    assert served() and served() and not served()


# --- max_pending


@pytest.mark.parametrize("beginning", (b"", b"PROXY TCP4 198.51"))
def test_oldest_session_without_a_whole_header_goes_first(serve, dial, echo, beginning):
    gateway = serve(max_pending=4, header_timeout=600)
    echo()
    pending = []
    for _ in range(4):
        pending.append(dial())
        pending[-1].send(beginning)
    done = dial()  # takes the oldest one's place, and leaves it when its header is complete
    done.send(head() + b"x")
    assert done.recv(1) == b"x"
    pending[0].expect_end(RST)
    gateway.wait_line(lines.told("?", "refused: the oldest of max_pending sessions without a "
                                 "whole header"))
    assert all(peer.is_quiet() for peer in pending[1:])
    pending.append(dial())
    pending.append(dial())
    pending[1].expect_end(RST)
    assert all(peer.is_quiet() for peer in pending[2:])
    done.send(b"still there")
    assert done.recv(11) == b"still there"


def test_max_pending_holds_over_all_workers(serve, dial, echo):
    """Up to one more for each of the other workers: who holds none lets none of another's go."""
    limit, workers = 20, 4
    serve(settings={"workers": workers}, max_pending=limit, header_timeout=600)
    echo()
    silent = [dial() for _ in range(100)]
    until(lambda: limit <= sum(peer.is_quiet() for peer in silent) < limit + workers,
          lambda: f"{limit} of them to be left, {sum(peer.is_quiet() for peer in silent)} are")
    good = dial()
    good.send(head() + b"x")
    assert good.recv(1) == b"x"


def test_pending_sessions_of_a_killed_worker_do_not_count_for_ever(serve, dial):
    gateway = serve(max_pending=3, header_timeout=600)
    gateway.may_lose_workers = True
    for peer in [dial() for _ in range(3)]:
        until(lambda: len(_peers_of(gateway)) >= 1, "to be accepted")
        assert peer.is_quiet()
    worker, = gateway.workers()
    proc.kill(worker)
    until(lambda: (w := gateway.workers()) and worker not in w, "a replacement")
    pending = [dial() for _ in range(3)]
    until(lambda: len(_peers_of(gateway)) == 3, "three to be accepted")
    assert all(peer.is_quiet() for peer in pending)


def _peers_of(gateway):
    """Connections that its workers have accepted."""
    return [line for line in gateway.namespace.ss("-tnp", "state", "established")
            if "mmproxy" in line]
