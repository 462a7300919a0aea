# SPDX-License-Identifier: BSD-2-Clause
"""Conntrack of a network namespace that has no room left."""

import ipaddress
import pathlib
import socket
import struct

NETLINK_NETFILTER, NEW = 12, 0x100
REQUEST, EXCLUSIVE, CREATE = 0x1, 0x200, 0x400
NESTED = 0x8000
TUPLE_ORIGINAL, TUPLE_REPLY, STATUS, TIMEOUT = 1, 2, 3, 7
ASSURED = 0xe  # and confirmed, with replies seen: never dropped for another one
AT_ONCE = 1024


def _attribute(kind, *parts):
    data = b"".join(parts)
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _tuple(kind, source, destination, source_port, destination_port):
    return _attribute(
        kind | NESTED,
        _attribute(1 | NESTED, _attribute(1, source), _attribute(2, destination)),
        _attribute(2 | NESTED, _attribute(1, bytes([socket.IPPROTO_UDP])),
                   _attribute(2, struct.pack(">H", source_port)),
                   _attribute(3, struct.pack(">H", destination_port))))


def _entry(client, port):
    """A flow that nothing belongs to, for a few minutes."""
    service = ipaddress.ip_address("10.9.9.9").packed
    body = (struct.pack(">BBH", socket.AF_INET, 0, 0)
            + _tuple(TUPLE_ORIGINAL, client, service, port, 9)
            + _tuple(TUPLE_REPLY, service, client, 9, port)
            + _attribute(STATUS, struct.pack(">I", ASSURED))
            + _attribute(TIMEOUT, struct.pack(">I", 300)))
    return struct.pack("=IHHII", 16 + len(body), NEW, REQUEST | CREATE | EXCLUSIVE, 0, 0) + body


def _read(name):
    return int(pathlib.Path(f"/proc/sys/net/netfilter/nf_conntrack_{name}").read_text("ascii"))


def fill(namespace):
    """
    The namespace can't have a lower limit than the host, so it gets as many entries: what differs
    from one message of many entries to the next is a part of the client's address.
    """
    client = bytes([10, 0, 0, 0])
    entries = [_entry(client, port) for port in range(1, 1 + AT_ONCE)]
    size = len(entries[0])
    message = bytearray(b"".join(entries))
    places = [i for i in range(size) if entries[0][i:i + 4] == client]
    with namespace.call(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(message))
        for number in range(namespace.call(_read, "max") // AT_ONCE + 1):
            for place in places:
                message[place + 2::size] = bytes([number >> 8]) * AT_ONCE
                message[place + 3::size] = bytes([number & 255]) * AT_ONCE
            sock.send(message)
    assert namespace.call(_read, "count") >= namespace.call(_read, "max")
