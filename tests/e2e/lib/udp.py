# SPDX-License-Identifier: BSD-2-Clause
"""UDP: load balancers that put a header in front of datagrams, and services that answer."""

import ipaddress
import select
import socket
import struct
import threading

from lib import header
from lib.conn import family_of
from lib.wait import DEADLINE, until

SPP_MAGIC = 0x56EC


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


def drained(balancer, service):
    """Everything that was sent so far has had its effect."""
    until(lambda: balancer.is_silent() and service.is_silent(), "nothing to be under way")
