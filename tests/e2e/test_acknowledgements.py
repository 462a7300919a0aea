# SPDX-License-Identifier: BSD-2-Clause
"""What is acknowledged at once, because its sender may wait for that, and what with an answer."""

import os
import signal
import socket
import struct
import time

import pytest

from lib import header
from lib.conn import FIN
from lib.topology import CLIENT4
from lib.wait import until

HEAD = header.v1(CLIENT4, 51234)
LATE = 0.04  # seconds: the kernel acknowledges no sooner where it does not at once
TRIES = 20   # a busy machine may spoil some


def _unacknowledged(conn):
    """Segments that this end has sent and the other has not acknowledged."""
    return struct.unpack_from("I", conn.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104),
                              24)[0]


def _ask(service, dial):
    """(peer, conn): a request behind the header has come to the service."""
    peer = dial()
    peer.send(HEAD + b"request")
    conn = service.accept()
    assert conn.recv(7) == b"request"
    return peer, conn


def _is_acknowledged_at_once(conn):
    began = time.monotonic()
    until(lambda: _unacknowledged(conn) == 0, "the acknowledgement")
    return time.monotonic() - began < LATE / 2


@pytest.mark.parametrize("sent", (HEAD, HEAD[:20], HEAD[:-1]))
def test_header_that_comes_alone_is_acknowledged_at_once(serve, target, dial, sent):
    """Its sender may hold the rest back until then."""
    serve(client_port="any")
    target()
    for _ in range(TRIES):
        peer = dial()
        peer.send(sent)
        if _is_acknowledged_at_once(peer):
            return
    pytest.fail(f"not once in {TRIES} tries was it acknowledged within {LATE / 2} s")


def test_request_behind_the_header_is_acknowledged_with_the_answer(serve, target, dial):
    serve(client_port="any")
    service = target()
    for _ in range(TRIES):
        peer, conn = _ask(service, dial)
        was_late = _unacknowledged(peer) > 0
        conn.send(b"answer")
        assert peer.recv(6) == b"answer" and _unacknowledged(peer) == 0
        conn.close()
        if was_late:
            return
    pytest.fail("it was acknowledged without the answer each time")


def test_first_answer_is_acknowledged_at_once(serve, target, dial):
    """The service may hold the rest of it back until then."""
    serve(client_port="any")
    service = target()
    for _ in range(TRIES):
        peer, conn = _ask(service, dial)
        conn.send(b"answer")
        was_at_once = _is_acknowledged_at_once(conn)
        assert peer.recv(6) == b"answer"
        conn.close()
        if was_at_once:
            return
    pytest.fail(f"not once in {TRIES} tries was it acknowledged within {LATE / 2} s")


def test_answer_with_the_end_behind_is_acknowledged_with_the_client_s_end(serve, target, dial):
    worker = serve(client_port="any").workers()[0]
    service = target()
    for _ in range(TRIES):
        peer, conn = _ask(service, dial)
        os.kill(worker, signal.SIGSTOP)  # it is to meet both at once
        conn.send(b"answer")
        conn.finish()
        os.kill(worker, signal.SIGCONT)
        peer.expect_end(FIN, b"answer")
        was_late = _unacknowledged(conn) == 2  # the answer and the end
        peer.close()
        until(lambda conn=conn: _unacknowledged(conn) == 0, "the acknowledgement")
        conn.close()
        if was_late:
            return
    pytest.fail("it was acknowledged before the client's end each time")
