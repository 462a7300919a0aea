# SPDX-License-Identifier: BSD-2-Clause
"""UDP: load balancers that put a header in front of datagrams, and services that answer."""

import ipaddress
import select
import socket
import struct
import threading

from lib import conf, header
from lib.conn import family_of
from lib.topology import CLIENT_OF, ORIGIN_OF
from lib.wait import DEADLINE, until

SPP_MAGIC = 0x56EC
MODES = ("every", "first", "spp")
PORT = 5300
SERVICE_PORT = 53


def v2(client, port, **options):
    """The header of a datagram from that client."""
    version = header.version_of(client)
    destination = header.DESTINATION_OF[version]
    block = (ipaddress.ip_address(client).packed + ipaddress.ip_address(destination).packed
             + struct.pack("!HH", port, 53))
    return header.v2_raw(header.PROXY, header.INET if version == 4 else header.INET6, header.DGRAM,
                         block + options.pop("tlvs", b""), **options)


def spp(client, port, proxy=None, proxy_port=53):
    """38 bytes of the Simple Proxy Protocol."""
    proxy = proxy or header.DESTINATION_OF[header.version_of(client)]
    return struct.pack("!H16s16sHH", SPP_MAGIC, _mapped(client), _mapped(proxy), port, proxy_port)


def _mapped(address):
    packed = ipaddress.ip_address(address).packed
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed


def header_of(mode, client, port):
    """What stands in front of a client's first datagram."""
    return spp(client, port) if mode == "spp" else v2(client, port)


class Balancer:
    """One socket of a load balancer, from one address and port, towards one listener."""

    def __init__(self, namespace, address, port, source=None, source_port=0):
        self.sock = namespace.socket(family_of(address), socket.SOCK_DGRAM)
        if source:
            self.sock.bind((source, source_port))
        self.sock.connect((address, port))
        self.sock.settimeout(DEADLINE)

    @property
    def port(self):
        return self.sock.getsockname()[1]

    def send(self, data):
        self.sock.send(data)

    def recv(self):
        return self.sock.recv(65536)

    def is_silent(self):
        """Is nothing there, right now?"""
        return not select.select([self.sock], [], [], 0)[0]

    def close(self):
        self.sock.close()


class Service:
    """A UDP service that a test drives by hand."""

    def __init__(self, namespace, address, port):
        self.sock = namespace.socket(family_of(address), socket.SOCK_DGRAM)
        if self.sock.family == socket.AF_INET6:
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.sock.bind((address, port))
        self.sock.settimeout(DEADLINE)

    def recv(self):
        """(payload, (address, port))"""
        data, source = self.sock.recvfrom(65536)
        return data, source[:2]

    def send(self, data, source):
        self.sock.sendto(data, source)

    def is_silent(self):
        return not select.select([self.sock], [], [], 0)[0]

    def close(self):
        self.sock.close()


class Echo(Service):
    """Sends back what it gets; remembers who sent what."""

    def __init__(self, *args):
        super().__init__(*args)
        self.seen = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            select.select([self.sock], [], [])
            try:
                data, source = self.sock.recvfrom(65536)
                if data == b"end of the test":
                    return
                self.seen.append((data, source[:2]))
                self.sock.sendto(data, source)
            except OSError:
                continue

    def close(self):
        address, port = self.sock.getsockname()[:2]
        address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
        # From the namespace of the service: its own socket is in it.
        self.sock.sendto(b"end of the test", (address, port))
        self._thread.join(DEADLINE)
        super().close()


def listener(mode="every", **keys):
    """A UDP listener "dns"."""
    usual = {"name": "dns", "protocol": "udp", "udp_header": mode,
             "listen": [f"0.0.0.0:{PORT}", f"[::]:{PORT}"], "return_path": "loopback",
             "target_v4": f"127.0.0.1:{SERVICE_PORT}", "target_v6": f"[::1]:{SERVICE_PORT}"}
    return conf.listener(**(usual | keys))


class Clients:
    """
    Clients that ask by turns, each from a port of the load balancer of its own, and wait for the
    answer. With a thread, until stop().
    """

    FIRST_PORT = 20000

    def __init__(self, net, mode, echo, size=32):
        self.mode, self.echo = mode, echo
        self.balancers = [Balancer(net.lb, ORIGIN_OF[4], PORT) for _ in range(size)]
        self.sent = self.lost = 0
        self.senders = {}  # by payload: who it is from
        self._thread = None
        self._is_over = threading.Event()

    def ask(self, client, patience=DEADLINE):
        """One datagram there and back; what is not answered is lost."""
        balancer = self.balancers[client]
        address, port = CLIENT_OF[4], self.FIRST_PORT + client
        payload = b"%d of %d" % (self.sent, client)
        is_bare = self.mode == "first" and self.sent >= len(self.balancers)
        head = b"" if is_bare else header_of(self.mode, address, port)
        self.senders[payload] = (address, port)
        balancer.send(head + payload)
        self.sent += 1
        wanted = (head if self.mode == "spp" else b"") + payload
        balancer.sock.settimeout(patience)
        try:
            while balancer.recv() != wanted:
                pass  # the answer to one that was given up
        except TimeoutError:
            self.lost += 1

    def round(self, patience=DEADLINE):
        for client in range(len(self.balancers)):
            self.ask(client, patience)

    def start(self, patience=DEADLINE):
        def run():
            while not self._is_over.is_set():
                self.round(patience)
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def take_turns(self):
        """Waits until each has asked anew and has had the answer."""
        turns = self.sent + 2 * len(self.balancers)
        until(lambda: self.sent >= turns, lambda: f"{turns} datagrams, {self.sent} were sent")

    def stop(self):
        self._is_over.set()
        self._thread.join()

    def misattributed(self):
        """What the service saw from somebody else than who sent it."""
        return [(data, source) for data, source in self.echo.seen
                if self.senders[data] != source]

    def close(self):
        for balancer in self.balancers:
            balancer.close()


def drained(balancer, service):
    """Everything that was sent so far has had its effect."""
    until(lambda: balancer.is_silent() and service.is_silent(), "nothing to be under way")
