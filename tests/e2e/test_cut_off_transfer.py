# SPDX-License-Identifier: BSD-2-Clause
"""
A transfer that one side cuts off with a reset must not look complete at the other: that side
reads ECONNRESET, never the end of file.

MMPROXY_E2E_CUTOFFS says how many sessions of each kind are cut off. "victim" is the side that
is reset and "survivor" the other one; every test runs with both sides as the victim.
"""

import threading

import pytest

from lib import header, proc
from lib.conn import FIN, RST
from lib.cutoff import COUNT, Cutoffs, is_broken, pump_bytes, read_end
from lib.topology import CLIENT4
from lib.wait import until

BULK = 1 << 20
PART = 100 * 1000  # of a bulk transfer, and more than is copied at once

pytestmark = pytest.mark.timeout(1200 + 30 * COUNT)


def proxied(port):
    return header.v1(CLIENT4, port)


def local(_port):
    return header.v2_local()


@pytest.fixture(params=("client", "service"))
def cutoffs(request, serve, target, dial):
    """cutoffs(head=..., buffer=...): buffer is that of the receiving sockets, in bytes."""
    def make(head=proxied, buffer=None):
        service = target(receive_buffer=buffer)
        gateway = serve(settings={"log": {"level": "debug"}})  # LOCAL is told there
        return Cutoffs(gateway, lambda: dial(receive_buffer=buffer), service, head, request.param)
    return make


def _trip(victim, survivor):
    survivor.trip(victim)


@pytest.mark.parametrize("head", (proxied, local))
def test_reset_while_the_other_side_sends(cutoffs, head):
    def cut(victim, survivor):
        victim.send(b"the first half")
        survivor.send(b"more")
        victim.reset()

    cutoffs(head).run(_trip, cut)


def test_reset_behind_bytes_while_the_other_side_is_quiet(cutoffs):
    """The kernel reports both at once and only once, and the bytes are read first."""
    def cut(victim, _survivor):
        victim.send(b"the first half")
        victim.reset()

    cutoffs().run(_trip, cut)


def test_reset_behind_more_bytes_than_the_other_side_takes(cutoffs):
    sessions = cutoffs(buffer=4096)

    def cut(victim, _survivor):
        victim.fill(sessions.worker, quiet_for=0.02)
        victim.reset()

    sessions.run(_trip, cut, _wait_broken)


def test_reset_behind_the_first_bytes(cutoffs):
    """The gateway looks for the end of file right behind the first bytes of a direction."""
    def cut(victim, survivor):
        survivor.send(b"more")
        victim.send(b"the first half")
        victim.reset()

    cutoffs().run(lambda victim, survivor: None, cut)


def test_reset_of_a_bulk_transfer_both_ways(cutoffs):
    def prepare(victim, survivor):
        pump_bytes(victim, survivor, BULK)
        pump_bytes(survivor, victim, BULK)

    def cut(victim, survivor):
        victim.send(bytes(PART))
        survivor.send(bytes(PART))
        victim.reset()

    cutoffs().run(prepare, cut)


def test_reset_after_the_other_side_s_half_close(cutoffs):
    def prepare(victim, survivor):
        survivor.send(b"request")
        survivor.finish()
        victim.expect_end(FIN, b"request")

    def cut(victim, _survivor):
        victim.send(b"the first half")
        victim.reset()

    cutoffs().run(prepare, cut)


def test_reset_of_a_bulk_transfer_after_the_other_side_s_half_close(cutoffs):
    def prepare(victim, survivor):
        pump_bytes(victim, survivor, BULK)
        survivor.finish()
        victim.expect_end(FIN)

    def cut(victim, _survivor):
        victim.send(bytes(PART))
        victim.reset()

    cutoffs().run(prepare, cut)


def test_reset_at_the_moment_of_the_other_side_s_half_close(cutoffs):
    def cut(victim, survivor):
        survivor.send(b"last words")
        survivor.finish()
        victim.send(b"the first half")
        victim.reset()

    cutoffs().run(_trip, cut)


def test_reset_behind_the_half_close_of_the_same_side(cutoffs):
    """Its own transfer was complete: its end may be read, but a reset follows."""
    def prepare(victim, survivor):
        victim.finish()
        survivor.expect_end(FIN)

    def cut(victim, survivor):
        survivor.send(b"more")
        victim.reset()

    cutoffs().run(prepare, cut, _wait_broken)


def _wait_broken(survivor):
    until(lambda: is_broken(survivor), "a reset behind the end of file")
    return RST


def test_close_with_bytes_unread(cutoffs):
    """The kernel resets such a connection, and what was sent before is cut off."""
    def prepare(victim, survivor):
        survivor.send(b"unread")
        until(lambda: not victim.is_quiet(), "bytes that nobody reads")

    def cut(victim, survivor):
        survivor.send(b"more")
        victim.send(b"the first half")
        victim.close()

    cutoffs().run(prepare, cut)


@pytest.fixture(params=("heap", "pipe"))
def blocked(request, cutoffs):
    """blocked(): (sessions, block); block(sender, receiver) sends until nobody takes any more."""
    def make():
        sessions = cutoffs(buffer=4096 if request.param == "heap" else None)

        def block(sender, receiver):
            if request.param == "pipe":
                pump_bytes(sender, receiver, BULK)
            sender.fill(sessions.worker, quiet_for=0.02)

        return sessions, block
    return make


def test_reset_with_bytes_on_the_way(blocked):
    """The survivor does not read: everything between the two is full."""
    sessions, block = blocked()
    sessions.run(block, lambda victim, survivor: victim.reset())


def test_reset_with_bytes_on_the_way_while_the_other_side_sends(blocked):
    sessions, block = blocked()

    def cut(victim, survivor):
        survivor.send(b"more")
        victim.reset()

    sessions.run(block, cut)


def test_reset_with_bytes_on_the_way_after_the_other_side_s_half_close(blocked):
    sessions, block = blocked()

    def prepare(victim, survivor):
        survivor.send(b"request")
        survivor.finish()
        victim.expect_end(FIN, b"request")
        block(victim, survivor)

    sessions.run(prepare, lambda victim, survivor: victim.reset())


def test_reset_with_bytes_on_the_way_both_ways(blocked):
    sessions, block = blocked()

    def prepare(victim, survivor):
        block(victim, survivor)
        survivor.fill(sessions.worker, quiet_for=0.02)

    sessions.run(prepare, lambda victim, survivor: victim.reset())


def test_reset_in_the_midst_of_acknowledged_pieces(cutoffs):
    """The worker runs: chance decides what it finds first."""
    def acknowledge(survivor, ends):
        try:
            while survivor.sock.recv(4096):
                survivor.sock.sendall(b"ok")
            ends.append(FIN)
        except ConnectionResetError:
            ends.append(RST)
        except BrokenPipeError:
            ends.append("EPIPE")

    sessions, ends = cutoffs(), []
    for number in range(COUNT):
        victim, survivor = sessions.open()
        thread = threading.Thread(target=acknowledge, args=(survivor, ends))
        thread.start()
        for _ in range(1 + number % 7):
            victim.send(b"piece")
            victim.recv(2)
        victim.send(b"piece")
        victim.send(b"piece")
        victim.reset()
        thread.join()
        survivor.close()
    sessions.expect_resets(ends)


def test_killed_worker_s_sessions_end_in_a_reset_on_both_sides(serve, target, dial):
    """Idle, half closed either way, and with bytes on the way."""
    service, gateway = target(), serve()
    gateway.may_lose_workers = True
    (worker,) = gateway.workers()
    pairs = []
    for number in range(max(COUNT, 4)):
        peer = dial()
        peer.send(proxied(20000 + number))
        conn = service.accept()
        peer.trip(conn)
        if number % 4 == 1:
            peer.finish()
            conn.expect_end(FIN)
        elif number % 4 == 2:
            conn.finish()
            peer.expect_end(FIN)
        elif number % 40 == 3:
            conn.fill(worker, quiet_for=0.02)
        pairs.append((peer, conn))
    proc.kill(worker)
    for number, (peer, conn) in enumerate(pairs):
        has_read_end = {1: conn, 2: peer}.get(number % 4)
        for side in (peer, conn):
            assert (_wait_broken if side is has_read_end else read_end)(side) == RST
    gateway.wait_line(r"\[!\] worker [0-9]+ of generation 1 died: .*")
