# SPDX-License-Identifier: BSD-2-Clause
"""Many sessions, too many sessions, and what is left of them afterwards."""

import functools
import itertools
import random

from lib import header, lines, proc
from lib.conn import RST, connect
from lib.topology import CLIENT4, ORIGIN4, STRANGER4
from lib.wait import together, until

PORTS = itertools.count(20000)
OUT_OF_DESCRIPTORS = lines.told("!", "accepting no connections.*Too many open files")


def head(client=CLIENT4):
    return header.v2(client, next(PORTS))


def _sockets(gateway, look=proc.descriptors):
    return [sum(name.startswith("socket:") for name in look(pid))
            for pid in gateway.workers()]


def test_200_sessions_at_once(serve, echo, dial):
    gateway = serve(settings={"workers": 4})
    service = echo()
    before = _sockets(gateway)
    clients = [(f"198.51.{number // 100}.{number % 100}", 30000 + number) for number in range(200)]
    peers = []
    for client, port in clients:
        peers.append(dial())
        peers[-1].send(header.v2(client, port) + client.encode())
    for peer, (client, _) in zip(peers, clients):
        assert peer.recv(len(client)) == client.encode()
    until(lambda: service.open == 200, "none but these")  # a check of the target may be there still
    assert sorted(service.sources) == sorted(clients)
    for round_ in range(3):
        for number, peer in enumerate(peers):
            peer.send(b"%d-%d" % (round_, number))
        for number, peer in enumerate(peers):
            wanted = b"%d-%d" % (round_, number)
            assert peer.recv(len(wanted)) == wanted
    for peer in peers:
        peer.close()
    until(lambda: _sockets(gateway) == before, lambda: f"{_sockets(gateway)} sockets, {before}")


def test_nothing_is_left_after_a_storm(net, serve, echo):
    """Good, cut, refused, silent and failing sessions, all at once, many times."""
    gateway = serve(settings={"workers": 2}, target_v6="[::1]:9")
    echo()

    def good():
        peer = connect(net.lb, ORIGIN4, 2222)
        peer.send(head() + b"x" * 300_000)
        peer.recv(300_000)
        peer.close()

    def cut():
        peer = connect(net.lb, ORIGIN4, 2222)
        peer.send(head() + b"x" * 100)
        peer.recv(100)
        peer.reset()

    def refused():
        connect(net.lb, ORIGIN4, 2222, source=STRANGER4).expect_end(RST)

    def half_header():
        peer = connect(net.lb, ORIGIN4, 2222)
        peer.send(head()[:10])
        peer.reset()

    def no_header():
        peer = connect(net.lb, ORIGIN4, 2222)
        peer.send(b"GET / HTTP/1.0\r\n\r\n")
        peer.expect_end(RST)

    def no_target():
        peer = connect(net.lb, ORIGIN4, 2222)
        peer.send(head("2001:db8::7"))
        peer.expect_end(RST)

    def early_reset():
        peer = connect(net.lb, ORIGIN4, 2222)
        peer.send(head() + b"x" * 50_000)
        peer.reset()

    kinds = (good, cut, refused, half_header, no_header, no_target, early_reset)
    for kind in kinds:
        kind()
    # A worker closes what is over before it sleeps again.
    before = until(lambda: _is_idle(net) and _sockets(gateway, proc.resting_descriptors),
                   "the first round to end")

    def storm(_):
        for _ in range(20):
            for kind in kinds:
                kind()

    together(storm, range(4))
    until(lambda: _sockets(gateway) == before, lambda: f"{_sockets(gateway)} sockets, {before}")
    for pid in gateway.workers():
        pipes = [name for name in proc.descriptors(pid) if name.startswith("pipe:")]
        assert len(pipes) < 200, pipes


def _is_idle(net):
    return not net.origin.ss("-tn", "state", "established")


BULK = 512 << 10


def test_more_bulk_sessions_than_pipes(serve, echo, dial):
    """100 streams that all want to be spliced in one worker; none is lost or mixed up."""
    gateway = serve()
    echo()
    peers = [dial() for _ in range(100)]
    streams = [random.Random(seed).randbytes(BULK) for seed in range(len(peers))]
    for peer in peers:
        peer.send(head())
    jobs = [functools.partial(peer.send, data) for peer, data in zip(peers, streams)]
    jobs += [functools.partial(peer.recv, BULK) for peer in peers]
    assert together(lambda job: job(), jobs)[len(peers):] == streams
    gateway.wait_line(lines.told("+", "connected"), len(peers))
    for peer in peers:
        peer.finish()
    gateway.wait_line(lines.told("-", f"{BULK} bytes in, {BULK} bytes out, client closed"),
                      len(peers))


def test_max_sessions_holds_over_all_workers(net, serve, target, dial):
    gateway = serve(settings={"workers": 4}, max_sessions=10)
    service = target()
    peers = [dial() for _ in range(40)]
    for peer in peers:
        try:
            peer.send(head())
        except ConnectionError:
            pass
    conns = [service.accept() for _ in range(10)]
    until(lambda: sum(not peer.is_quiet() for peer in peers) == 30, "30 sessions to be refused")
    assert service.is_untouched()
    gateway.wait_line(lines.told(None, "(?i:max_sessions|too many sessions|limit)"))

    # One ends, one more gets in, and no second one.
    alive = [peer for peer in peers if peer.is_quiet()]
    alive[0].reset()
    until(lambda: any(not conn.is_quiet() for conn in conns), "the session to end")
    late = until(lambda: _try(dial, service), "a session in the place of the one that ended")
    late[0].trip(late[1])
    assert not _try(dial, service)
    assert service.is_untouched()
    for peer in alive[1:]:
        assert peer.is_quiet()
    for conn in [*conns, late[1]]:
        conn.close()


def _try(dial, service):
    """A session, or None where it is refused."""
    peer = dial()
    try:
        peer.send(head())
        found = until(lambda: (not peer.is_quiet() and "refused") or service.take(), "a verdict")
    except ConnectionError:
        return None
    return None if found == "refused" else (peer, found)


def test_max_sessions_frees_the_places_of_a_killed_worker(serve, target, dial):
    gateway = serve(max_sessions=3)
    gateway.may_lose_workers = True
    service = target()
    for _ in range(2):
        pairs = []
        for _ in range(3):
            pairs.append(until(lambda: _try(dial, service), "a session"))
        worker = gateway.workers()[0]
        proc.kill(worker)
        until(lambda: (w := gateway.workers()) and worker not in w, "a replacement")
        for _, conn in pairs:
            conn.end()
            conn.close()


def test_out_of_descriptors_pauses_accepting_and_recovers(serve, target, dial):
    gateway = serve(options={"prefix": ["prlimit", "--nofile=64:64"]}, header_timeout=600)
    service = target()
    silent = [dial() for _ in range(100)]
    gateway.wait_line(OUT_OF_DESCRIPTORS)

    # It waits, it does not spin, and it does not repeat itself.
    worker = gateway.workers()[0]
    proc.expect_calm(worker)
    assert len(gateway.find(OUT_OF_DESCRIPTORS)) == 1, gateway.text()

    for peer in silent:
        peer.close()
    peer = dial()
    peer.send(head())
    conn = service.accept()
    peer.trip(conn)
    conn.close()
    assert gateway.workers() == [worker]


def test_out_of_descriptors_with_running_sessions(serve, echo, dial):
    """Sessions that were there go on; those that wait are served as places become free."""
    gateway = serve(options={"prefix": ["prlimit", "--nofile=64:64"]}, header_timeout=600)
    echo()
    held = dial()
    held.send(head() + b"x")
    assert held.recv(1) == b"x"
    waiting = [dial() for _ in range(100)]
    gateway.wait_line(OUT_OF_DESCRIPTORS)
    held.send(b"still there")
    assert held.recv(11) == b"still there"
    for peer in waiting[:90]:
        peer.close()
    for peer in waiting[90:]:
        peer.send(head() + b"y")
    for peer in waiting[90:]:
        assert peer.recv(1) == b"y"
