# SPDX-License-Identifier: BSD-2-Clause
"""
What a session of the soak does, at both its ends: each kind has client(conn), which runs at the
load balancer, and target(conn), which runs at the service behind the gateway.
"""

import errno
import itertools
import random
import socket
import threading
import time

from lib import header
from lib.chatter import WrongBytes, next_client
from lib.conn import FIN, RST, connect
from lib.conf import PORT
from lib.topology import ORIGIN_OF, STRANGER_OF
from lib.wait import DEADLINE

EXTRA_PORT = 2224
# A kernel does not act on a reset that comes behind a segment for which it had no room, but asks
# back (RFC 5961); and where the gateway's connection to an IPv4 service is gone, nobody answers:
# the client's address is not this host's. So it takes keepalive to notice, which everybody has
# here. All that is noticed before, however slow the machine is, is not late.
KEEPALIVE = 30  # seconds of silence before the first probe
PROBES, PROBE_EVERY = 2, 5
LATE = KEEPALIVE - 0.5
TOKEN_SIZE = 12
_NUMBERS = itertools.count(1)
_POOL = random.Random(1).randbytes(8 << 20)


class WrongSource(Exception):
    """The target was reached from another address or port than the header's."""


class Cut(Exception):
    """It ended as it should not have: somebody's kill, or a failure."""


def expect(conn, data):
    if conn.recv(len(data)) != data:
        raise WrongBytes(f"other bytes than the {len(data)} that were sent")


def end_of(conn):
    """As conn.end(); a connection that keepalive has given up has been reset, if late."""
    try:
        return conn.end()
    except TimeoutError as error:
        if error.errno != errno.ETIMEDOUT:
            raise
        return b"", RST


def expect_end(conn, how=FIN):
    rest, ended = end_of(conn)
    if rest:
        raise WrongBytes(f"{len(rest)} bytes more than were sent")
    if ended != how:
        raise Cut(f"{ended} at the end, not {how}")


def expect_cut_off(conn, data):
    """A transfer that was reset: some of it, and never as if it were complete."""
    got, ended = end_of(conn)
    if not data.startswith(got):
        raise WrongBytes(f"{len(got)} other bytes than were sent")
    if ended != RST:
        raise Cut(f"{len(got)} of {len(data)} bytes, then {ended}: a reset looks complete")


def keep_alive(conn):
    for level, option, value in ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                                 (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE),
                                 (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY),
                                 (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)):
        conn.sock.setsockopt(level, option, value)


class Session:
    """
    world: who cuts sessions, and when all are to end. endpoints: those of the gateway's two
    connections, as the gateway sees their other ends.
    """

    port = PORT

    def __init__(self, world):
        self.number = next(_NUMBERS)
        self.world = world
        self.generator = random.Random(self.number)
        self.version = self.generator.choice((4, 6))
        self.client_address, self.client_port = _client(self.version)
        self.began = time.monotonic()
        self.endpoints = []
        self.accepted = threading.Event()  # by the service
        self._target_done = threading.Event()
        self._target_error = None

    def run(self):
        """From connect to the end at both sides; raises what went wrong at either."""
        conn = connect(self.world.net.lb, ORIGIN_OF[self.version], self.port, **self.options())
        self.endpoints.append((conn.address, conn.port))
        try:
            keep_alive(conn)
            self.begin(conn)
            self.client(conn)
        finally:
            conn.close()
        if not self._target_done.wait(2 * DEADLINE):
            raise Cut("the target has not seen its end")
        if self._target_error:
            raise self._target_error

    def serve(self, conn):
        """The same at the service, in another thread."""
        self.endpoints.append((conn.peer_address, conn.peer_port))
        self.accepted.set()
        try:
            if (conn.peer_address, conn.peer_port) != (self.client_address, self.client_port):
                raise WrongSource(f"{conn.peer} in place of {self.client_address} "
                                  f"port {self.client_port}")
            keep_alive(conn)
            self.target(conn)
        except Exception as error:
            self._target_error = error
            if isinstance(error, (WrongBytes, WrongSource)):
                self.world.ledger.fail(self, error)
        finally:
            conn.close()
            self._target_done.set()

    def head(self):
        build = self.generator.choice((header.v1, header.v2))
        return build(self.client_address, self.client_port)

    def token(self):
        """By which the service knows whose connection it has accepted."""
        return b"%011d\n" % self.number

    def begin(self, conn):
        conn.send(self.head() + self.token())

    def piece(self, least, most):
        size = self.generator.randrange(least, most)
        start = self.generator.randrange(len(_POOL) - size)
        return _POOL[start:start + size]

    def options(self):
        """For connect()."""
        return {}

    def client(self, conn):
        raise NotImplementedError

    def target(self, conn):
        raise NotImplementedError


def _client(version):
    address, port = next_client()
    if version == 6:
        _, _, network, _ = address.split(".")
        address = f"2001:db8:{network}::9"
    return address, port


class Echo(Session):
    """The service sends back what it gets, and ends when the client has."""

    def target(self, conn):
        while data := conn.sock.recv(65536):
            conn.send(data)

    def trip(self, conn, least, most):
        data = self.piece(least, most)
        conn.send(data)
        expect(conn, data)

    def finish(self, conn):
        conn.finish()
        expect_end(conn)


class Short(Echo):
    """A few questions and answers."""

    def client(self, conn):
        for _ in range(self.generator.randrange(1, 5)):
            self.trip(conn, 1, 20000)
        self.finish(conn)


class Long(Echo):
    """Kept over many reloads, with a word now and then."""

    def client(self, conn):
        end = self.began + self.generator.uniform(20, 300)
        while time.monotonic() < end and not self.world.over.wait(self.generator.uniform(0.2, 2)):
            self.trip(conn, 1, 4000)
        self.trip(conn, 1, 4000)
        self.finish(conn)


class Extra(Echo):
    """Through the listener that comes and goes; once accepted it is like any other."""

    port = EXTRA_PORT

    def client(self, conn):
        for _ in range(self.generator.randrange(1, 20)):
            self.trip(conn, 1, 4000)
            self.world.over.wait(0.3)
        self.finish(conn)


class SlowSender(Echo):
    """A header in pieces, then a byte at a time."""

    def begin(self, conn):
        data = self.head() + self.token()
        for start in range(0, len(data), 16):
            conn.send(data[start:start + 16])
            self.world.over.wait(0.1)

    def client(self, conn):
        for _ in range(self.generator.randrange(20, 80)):
            self.trip(conn, 1, 2)
            self.world.over.wait(0.1)
        self.finish(conn)


class Bulk(Session):
    """Megabytes both ways at once."""

    def __init__(self, world):
        super().__init__(world)
        self.up, self.down = self.piece(1 << 20, 6 << 20), self.piece(1 << 20, 6 << 20)

    def client(self, conn):
        self._exchange(conn, self.up, self.down)

    def target(self, conn):
        self._exchange(conn, self.down, self.up)

    @staticmethod
    def _exchange(conn, mine, other):
        errors = []

        def send():
            try:
                conn.send(mine)
                conn.finish()
            except OSError as error:
                errors.append(error)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        try:
            expect(conn, other)
            expect_end(conn)
        finally:
            sender.join()
        if errors:
            raise errors[0]


class HalfClosedByClient(Session):
    """The answer comes when the client has ended its side."""

    def __init__(self, world):
        super().__init__(world)
        self.question, self.answer = self.piece(1, 200_000), self.piece(1, 200_000)

    def client(self, conn):
        conn.send(self.question)
        conn.finish()
        expect(conn, self.answer)
        expect_end(conn)

    def target(self, conn):
        expect(conn, self.question)
        expect_end(conn)
        conn.send(self.answer)
        conn.finish()


class HalfClosedByTarget(HalfClosedByClient):
    """The same with the roles exchanged."""

    def client(self, conn):
        super().target(conn)

    def target(self, conn):
        super().client(conn)


class ResetByClient(Session):
    """In the midst of a transfer, or when all of it has arrived."""

    def __init__(self, world):
        super().__init__(world)
        self.data, self.is_patient = self.piece(1, 400_000), self.generator.random() < 0.5
        self._reset_at = 0

    def client(self, conn):
        conn.send(self.data)
        if self.is_patient:
            expect(conn, b"!")
        elif not self.accepted.wait(DEADLINE):
            raise Cut("the service was not reached")
        self._reset_at = time.monotonic()
        conn.reset()

    def target(self, conn):
        if self.is_patient:
            expect(conn, self.data)
            conn.send(b"!")
            expect_end(conn, RST)
        else:
            expect_cut_off(conn, self.data)
        if time.monotonic() - self._reset_at > LATE:
            self.world.ledger.count_late()


class ResetByTarget(ResetByClient):
    """The same with the roles exchanged."""

    def client(self, conn):
        super().target(conn)

    def target(self, conn):
        super().client(conn)


class SlowReader(Session):
    """Some KiB at a time of what the service sends as fast as it can."""

    def __init__(self, world):
        super().__init__(world)
        self.data = self.piece(200_000, 600_000)

    def options(self):
        return {"receive_buffer": 8192}

    def client(self, conn):
        for start in range(0, len(self.data), 8192):
            expect(conn, self.data[start:start + 8192])
            self.world.over.wait(0.04)
        expect_end(conn)

    def target(self, conn):
        conn.send(self.data)
        conn.finish()
        expect_end(conn)


class Stranger(Session):
    """Not from an allowed subnet: turned away, and no service hears of it."""

    def run(self):
        conn = connect(self.world.net.lb, ORIGIN_OF[self.version], self.port,
                       source=STRANGER_OF[self.version])
        self.endpoints.append((conn.address, conn.port))
        try:
            conn.send(self.head() + self.token())
            expect_end(conn, RST)
        except ConnectionError:
            pass  # reset before the header was sent
        finally:
            conn.close()
        if self.accepted.is_set():
            raise WrongSource("a stranger has reached the service")
