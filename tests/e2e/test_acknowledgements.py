# SPDX-License-Identifier: BSD-2-Clause
"""
What is acknowledged at once, because its sender may wait for that, and what with an answer.

The kernel acknowledges by itself what nobody has acknowledged for 40 ms, and counts how often it
did. Where it did, a look proves nothing, and another one is taken.
"""

import os
import signal
import socket
import struct

import pytest

from lib import conf, header
from lib.conn import FIN
from lib.topology import CLIENT4
from lib.wait import until

HEAD = header.v1(CLIENT4, 51234)
CLOSE_WAIT = "08"  # in /proc/net/tcp


def _unacknowledged(conn):
    """Segments that this end has sent and the other has not acknowledged."""
    return struct.unpack_from("I", conn.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104),
                              24)[0]


def _acknowledged_by_timer():
    """How often this namespace's kernel has acknowledged something because nobody else did."""
    with open("/proc/thread-self/net/netstat", encoding="ascii") as file:
        names, values = (line.split() for line in file if line.startswith("TcpExt:"))
    return int(dict(zip(names, values))["DelayedACKs"])


def _has_ended(port):
    """Is there a connection to that port whose other side has ended?"""
    with open("/proc/thread-self/net/tcp", encoding="ascii") as file:
        fields = [line.split() for line in file]
    return any(remote.endswith(f":{port:04X}") and state == CLOSE_WAIT
               for _, _, remote, state, *_ in fields)


@pytest.fixture
def undisturbed(net):
    """undisturbed(look): what look() returns when the origin's kernel has kept out of it."""
    # Nor is anything to be acknowledged because its sender sent it again: no loss probes.
    for namespace in (net.lb, net.origin):
        namespace.sysctl("net.ipv4.tcp_early_retrans", 0)

    def look_until_undisturbed(look):
        def attempt():
            before = net.origin.call(_acknowledged_by_timer)
            seen = look()
            return net.origin.call(_acknowledged_by_timer) == before and (seen,)

        return until(attempt, "a look without the kernel's timer")[0]
    return look_until_undisturbed


def _ask(service, dial):
    """(peer, conn): a request behind the header has come to the service."""
    peer = dial()
    peer.send(HEAD + b"request")
    conn = service.accept()
    assert conn.recv(7) == b"request"
    return peer, conn


@pytest.mark.parametrize("sent", (HEAD, HEAD[:20], HEAD[:-1]))
def test_header_that_comes_alone_is_acknowledged_at_once(serve, target, dial, undisturbed, sent):
    """Its sender may hold the rest back until then."""
    serve(client_port="any")
    target()

    def look():
        peer = dial()
        peer.send(sent)
        until(lambda: _unacknowledged(peer) == 0, "the acknowledgement")

    undisturbed(look)


def test_request_behind_the_header_is_acknowledged_with_the_answer(serve, target, dial,
                                                                   undisturbed):
    serve(client_port="any")
    service = target()

    def look():
        peer, conn = _ask(service, dial)
        before = _unacknowledged(peer)
        conn.send(b"answer")
        assert peer.recv(6) == b"answer"
        after = _unacknowledged(peer)
        conn.close()
        return before, after

    assert undisturbed(look) == (1, 0)


def test_first_answer_is_acknowledged_at_once(serve, target, dial, undisturbed):
    """The service may hold the rest of it back until then."""
    serve(client_port="any")
    service = target()

    def look():
        peer, conn = _ask(service, dial)
        conn.send(b"answer")
        until(lambda: _unacknowledged(conn) == 0, "the acknowledgement")
        assert peer.recv(6) == b"answer"
        conn.close()

    undisturbed(look)


def test_answer_with_the_end_behind_is_acknowledged_with_the_client_s_end(net, serve, target, dial,
                                                                          undisturbed):
    worker = serve(client_port="any").workers()[0]
    service = target()

    def look():
        peer, conn = _ask(service, dial)
        os.kill(worker, signal.SIGSTOP)  # it is to meet both at once
        conn.send(b"answer")
        conn.finish()
        until(lambda: net.origin.call(_has_ended, conf.SERVICE_PORT), "both to arrive")
        os.kill(worker, signal.SIGCONT)
        peer.expect_end(FIN, b"answer")
        unacknowledged = _unacknowledged(conn)
        peer.close()
        until(lambda conn=conn: _unacknowledged(conn) == 0, "the acknowledgement")
        conn.close()
        return unacknowledged

    assert undisturbed(look) == 2  # the answer and the end
