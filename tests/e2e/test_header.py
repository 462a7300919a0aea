# SPDX-License-Identifier: BSD-2-Clause
"""Headers: all that is good in them, all that is bad, and what is no header at all."""

import re
import struct

import pytest

from lib import header as h
from lib import lines, proc
from lib.conn import FIN, RST, Conn
from lib.topology import CLIENT4, CLIENT6, LB4, LB_OF
from lib.wait import until

ADDRESSES4 = bytes((198, 51, 100, 7, 203, 0, 113, 80)) + struct.pack("!HH", 51234, 443)

GOOD = {
    "v1 of the greatest length": (b"PROXY TCP6 " + b" ".join(
        [b"2001:0db8:1111:2222:3333:4444:5555:6666"] * 2) + b" 65535 65535\r\n",
        ("2001:db8:1111:2222:3333:4444:5555:6666", 65535)),
    "v2 with a CRC32c": (h.v2(CLIENT4, 51234, with_crc=True), (CLIENT4, 51234)),
    "v2 over IPv6 with a CRC32c": (h.v2(CLIENT6, 51234, with_crc=True), (CLIENT6, 51234)),
    "v2 with every TLV": (h.v2(CLIENT4, 51234, with_crc=True, tlvs=(
        h.tlv(h.ALPN, b"h2") + h.tlv(h.AUTHORITY, b"example.org") + h.tlv(h.NOOP, bytes(9))
        + h.tlv(h.UNIQUE_ID, b"u" * 128) + h.tlv(h.NETNS, b"blue") + h.tlv(0xEA, b"\x01vpce")
        + h.ssl_tlv(sub=h.tlv(h.SSL_VERSION, b"TLSv1.3") + h.tlv(h.SSL_CN, b"client")))),
        (CLIENT4, 51234)),
    "v2 of the greatest length": (h.v2_raw(h.PROXY, h.INET, h.STREAM, ADDRESSES4
                                           + h.tlv(h.NOOP, bytes(65535 - 12 - 3))),
                                  (CLIENT4, 51234)),
    "v2 of the greatest length with a CRC32c": (
        h.v2_raw(h.PROXY, h.INET, h.STREAM, ADDRESSES4 + h.tlv(h.NOOP, bytes(65535 - 12 - 10)),
                 with_crc=True), (CLIENT4, 51234)),
    "v1 with a v4-mapped client": (b"PROXY TCP6 ::ffff:198.51.100.9 ::ffff:203.0.113.80 "
                                   b"51234 443\r\n", ("198.51.100.9", 51234)),
    "v2 with a v4-mapped client": (h.v2("::ffff:198.51.100.9", 51234), ("198.51.100.9", 51234)),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_header(serve, target, session, name):
    head, client = GOOD[name]
    gateway = serve()
    service = target(6 if ":" in client[0] else 4)
    peer, conn = session(service, head + b"and payload")
    assert (conn.peer_address, conn.peer_port) == client
    assert conn.recv(11) == b"and payload"
    peer.trip(conn)
    assert not gateway.find(lines.told("?", ""))


LOCALS = {
    "UNKNOWN": b"PROXY UNKNOWN\r\n",
    "UNKNOWN with addresses": b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
    "LOCAL": h.v2_local(),
    "LOCAL with addresses": h.v2_raw(h.LOCAL, h.INET, h.STREAM, ADDRESSES4),
    "LOCAL with TLVs": h.v2_raw(h.LOCAL, h.UNSPEC, h.NONE, h.tlv(h.NOOP, bytes(3)), with_crc=True),
    "PROXY AF_UNSPEC": h.v2_raw(h.PROXY, h.UNSPEC, h.NONE),
}


@pytest.mark.parametrize("link", (4, 6))
@pytest.mark.parametrize("name", LOCALS)
def test_local_reaches_the_target_from_the_load_balancer_itself(serve, target, session, name,
                                                                link):
    serve()
    peer, conn = session(target(link), LOCALS[name], link)
    assert conn.peer_address == LB_OF[link]
    peer.trip(conn)
    peer.finish()
    conn.expect_end(FIN)


def _expect_nothing_told_about(gateway, peer, dial):
    """After another session's line: lines about the peer would have been written by then."""
    after = dial()
    after.send(h.v1(CLIENT4, 51234))
    gateway.wait_line(lines.told("+", re.escape(f"source {CLIENT4}:51234")))
    assert not gateway.find(f".*{re.escape(peer.local)}.*"), gateway.text()


# As AWS, HAProxy with version 2, and HAProxy with version 1 send them.
NAMELESS = {"family and no addresses": h.v2_raw(h.LOCAL, h.INET, h.STREAM),
            "LOCAL": h.v2_raw(h.LOCAL, h.UNSPEC, h.NONE), "UNKNOWN": b"PROXY UNKNOWN\r\n"}


@pytest.mark.parametrize("header", NAMELESS.values(), ids=NAMELESS)
def test_health_check_that_names_no_client_is_not_logged(serve, target, session, dial, header):
    """HAProxy's checks wrote 86,400 lines a day. They reach the target from the peer."""
    gateway = serve()
    peer, conn = session(target(), header)
    assert conn.peer_address == LB4
    peer.trip(conn)
    peer.finish()
    conn.expect_end(FIN)
    conn.close()
    peer.expect_end(FIN)
    _expect_nothing_told_about(gateway, peer, dial)


@pytest.mark.parametrize("header", NAMELESS.values(), ids=NAMELESS)
def test_health_check_of_a_target_that_is_down_is_not_logged(serve, dial, header):
    gateway = serve()
    peer = dial()
    peer.send(header)
    peer.expect_end(RST)
    peer.close()
    after = dial()
    after.send(h.v1(CLIENT4, 51234))
    gateway.wait_line(lines.told("-", "failed: Connection refused, proxy protocol source "
                                 + re.escape(f"{CLIENT4}:51234")))
    assert not gateway.find(f".*{re.escape(peer.local)}.*"), gateway.text()


@pytest.mark.parametrize("end", ("finish", "reset"))
def test_health_check_without_a_byte_is_not_logged(serve, target, dial, end):
    gateway = serve()
    service = target()
    peer = dial()
    getattr(peer, end)()
    if end == "finish":
        peer.expect_end(FIN)
    assert service.is_untouched()
    _expect_nothing_told_about(gateway, peer, dial)


def test_health_checks_are_logged_at_debug(serve, target, dial):
    gateway = serve(settings={"log": {"level": "debug"}})
    service = target()
    empty = dial()
    empty.finish()
    checks = [empty]
    for header in NAMELESS.values():
        checks.append(dial())
        checks[-1].send(header)
        service.accept().close()
    for peer in checks:
        gateway.wait_line(lines.told(None, re.escape(peer.local)))


def _v1(text):
    return text.encode() + b"\r\n"


BAD = {
    # Version 1.
    "v1 without an end": (b"PROXY UNKNOWN " + b"x" * 93, "v1 line is not terminated"),
    "v1 that ends in LF alone": (b"PROXY TCP4 198.51.100.7 203.0.113.80 51234 443\n" + bytes(107), ""),
    "v1 with CR and no LF": (b"PROXY TCP4 198.51.100.7 203.0.113.80 51234 443\rX" + bytes(107), ""),
    "v1 of an unknown protocol": (_v1("PROXY UDP4 198.51.100.7 203.0.113.80 51234 443"), ""),
    "v1 with TCP5": (_v1("PROXY TCP5 198.51.100.7 203.0.113.80 51234 443"), ""),
    "v1 without a protocol": (_v1("PROXY "), ""),
    "v1 with a host name": (_v1("PROXY TCP4 localhost 203.0.113.80 51234 443"), ""),
    "v1 with a short address": (_v1("PROXY TCP4 198.51.7 203.0.113.80 51234 443"), ""),
    "v1 with an octet of 256": (_v1("PROXY TCP4 198.51.100.256 203.0.113.80 51234 443"), ""),
    "v1 TCP4 with IPv6 addresses": (_v1(f"PROXY TCP4 {CLIENT6} 2001:db8::8 51234 443"), ""),
    "v1 TCP6 with IPv4 addresses": (_v1("PROXY TCP6 198.51.100.7 203.0.113.80 51234 443"), ""),
    "v1 with a scope": (_v1("PROXY TCP6 fe80::1%lo fe80::2 51234 443"), ""),
    "v1 with one address": (_v1("PROXY TCP4 198.51.100.7 51234 443"), ""),
    "v1 with one port": (_v1("PROXY TCP4 198.51.100.7 203.0.113.80 51234"), ""),
    "v1 with port 65536": (_v1("PROXY TCP4 198.51.100.7 203.0.113.80 65536 443"), ""),
    "v1 with a negative port": (_v1("PROXY TCP4 198.51.100.7 203.0.113.80 -1 443"), ""),
    "v1 with a leading zero": (_v1("PROXY TCP4 198.51.100.7 203.0.113.80 051234 443"), ""),
    "v1 with two spaces": (_v1("PROXY TCP4  198.51.100.7 203.0.113.80 51234 443"), ""),
    "v1 with a space at the end": (_v1("PROXY TCP4 198.51.100.7 203.0.113.80 51234 443 "), ""),
    "v1 with a sixth field": (_v1("PROXY TCP4 198.51.100.7 203.0.113.80 51234 443 x"), ""),
    "v1 in small letters": (_v1("proxy tcp4 198.51.100.7 203.0.113.80 51234 443"), ""),
    # Version 2.
    "v2 with a wrong signature": (h.SIGNATURE[:-1] + b"\r" + bytes(4), ""),
    "v2 of version 1": (h.v2_raw(h.PROXY, h.INET, h.STREAM, ADDRESSES4, version=1), ""),
    "v2 of version 3": (h.v2_raw(h.PROXY, h.INET, h.STREAM, ADDRESSES4, version=3), ""),
    "v2 with command 2": (h.v2_raw(2, h.INET, h.STREAM, ADDRESSES4), ""),
    "v2 of family 4": (h.v2_raw(h.PROXY, 4, h.STREAM, ADDRESSES4), ""),
    "v2 of transport 3": (h.v2_raw(h.PROXY, h.INET, 3, ADDRESSES4), ""),
    "v2 over UDP": (h.v2_raw(h.PROXY, h.INET, h.DGRAM, ADDRESSES4), ""),
    "v2 over UNIX": (h.v2_raw(h.PROXY, h.UNIX, h.STREAM, bytes(216)), ""),
    "v2 without addresses": (h.v2_raw(h.PROXY, h.INET, h.STREAM), ""),
    "v2 with cut addresses": (h.v2_raw(h.PROXY, h.INET, h.STREAM, ADDRESSES4[:-1]), ""),
    "v2 IPv6 with IPv4 addresses": (h.v2_raw(h.PROXY, h.INET6, h.STREAM, ADDRESSES4), ""),
    "v2 with a TLV too long": (h.v2(CLIENT4, 1, tlvs=b"\x04\x00\x05abcd"), ""),
    "v2 with half a TLV": (h.v2(CLIENT4, 1, tlvs=b"\x04\x00"), ""),
    "v2 with a wrong CRC32c": (h.v2(CLIENT4, 1, tlvs=h.tlv(h.CRC32C, b"\1\2\3\4")), "(?i:.*crc32c)"),
    "v2 with a CRC32c of 3 bytes": (h.v2(CLIENT4, 1, tlvs=h.tlv(h.CRC32C, b"abc")), "(?i:.*crc32c)"),
    "v2 with a short SSL TLV": (h.v2(CLIENT4, 1, tlvs=h.tlv(h.SSL, b"\1\0\0\0")), ""),
    "v2 with an SSL sub-TLV too long": (h.v2(CLIENT4, 1, tlvs=h.ssl_tlv(sub=b"\x21\0\x09x")), ""),
    "v2 with a unique id too long": (h.v2(CLIENT4, 1, tlvs=h.tlv(h.UNIQUE_ID, b"u" * 129)), ""),
    # No header at all.
    "TLS": (bytes.fromhex("16030100c8010000c40303") + bytes(200),
            r".*looks like a TLS ClientHello \(is the PROXY protocol switched on at the load "
            r"balancer\?\); for peers without it: direct_subnets"),
    "SSH": (b"SSH-2.0-OpenSSH_9.2p1\r\n", ".*looks like.*SSH.*"),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", ".*looks like.*HTTP.*"),
    "noise": (b"\xde\xad\xbe\xef" * 8, ""),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_header_is_logged_reset_and_reaches_no_target(serve, target, dial, name):
    head, reason = BAD[name]
    gateway = serve()
    services = target(4), target(6)
    peer = dial()
    peer.send(head)
    peer.expect_end(RST)
    gateway.wait_line(lines.bad_header(peer.local, reason + ".*" if reason else ".+"))
    assert all(service.is_untouched() for service in services)


def test_silence_is_diagnosed_when_the_header_timeout_is_over(serve, target, dial):
    gateway = serve(header_timeout=1)
    service = target()
    peer = dial()
    peer.expect_end(RST)
    gateway.wait_line(lines.told("?", "nothing was sent"))
    assert service.is_untouched()


def test_header_timeout_is_for_the_whole_header(serve, target, dial):
    """A byte now and then does not prolong it."""
    gateway = serve(header_timeout=1)
    service = target()
    peer = dial()
    head = h.v1(CLIENT4, 51234)
    sent = []

    def is_ended():
        if not peer.is_quiet():
            return True
        if len(sent) < len(head) - 1:
            try:
                peer.send(head[len(sent):len(sent) + 1])
            except ConnectionError:
                return True
            sent.append(1)
        return False

    peer.sock.settimeout(0.05)
    until(is_ended, "the header timeout")
    gateway.wait_line(lines.told("?", re.escape(peer.local)))
    assert service.is_untouched()


def test_slow_header_within_the_timeout_is_fine(net, serve, target, dial):
    serve(header_timeout=60)
    service = target()
    peer = dial()
    head = h.v2(CLIENT4, 51234, with_crc=True)
    for byte in head[:20]:
        peer.send(bytes([byte]))
        until(lambda: net.is_read(peer), "a byte to be read")
    assert service.is_untouched()
    peer.send(head[20:])
    peer.trip(service.accept())


def test_half_a_header_then_fin_is_bad(serve, target, dial):
    gateway = serve()
    service = target()
    peer = dial()
    peer.send(h.v1(CLIENT4, 51234)[:20])
    peer.finish()
    peer.end()
    gateway.wait_line(lines.told("?", re.escape(peer.local)))
    assert service.is_untouched()


def test_half_a_header_then_rst_harms_no_session(serve, target, dial, session):
    serve()
    service = target()
    peer = dial()
    peer.send(h.v1(CLIENT4, 51234)[:20])
    peer.reset()
    session(service, h.v1(CLIENT4, 51235))[0].close()
    assert service.is_untouched()


@pytest.mark.parametrize("end, reason", (
    (Conn.finish, "connection ended within the header"),
    (Conn.reset, "connection was reset within the header")))
def test_an_end_behind_another_piece_of_a_header_is_noticed(net, serve, target, dial, end, reason):
    """The kernel reports both at once and only once."""
    gateway, service, peer = serve(), target(), dial()
    peer.send(h.v1(CLIENT4, 51234)[:10])
    until(lambda: net.is_read(peer), "the first piece to be read")
    with proc.stopped(gateway.workers()[0]):
        peer.send(h.v1(CLIENT4, 51234)[10:20])
        end(peer)
    gateway.wait_line(lines.bad_header(peer.local, reason))
    assert service.is_untouched()


def test_header_then_fin_at_once_is_a_session(serve, target, dial):
    """What was sent before the end must not be lost."""
    serve()
    service = target()
    peer = dial()
    peer.send(h.v1(CLIENT4, 51234) + b"last words")
    peer.finish()
    conn = service.accept()
    conn.expect_end(FIN, b"last words")
    conn.send(b"answer")
    conn.close()
    peer.expect_end(FIN, b"answer")
