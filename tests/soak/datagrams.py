# SPDX-License-Identifier: BSD-2-Clause
"""Sessions over UDP: every answer names whom the service saw, and is waited for."""

import itertools
import socket
import threading
import time

from lib import udp
from lib.chatter import WrongBytes
from lib.conn import family_of
from lib.topology import LOOPBACK_OF, ORIGIN_OF
from lib.wait import DEADLINE

from sessions import Cut, Session, WrongSource

PORTS = dict(zip(udp.MODES, (2225, 2226, 2227)))
IDLE_TIMEOUT = 15  # seconds: no client is silent for so long, and generations that drain end soon
PATIENCE = 1      # seconds, then whoever has lost it is looked for
# Few, so that the table of peers has its full size early.
_PEER_PORTS = itertools.cycle(range(50000, 50256))


def listeners():
    return [udp.listener(mode, name=f"udp-{mode}", listen=[f"0.0.0.0:{port}", f"[::]:{port}"],
                         idle_timeout=IDLE_TIMEOUT) for mode, port in PORTS.items()]


class Service:
    """Answers a datagram with the address it came from in front."""

    def __init__(self, namespace, version):
        self._sock = namespace.socket(family_of(LOOPBACK_OF[version]), socket.SOCK_DGRAM)
        self._sock.bind((LOOPBACK_OF[version], udp.SERVICE_PORT))
        self._sock.settimeout(PATIENCE)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while not self._is_over.is_set():
            try:
                data, (address, port, *_) = self._sock.recvfrom(65536)
                self._sock.sendto(f"{address} {port}\n".encode() + data, (address, port))
            except OSError:
                continue

    def close(self):
        self._is_over.set()
        self._thread.join()
        self._sock.close()


class Datagrams(Session):
    """
    In one mode after the other, IPv4 and IPv6 mixed. What is not answered was lost: only where a
    worker was killed meanwhile.
    """

    def __init__(self, world):
        super().__init__(world)
        self.mode = udp.MODES[self.number % len(udp.MODES)]
        link = self.generator.choice((4, 6))
        self._balancer = self._open(world.net.lb, ORIGIN_OF[link])
        self.endpoints.append((self.mode, link, self._balancer.port))

    def _open(self, namespace, address):
        while True:
            try:
                source = "0.0.0.0" if "." in address else "::"
                return udp.Balancer(namespace, address, PORTS[self.mode], source, next(_PEER_PORTS))
            except OSError:
                continue  # another session has that port

    def run(self):
        try:
            for number in range(self.generator.randrange(1, 20)):
                self._trip(number)
                self.world.over.wait(self.generator.uniform(0, 0.4))
        finally:
            self._balancer.close()

    def _trip(self, number):
        data = b"%d of %d " % (number, self.number) + self.piece(0, 1300)
        head = udp.header_of(self.mode, self.client_address, self.client_port)
        is_bare = self.mode == "first" and number > 0
        sent = time.monotonic()
        self._balancer.send((b"" if is_bare else head) + data)
        while (answer := self._answer()) is None:
            if self.world.killed_at > sent:
                self.world.ledger.count_lost()
                sent = time.monotonic()
                self._balancer.send(head + data)
            elif time.monotonic() - sent > DEADLINE:
                raise Cut(f"datagram {number} of {len(data)} bytes was lost")
        if self.mode == "spp":
            if not answer.startswith(head):
                raise WrongBytes("another header than the client's")
            answer = answer[len(head):]
        seen, _, rest = answer.partition(b"\n")
        if seen.decode() != f"{self.client_address} {self.client_port}":
            raise WrongSource(f"{seen} in place of {self.client_address} {self.client_port}")
        if rest != data and not self._is_repeated(rest):
            raise WrongBytes(f"other bytes than the {len(data)} that were sent")

    def _answer(self):
        self._balancer.sock.settimeout(PATIENCE)
        try:
            return self._balancer.recv()
        except TimeoutError:
            return None

    def _is_repeated(self, rest):
        """The late answer to a datagram that was given up, of this session."""
        return b" of %d " % self.number in rest[:40] and self.world.killed_at > self.began
