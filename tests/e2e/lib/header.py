# SPDX-License-Identifier: BSD-2-Clause
"""PROXY protocol headers, built from the specification and from nothing of mmproxy's."""

import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0, 1
UNSPEC, INET, INET6, UNIX = 0, 1, 2, 3
NONE, STREAM, DGRAM = 0, 1, 2

ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL, NETNS = 0x01, 0x02, 0x03, 0x04, 0x05, 0x20, 0x30
SSL_VERSION, SSL_CN = 0x21, 0x22

DESTINATION_OF = {4: "203.0.113.80", 6: "2001:db8:ffff::80"}


def version_of(address):
    return ipaddress.ip_address(address).version


def v1(client, port, destination=None, destination_port=443):
    version = version_of(client)
    destination = destination or DESTINATION_OF[version]
    return f"PROXY TCP{version} {client} {destination} {port} {destination_port}\r\n".encode()


def v2(client, port, destination=None, destination_port=443, tlvs=b"", with_crc=False):
    version = version_of(client)
    destination = destination or DESTINATION_OF[version]
    block = (ipaddress.ip_address(client).packed + ipaddress.ip_address(destination).packed
             + struct.pack("!HH", port, destination_port))
    return v2_raw(PROXY, INET if version == 4 else INET6, STREAM, block + tlvs, with_crc)


def v2_raw(command, family, transport, body=b"", with_crc=False, version=2):
    """Any version 2 header, right or wrong; the length field is the body's."""
    if with_crc:
        body += tlv(CRC32C, b"\0\0\0\0")
    header = SIGNATURE + struct.pack("!BBH", version << 4 | command, family << 4 | transport,
                                     len(body)) + body
    if with_crc:
        header = header[:-4] + struct.pack("!I", crc32c(header))
    return header


def v2_local():
    return v2_raw(LOCAL, UNSPEC, NONE)


def build(version, client, port):
    return v1(client, port) if version == "v1" else v2(client, port)


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def ssl_tlv(client=1, verify=0, sub=b""):
    return tlv(SSL, struct.pack("!BI", client, verify) + sub)


def crc32c(data):
    """Bit by bit, reflected, polynomial 0x1EDC6F41."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
