# SPDX-License-Identifier: BSD-2-Clause
"""What a header's TLVs say: in JSON lines, and of VPC endpoints."""

import json
import re
import ssl
import struct

import pytest

from lib import conf, header, lines, services, udp
from lib.conn import RST, Conn, connect
from lib.target import Target
from lib.topology import CLIENT4, CLIENT_OF, FRONT4, FRONT_OF, LOOPBACK_OF, ORIGIN4
from lib.wait import until

ALPN, AUTHORITY, UNIQUE_ID, SSL, AWS = 0x01, 0x02, 0x05, 0x20, 0xEA
SSL_VERSION, SSL_CN = 0x21, 0x22
JSON = {"target": "stderr", "format": "json"}


def _ssl(client, verify, *subs):
    return header.tlv(SSL, struct.pack("!BI", client, verify) + b"".join(subs))


def _vpce(identity):
    return header.tlv(AWS, b"\x01" + identity)


ALL = (header.tlv(ALPN, b"h2") + header.tlv(AUTHORITY, b"service.example.org")
       + header.tlv(UNIQUE_ID, b"id-1") + _vpce(b"vpce-08d2bf15fac5001c9")
       + _ssl(7, 0, header.tlv(SSL_VERSION, b"TLSv1.3"), header.tlv(SSL_CN, b"joe")))
FACTS = {"alpn": "h2", "authority": "service.example.org", "unique_id": "id-1",
         "vpce": "vpce-08d2bf15fac5001c9", "tls_version": "TLSv1.3", "tls_client_cn": "joe",
         "tls_verified": True}


@pytest.fixture
def json_gateway(net, launch, directory):
    def start(**keys):
        gateway = launch(net.origin, "-c", conf.write(directory, [conf.listener(**keys)], workers=1,
                                                      log=JSON))
        gateway.wait_workers(1)
        return gateway
    return start


def _event(gateway, name):
    def find():
        return [event for event in map(json.loads, list(gateway.lines)) if event.get("event") == name]
    until(find, lambda: f"{name} in {gateway.text()}")
    return find()[-1]


def _facts(event):
    return {key: event[key] for key in FACTS if key in event}


def test_both_lines_of_a_session_have_the_facts(json_gateway, target, session):
    gateway = json_gateway()
    peer, conn = session(target(), header.v2(CLIENT4, 51234, tlvs=ALL) + b"x")
    assert conn.recv(1) == b"x"
    peer.trip(conn)
    assert _facts(_event(gateway, "connected")) == FACTS
    peer.finish()
    conn.close()
    assert _facts(_event(gateway, "disconnected")) == FACTS
    assert "h2" not in _event(gateway, "connected")["message"]


@pytest.mark.parametrize("client, verify, verified", ((7, 0, True), (7, 1, False), (1, 0, False)))
def test_certificate_is_verified_or_not(json_gateway, target, session, client, verify, verified):
    gateway = json_gateway()
    tlvs = _ssl(client, verify, header.tlv(SSL_CN, b"joe"))
    session(target(), header.v2(CLIENT4, 51234, tlvs=tlvs))
    event = _event(gateway, "connected")
    assert event["tls_verified"] is verified and event["tls_client_cn"] == "joe"


@pytest.mark.parametrize("sent, logged", (
    (b"x" * 300, "x" * 256), (b"x" * 65000, "x" * 256), ("🦀".encode() * 16000, "🦀" * 64),
    (b"x" * 254 + "🦀".encode(), "x" * 254), (b"\xf0\x9f\xa6", "\ufffd" * 3),
    (b"\x80" * 300, "\ufffd" * 256), (b"x" * 255 + "é".encode(), "x" * 255), (b"x" * 256, "x" * 256),
    ("é".encode() * 200, "é" * 128), (b"a\"b\\c\n\x00\x1bd", "a\"b\\c\n\x00\x1bd"),
    (b"\x01" * 300, "\x01" * 256), (b"\xff\xfe", "\ufffd\ufffd")),
    ids=lambda value: str(len(value)))
def test_value_is_cut_at_a_character_and_then_escaped(json_gateway, target, session, sent, logged):
    gateway = json_gateway()
    session(target(), header.v2(CLIENT4, 51234, tlvs=header.tlv(AUTHORITY, sent)))
    assert _event(gateway, "connected")["authority"] == logged
    assert all("\n" not in line for line in gateway.lines)


def test_text_lines_do_not_show_them(serve, target, session):
    gateway = serve()
    peer, conn = session(target(), header.v2(CLIENT4, 51234, tlvs=ALL))
    peer.trip(conn)
    gateway.wait_line(lines.connected(peer.local, f"{CLIENT4}:51234", "127.0.0.1:22"))
    for value in ("service.example.org", "vpce-08d2bf15fac5001c9", "TLSv1.3", "id-1"):
        assert value not in gateway.text()


def test_header_that_comes_in_pieces_has_the_facts_too(json_gateway, target, dial):
    gateway = json_gateway()
    service = target()
    peer = dial()
    head = header.v2(CLIENT4, 51234, tlvs=ALL)
    for piece in (head[:20], head[20:60], head[60:]):
        peer.send(piece)
    conn = service.accept()
    assert _facts(_event(gateway, "connected")) == FACTS
    conn.close()


@pytest.mark.parametrize("link", (4, 6))
def test_session_over_udp_has_the_facts(json_gateway, net, link):
    gateway = json_gateway(protocol="udp")
    service = udp.Service(net.origin, LOOPBACK_OF[link], 22)
    sender = udp.Balancer(net.lb, ORIGIN4, 2222)
    sender.send(udp.v2(CLIENT_OF[link], 40000, tlvs=ALL) + b"query")
    assert service.recv() == (b"query", (CLIENT_OF[link], 40000))
    assert _facts(_event(gateway, "connected")) == FACTS
    for each in (service, sender):
        each.close()


ENDPOINTS = ["vpce-1", "vpce-08d2bf15fac5001c9"]
WRONG = "the header has none of this listener's VPC endpoints (endpoints)"


def test_endpoint_in_the_list_comes_in(serve, target, session):
    serve(endpoints=ENDPOINTS)
    peer, conn = session(target(), header.v2(CLIENT4, 51234, tlvs=ALL))
    peer.trip(conn)


@pytest.mark.parametrize("head", (
    header.v2(CLIENT4, 51234), header.v1(CLIENT4, 51234),
    header.v2(CLIENT4, 51234, tlvs=_vpce(b"vpce-2")), header.v2(CLIENT4, 51234, tlvs=_vpce(b"")),
    header.v2(CLIENT4, 51234, tlvs=_vpce(b"vpce-1x")),
    header.v2(CLIENT4, 51234, tlvs=header.tlv(AWS, b"\x02vpce-1")),
    header.v2(CLIENT4, 51234, tlvs=_vpce(b"vpce-2") + _vpce(b"vpce-1"))))
def test_header_without_an_endpoint_of_the_list_is_refused(serve, target, dial, head):
    gateway = serve(endpoints=ENDPOINTS)
    service = target()
    peer = dial()
    peer.send(head + b"hello")
    peer.expect_end(RST)
    gateway.wait_line(re.escape(
        f"[?] ssh: {peer.local} refused, proxy protocol source {CLIENT4}:51234: {WRONG}"))
    assert service.is_untouched()


UNSPEC = header.v2_raw(header.PROXY, header.UNSPEC, header.NONE)


@pytest.mark.parametrize("head", (header.v2_local(), UNSPEC, b"PROXY UNKNOWN\r\n"))
@pytest.mark.parametrize("level", ("info", "debug"))
def test_header_that_names_no_client_is_refused_at_level_debug(serve, target, dial, session, head,
                                                               level):
    gateway = serve(endpoints=ENDPOINTS, settings={"log": {"level": level}})
    service = target()
    peer = dial()
    peer.send(head)
    peer.expect_end(RST)
    assert service.is_untouched()
    line = re.escape(f"[?] ssh: {peer.local} refused: ") + ".*endpoints.*"
    if level == "debug":
        gateway.wait_line(line)
    other, conn = session(service, header.v2(CLIENT4, 51234, tlvs=ALL))
    gateway.wait_line(lines.connected(other.local, f"{CLIENT4}:51234", "127.0.0.1:22"))
    assert bool(gateway.find(line)) == (level == "debug")
    conn.close()


@pytest.mark.parametrize("mode", ("every", "first"))
def test_datagram_without_an_endpoint_of_the_list_is_dropped(net, launch, directory, mode):
    keys = {"protocol": "udp", "udp_header": mode, "endpoints": ENDPOINTS}
    gateway = launch(net.origin, "-c", conf.write(directory, [conf.listener(**keys)], workers=1))
    gateway.wait_workers(1)
    service = udp.Service(net.origin, "127.0.0.1", 22)
    sender = udp.Balancer(net.lb, ORIGIN4, 2222)
    sender.send(udp.v2(CLIENT4, 40000) + b"no endpoint")
    sender.send(udp.v2(CLIENT4, 40000, tlvs=_vpce(b"vpce-2")) + b"another")
    sender.send(udp.v2(CLIENT4, 40000, tlvs=ALL) + b"query")
    assert service.recv() == (b"query", (CLIENT4, 40000))
    gateway.wait_line(lines.told("?", re.escape(WRONG)), 2)
    for each in (service, sender):
        each.close()


@pytest.mark.real
def test_haproxy_names_the_client(real_net, launch, directory, start):
    pem = services.certificate(directory)
    start(services.haproxy(real_net.lb, directory, f"""
listen front
    unique-id-format id-%ci-%cp
    bind {FRONT4}:4443 ssl crt {pem} alpn h2,http/1.1 ca-file {pem}.crt verify optional
    server origin {ORIGIN4}:2222 send-proxy-v2 proxy-v2-options ssl,cert-cn,authority,unique-id
""", [4443]))
    gateway = launch(real_net.origin, "-c", conf.write(directory, [conf.listener()], workers=1,
                                                       log=JSON))
    gateway.wait_workers(1)
    target = Target(real_net.origin, LOOPBACK_OF[4], 22)
    conn = connect(real_net.client, FRONT_OF[4], 4443)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(pem)
    context.set_alpn_protocols(["h2"])
    tls = Conn(context.wrap_socket(conn.sock, server_hostname="service.example.org"),
               (conn.peer_address, conn.peer_port))
    service = target.accept()
    tls.send(b"hello")
    assert service.recv(5) == b"hello"
    event = _event(gateway, "connected")
    assert event["authority"] == "service.example.org"
    assert event["unique_id"] == f"id-{CLIENT4}-{conn.port}"
    assert event["tls_version"] == "TLSv1.3"
    assert event["tls_client_cn"] == "front.example.org"
    assert event["tls_verified"] is True
    for each in (service, tls, target):
        each.close()


def test_a_refused_header_leaves_no_old_client_behind_the_peer(launch, net, directory):
    """udp_header = "first": what follows has no header, and must not go in the old client's name."""
    keys = {"protocol": "udp", "udp_header": "first", "endpoints": ENDPOINTS}
    gateway = launch(net.origin, "-c", conf.write(directory, [conf.listener(**keys)], workers=1))
    gateway.wait_workers(1)
    service = udp.Service(net.origin, "127.0.0.1", 22)
    sender = udp.Balancer(net.lb, ORIGIN4, 2222)
    sender.send(udp.v2(CLIENT4, 40000, tlvs=ALL) + b"one")
    assert service.recv() == (b"one", (CLIENT4, 40000))
    sender.send(udp.v2("198.51.100.8", 40001) + b"of another client, refused")
    sender.send(b"without a header, of the other client")
    sender.send(udp.v2(CLIENT4, 40000, tlvs=ALL) + b"two")
    assert service.recv() == (b"two", (CLIENT4, 40000))
    sender.close()
    service.close()
