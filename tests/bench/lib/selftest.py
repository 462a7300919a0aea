# SPDX-License-Identifier: BSD-2-Clause
"""Does the load generator notice what it is there to notice? Tried before every benchmark."""

import select
import socket
import threading

from lib import host, run
from lib.gateways import Direct

RELAY_PORT = 10000


class Relay:
    """A gateway that damages one piece of what flows up, when it is told to."""

    def __init__(self):
        self.damage = None
        self._listener = socket.create_server(("127.0.0.1", RELAY_PORT))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        peer, address = self._listener.accept()
        target = socket.create_connection(("127.0.0.1", 7000), source_address=(address[0], 0))
        try:
            while self._move(peer, target):
                pass
        except OSError:
            pass  # one of them has noticed
        peer.close()
        target.close()

    def _move(self, peer, target):
        for sock in select.select([peer, target], [], [], host.DEADLINE)[0]:
            piece = sock.recv(65536)
            if not piece:
                return False
            if sock is peer and self.damage and len(piece) >= 8192:
                piece, self.damage = self.damage(piece), None
            (target if sock is peer else peer).sendall(piece)
        return True

    def close(self):
        self._listener.close()


class Damaged(Direct):
    def to(self, setup):
        return f"127.0.0.1:{RELAY_PORT}"


def flip(piece):
    return piece[:5000] + bytes([piece[5000] ^ 1]) + piece[5001:]


def drop(piece):
    return piece[:-1]


def swap(piece):
    return piece[4096:8192] + piece[:4096] + piece[8192:]


def _must_fail(what, expected, tools, gateway, work, damage=None, after_warm_up=False, **options):
    with run.stage() as setup:
        relay = Relay() if damage else None
        if relay and not after_warm_up:
            relay.damage = damage
        try:
            with run.session(tools, gateway, setup, work, **options) as (_, _, client):
                if relay:
                    relay.damage = damage
                client.work()
        except host.Failure as failure:
            if expected in str(failure):
                return
            raise host.Failure(f"self-test: {what}: found something else: {failure}") from failure
        finally:
            if relay:
                relay.close()
    raise host.Failure(f"self-test: {what} was not noticed")


def check(tools):
    """Raises Failure where a fault goes unnoticed."""
    _must_fail("a wrong source address", "the target saw", tools, Direct(), "once", claim=True)
    _must_fail("a datagram's wrong source", "the target saw", tools, Direct(), "udp-echo", claim=True)
    _must_fail("a changed byte", "wrong", tools, Damaged(), "up", flip, seconds=1)
    for what, damage in (("a lost byte", drop), ("two pages swapped", swap)):
        _must_fail(what, "wrong", tools, Damaged(), "up", damage, after_warm_up=True,
                   seconds=1, warm_up=0.1)
