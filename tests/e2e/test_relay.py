# SPDX-License-Identifier: BSD-2-Clause
"""The relay: every byte, in both directions, and how each side learns that the other ended."""

import hashlib
import os
import random
import select
import shlex
import signal
import socket
import threading

import pytest

from lib import header, lines, proc
from lib.conn import FIN, RST
from lib.topology import CLIENT4, ORIGIN4
from lib.wait import together, until

HEAD = header.v1(CLIENT4, 51234)
SOURCE = f"{CLIENT4}:51234"
PIECE = 1 << 20
PIECES = 64


def _send_random(conn, seed, digests):
    generator, digest = random.Random(seed), hashlib.sha256()
    for _ in range(PIECES):
        piece = generator.randbytes(PIECE)
        digest.update(piece)
        conn.send(piece)
    conn.finish()
    digests[f"sent {seed}"] = digest.hexdigest()


def _receive(conn, seed, digests):
    digest, total = hashlib.sha256(), 0
    while piece := conn.sock.recv(PIECE):
        digest.update(piece)
        total += len(piece)
    assert total == PIECES * PIECE
    digests[f"received {seed}"] = digest.hexdigest()


def test_64_mib_both_ways_at_once(serve, target, session):
    gateway = serve()
    peer, conn = session(target(), HEAD)
    digests = {}
    jobs = ((_send_random, (peer, "up")), (_receive, (conn, "up")),
            (_send_random, (conn, "down")), (_receive, (peer, "down")))
    together(lambda job: job[0](*job[1], digests), jobs)
    assert digests["sent up"] == digests["received up"]
    assert digests["sent down"] == digests["received down"]
    gateway.wait_line(lines.disconnected(peer.local, SOURCE, PIECES * PIECE, PIECES * PIECE))


def test_many_small_messages_keep_their_order(serve, target, session):
    serve()
    peer, conn = session(target(), HEAD)
    for number in range(2000):
        peer.send(b"%8d" % number)
    assert conn.recv(16000) == b"".join(b"%8d" % number for number in range(2000))


def test_half_close_by_the_client(serve, target, session):
    gateway = serve()
    peer, conn = session(target(), HEAD)
    peer.send(b"request")
    peer.finish()
    conn.expect_end(FIN, b"request")
    for _ in range(3):
        conn.send(b"answer")
        assert peer.recv(6) == b"answer"
    conn.finish()
    peer.expect_end(FIN)
    assert gateway.wait_line(lines.disconnected(peer.local, SOURCE, 7, 18))[1] == "client closed"


def test_half_close_by_the_target(serve, target, session):
    gateway = serve()
    peer, conn = session(target(), HEAD)
    conn.send(b"banner")
    conn.finish()
    peer.expect_end(FIN, b"banner")
    for _ in range(3):
        peer.send(b"more")
        assert conn.recv(4) == b"more"
    peer.finish()
    conn.expect_end(FIN)
    assert gateway.wait_line(lines.disconnected(peer.local, SOURCE, 12, 6))[1] != "client closed"


def _send_at_once(net, gateway, peer, data):
    """All of it and the end arrive before the worker, which waits for a header, looks."""
    worker = gateway.workers()[0]
    until(lambda: net.is_read(peer), "the connection to be accepted")
    os.kill(worker, signal.SIGSTOP)
    peer.send(data)
    peer.finish()
    until(lambda: net.origin.ss("-tn", "state", "close-wait", "sport", "= :2222"),
          "the end to arrive")
    os.kill(worker, signal.SIGCONT)


@pytest.mark.parametrize("request_", (b"", b"request"))
def test_end_that_comes_along_with_the_header(net, serve, target, dial, request_):
    gateway = serve()
    service, peer = target(), dial()
    peer.send(HEAD[:10])
    _send_at_once(net, gateway, peer, HEAD[10:] + request_)
    conn = service.accept()
    conn.expect_end(FIN, request_)
    conn.send(b"answer")
    conn.close()
    peer.expect_end(FIN, b"answer")


def test_end_that_comes_along_with_half_of_a_header(net, serve, target, dial):
    gateway = serve(header_timeout=60)
    target()
    peer = dial()
    peer.send(HEAD[:10])
    _send_at_once(net, gateway, peer, HEAD[10:20])
    gateway.wait_line(r".*connection ended within the header.*")


def test_target_that_closes_at_once_has_its_bytes_delivered(serve, target, session):
    serve()
    peer, conn = session(target(), HEAD)
    conn.send(b"go away\r\n")
    conn.close()
    peer.expect_end(FIN, b"go away\r\n")


def test_reset_by_the_client_becomes_a_reset(serve, target, session):
    gateway = serve()
    peer, conn = session(target(), HEAD)
    peer.trip(conn)
    peer.reset()
    conn.expect_end(RST)
    gateway.wait_line(lines.disconnected(peer.local, SOURCE, 4, 4))


def test_reset_by_the_target_becomes_a_reset(serve, target, session):
    gateway = serve()
    peer, conn = session(target(), HEAD)
    peer.trip(conn)
    conn.reset()
    peer.expect_end(RST)
    gateway.wait_line(lines.disconnected(peer.local, SOURCE, 4, 4))


def test_reset_by_the_client_after_its_own_half_close(serve, target, session):
    serve()
    peer, conn = session(target(), HEAD)
    peer.finish()
    conn.expect_end(FIN)
    peer.reset()
    _expect_broken(conn)


def test_reset_by_the_target_after_the_client_s_half_close(serve, target, session):
    serve()
    peer, conn = session(target(), HEAD)
    peer.finish()
    conn.expect_end(FIN)
    conn.reset()
    peer.expect_end(RST)


def test_reset_by_the_client_after_the_target_s_half_close(serve, target, session):
    serve()
    peer, conn = session(target(), HEAD)
    conn.finish()
    peer.expect_end(FIN)
    peer.reset()
    conn.expect_end(RST)


def test_reset_by_the_target_after_its_own_half_close(serve, target, session):
    serve()
    peer, conn = session(target(), HEAD)
    conn.finish()
    peer.expect_end(FIN)
    conn.reset()
    _expect_broken(peer)


def _is_reset(conn):
    """Seen without reading: the kernel says that the connection is in error."""
    poll = select.poll()
    poll.register(conn.sock, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _expect_broken(conn):
    """The reset arrives although this side's reading direction has ended already."""
    until(lambda: _is_reset(conn), "a reset on a connection whose other half had ended")


def test_reset_by_the_target_that_is_not_reading(serve, target, session):
    """All buffers on the way are full of the client's bytes then."""
    gateway = serve()
    peer, conn = session(target(), HEAD)
    assert peer.fill(gateway.workers()[0]) > 0
    conn.reset()
    until(lambda: _is_reset(peer), "a reset at the peer")


def test_reset_by_the_client_that_is_not_reading(serve, target, session):
    gateway = serve()
    peer, conn = session(target(), HEAD)
    assert conn.fill(gateway.workers()[0]) > 0
    peer.reset()
    until(lambda: _is_reset(conn), "a reset at the target")


def test_reset_by_the_client_while_the_target_is_not_reading(serve, target, session):
    """It was cut off: what the target reads in the end must not look complete."""
    gateway = serve()
    peer, conn = session(target(), HEAD)
    assert peer.fill(gateway.workers()[0]) > 0
    peer.reset()
    assert conn.end()[1] == RST


def test_reset_by_the_target_while_the_client_is_not_reading(serve, target, session):
    gateway = serve()
    peer, conn = session(target(), HEAD)
    assert conn.fill(gateway.workers()[0]) > 0
    conn.reset()
    assert peer.end()[1] == RST


def test_memory_is_bounded_when_a_side_does_not_read(serve, target, session):
    gateway = serve()
    service = target()
    peer, conn = session(service, HEAD)
    peer.trip(conn)
    worker = gateway.workers()[0]
    before = _resident_kib(worker)
    sent = peer.fill(worker)
    assert sent < 64 << 20
    assert _resident_kib(worker) - before < 4096
    peer.finish()
    data, how = conn.end()
    assert (len(data), how) == (sent, FIN)


def _resident_kib(pid):
    return int(proc.status(pid)["VmRSS"].split()[0])


def test_busy_session_does_not_starve_another(serve, target, session):
    serve()
    service = target()
    busy, busy_conn = session(service, HEAD)
    calm, calm_conn = session(service, header.v1(CLIENT4, 51235))
    stop = threading.Event()

    def pour():
        while not stop.is_set():
            busy.send(bytes(65536))

    def drink():
        while busy_conn.sock.recv(1 << 20):
            pass

    jobs = [threading.Thread(target=job) for job in (pour, drink)]
    for job in jobs:
        job.start()
    try:
        for _ in range(50):
            calm.trip(calm_conn)
    finally:
        stop.set()
    jobs[0].join()
    busy.finish()
    jobs[1].join()


@pytest.mark.parametrize("version", (4, 6))
def test_target_down_ends_in_a_reset(serve, target, dial, version):
    gateway = serve()
    client = {4: CLIENT4, 6: "2001:db8::7"}[version]
    peer = dial(version)
    peer.send(header.v2(client, 51234) + b"payload")
    peer.expect_end(RST)
    where = {4: "127.0.0.1:22", 6: "[::1]:22"}[version]
    gateway.wait_line(lines.failed(peer.local, where, "Connection refused"))


@pytest.mark.parametrize("control", ("control.sock", "a b.sock", ""))
def test_target_silent_ends_in_a_reset_after_the_connect_timeout(control, net, serve, dial,
                                                                 directory):
    net.origin.run("nft", "-f", "-", input="table inet silence { chain in { type filter hook "
                   "input priority 0; tcp dport 22 drop; }; }")
    path = f"{directory}/{control}" if control else ""
    asked = f", or mmproxyctl -s {shlex.quote(path)} check" if path else ""
    gateway = serve(connect_timeout=1, settings={"control": path})
    peer = dial()
    peer.send(HEAD)
    peer.expect_end(RST)
    gateway.wait_line(lines.failed(peer.local, "127.0.0.1:22", "Connection timed out",
                                   cure="; to see why: mmproxy --check" + asked))


def test_client_that_leaves_while_the_target_is_silent(net, serve, dial, target, session, clock):
    """Its place is free again after the connect timeout at the latest."""
    net.origin.run("nft", "-f", "-", input="table inet silence { chain in { type filter hook "
                   "input priority 0; tcp dport 22 drop; }; }")
    serve(max_sessions=1, options={"env": clock.environment})
    clock.stop()
    peer = dial()
    peer.send(HEAD)
    until(lambda: net.origin.ss("-tn", "state", "syn-sent"), "a connect under way")
    peer.reset()
    until(lambda: clock.forward(20) or not net.origin.ss("-tn", "state", "syn-sent"),
          "the connect to be given up")
    net.origin.run("nft", "delete", "table", "inet", "silence")
    left, conn = session(target(), header.v1(CLIENT4, 51235))
    left.trip(conn)


def test_idle_timeout_ends_a_session_without_a_byte(serve, target, session, clock):
    gateway = serve(idle_timeout=60, options={"env": clock.environment})
    clock.stop()
    peer, conn = session(target(), HEAD)
    peer.trip(conn)
    until(lambda: clock.forward(20) or not peer.is_quiet(), "the session to end")
    peer.end()
    conn.end()
    assert "idle" in gateway.wait_line(lines.disconnected(peer.local, SOURCE, 4, 4))[1]


def test_idle_timeout_spares_a_session_with_bytes_one_way(serve, target, session, clock):
    serve(idle_timeout=60, options={"env": clock.environment})
    service = target()
    clock.stop()
    busy, busy_conn = session(service, HEAD)
    idle, _ = session(service, header.v1(CLIENT4, 51235))

    def is_idle_over():
        busy.trip(busy_conn, b"x")
        clock.forward(20)
        return not idle.is_quiet()

    until(is_idle_over, "the idle session to end")
    busy.trip(busy_conn)


@pytest.mark.parametrize("keepalive, wanted", ((600, True), (0, False)))
def test_keepalive_on_both_sides(net, serve, target, session, clock, keepalive, wanted):
    serve(keepalive=keepalive, options={"env": clock.environment})
    clock.stop()
    peer, conn = session(target(), HEAD)
    peer.trip(conn)
    clock.forward(2)  # towards the target, sessions that are over soon have none

    def timers():
        sides = [net.origin.ss("-tno", "state", "established", "sport", f"= :{port}")
                 for port in (2222, 51234)]
        assert all(len(side) == 1 for side in sides), sides
        return ["timer:(keepalive,9min" in line for (line,) in sides]

    until(lambda: timers() == [wanted, wanted], "keepalive, where it is wanted")


def _tcp_option(gateway, option):
    """(the accepted socket's, the target's): what the kernel says of a session's two."""
    found = {}
    for sock in proc.sockets(gateway.workers()[0]):
        with sock:
            if sock.family == socket.AF_INET and sock.getsockname()[1] in (2222, 51234):
                found[sock.getsockname()] = sock.getsockopt(socket.IPPROTO_TCP, option)
    return found[ORIGIN4, 2222], found[CLIENT4, 51234]


def test_no_delay_on_both_sides(serve, target, session):
    gateway = serve()
    peer, conn = session(target(), HEAD)
    for _ in range(2):  # towards the target, a first piece alone can't be delayed
        peer.trip(conn)
    assert _tcp_option(gateway, socket.TCP_NODELAY) == (1, 1)


@pytest.mark.parametrize("direction", ("up", "down"))
def test_urgent_byte_is_relayed_in_its_place(serve, target, session, direction):
    """Nobody uses urgent data any more, but a byte must not get lost."""
    serve()
    pair = session(target(), HEAD)
    sender, receiver = pair if direction == "up" else reversed(pair)
    receiver.sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    sender.send(b"before")
    sender.sock.send(b"!", socket.MSG_OOB)
    sender.send(b"after")
    assert receiver.recv(12) == b"before!after"
