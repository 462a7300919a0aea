# SPDX-License-Identifier: BSD-2-Clause
"""direct_subnets: peers that are the client themselves and send no header."""

import itertools
import re

import pytest

from lib import conf, daemon, header, lines, udp
from lib.conn import RST
from lib.reloading import Reloader
from lib.topology import (CLIENT4, CLIENT_OF, LB4, LB6, LOOPBACK_OF, ORIGIN_OF, STRANGER4, STRANGER6,
                          STRANGER_OF)

DIRECT = [STRANGER4, STRANGER6]
PORT = 5300


@pytest.mark.parametrize("link", (4, 6))
def test_direct_peer_is_the_client_and_the_service_may_speak_first(serve, target, dial, link):
    gateway = serve(direct_subnets=DIRECT)
    service = target(link)
    peer = dial(link, source=STRANGER_OF[link])
    conn = service.accept()
    assert conn.peer == peer.local
    conn.send(b"220 hello\r\n")
    assert peer.recv(11) == b"220 hello\r\n"
    peer.trip(conn)
    local = f"{LOOPBACK_OF[link]}:22" if link == 4 else f"[{LOOPBACK_OF[link]}]:22"
    gateway.wait_line(re.escape(f"[+] ssh: {peer.local} connected, local destination {local}"))
    peer.close()
    conn.close()
    gateway.wait_line(re.escape(f"[-] ssh: {peer.local} disconnected, ") + r"[0-9]+\.[0-9]{3} s, .*")
    assert "proxy protocol source" not in gateway.text()


@pytest.mark.parametrize("version", ("v1", "v2"))
def test_header_from_a_direct_peer_is_payload(serve, target, dial, version):
    serve(direct_subnets=DIRECT)
    service = target()
    head = header.build(version, CLIENT4, 51234)
    peer = dial(source=STRANGER4)
    peer.send(head + b"hello")
    conn = service.accept()
    assert conn.peer == peer.local
    assert conn.recv(len(head) + 5) == head + b"hello"
    conn.close()


def test_other_peers_still_need_a_header(serve, target, dial, session):
    gateway = serve(direct_subnets=DIRECT)
    service = target()
    peer, conn = session(service, header.v1(CLIENT4, 51234))
    assert conn.peer_address == CLIENT4
    peer.trip(conn)
    bare = dial()
    bare.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    bare.expect_end(RST)
    gateway.wait_line(lines.bad_header(bare.local))
    assert service.is_untouched()


def test_peer_in_neither_list_is_refused(serve, target, dial):
    gateway = serve(direct_subnets=["192.0.2.0/24"])
    service = target()
    peer = dial(source=STRANGER4)
    peer.expect_end(RST)
    gateway.wait_line(lines.not_allowed(peer.local))
    assert service.is_untouched()


@pytest.mark.parametrize("allowed, direct", (
    ([LB4], ["10.99.0.0/24"]), (["10.99.0.0/24"], [STRANGER4]), ([f"{LB4}/32"], ["0.0.0.0/0"])))
def test_longer_prefix_decides(serve, target, dial, session, allowed, direct):
    serve(allowed_subnets=allowed, direct_subnets=direct)
    service = target()
    peer, conn = session(service, header.v1(CLIENT4, 51234))
    assert conn.peer_address == CLIENT4
    peer.trip(conn)
    peer = dial(source=STRANGER4)
    conn = service.accept()
    assert conn.peer == peer.local
    conn.close()


def test_direct_client_of_a_family_without_a_target(serve, target, dial):
    gateway = serve(direct_subnets=DIRECT, target_v6=None)
    service = target()
    peer = dial(6, source=STRANGER6)
    peer.expect_end(RST)
    gateway.wait_line(re.escape(
        f"[?] ssh: {peer.local} refused: no target for IPv6 clients (target_v6)"))
    assert service.is_untouched()


def test_limit_for_a_client_is_for_a_direct_one_too(serve, target, dial):
    gateway = serve(direct_subnets=DIRECT, max_sessions_per_client=1)
    service = target()
    first = dial(source=STRANGER4)
    conn = service.accept()
    second = dial(source=STRANGER4)
    second.expect_end(RST)
    gateway.wait_line(lines.told("?", re.escape(second.local) + " refused: .*max_sessions_per_client"))
    first.trip(conn)
    conn.close()


def test_same_subnet_in_both_is_reported_at_both_places(net, directory):
    path = conf.write(directory, [conf.listener(direct_subnets=[f"{LB4}"])])
    done = daemon.run(["-n", "-c", path], directory, net.origin)
    assert done.returncode == 78
    text = done.stderr
    assert re.search(r"lb\.subnets:1: .* is in \"direct_subnets\" too \(.*mmproxy\.conf:[0-9]+\)", text)
    assert re.search(r"mmproxy\.conf:[0-9]+: .* is in \"allowed_subnets\" too \(.*lb\.subnets:1\)", text)


def test_reload_makes_a_peer_direct(serve, target, dial, directory):
    gateway = serve()
    service = target()
    stranger = dial(source=STRANGER4)
    stranger.expect_end(RST)
    Reloader(gateway, directory).reload([conf.listener(direct_subnets=DIRECT)])
    peer = dial(source=STRANGER4)
    conn = service.accept()
    assert conn.peer == peer.local
    conn.close()


@pytest.mark.parametrize("mode, link", itertools.product(("every", "first", "spp"), (4, 6)))
def test_datagrams_of_a_direct_peer_have_no_header(net, launch, directory, mode, link):
    keys = {"name": "dns", "protocol": "udp", "udp_header": mode, "direct_subnets": DIRECT,
            "listen": [f"0.0.0.0:{PORT}", f"[::]:{PORT}"],
            "target_v4": "127.0.0.1:53", "target_v6": "[::1]:53"}
    gateway = launch(net.origin, "-c", conf.write(directory, [conf.listener(**keys)], workers=1))
    gateway.wait_workers(1)
    service = udp.Service(net.origin, LOOPBACK_OF[link], 53)
    client = udp.Balancer(net.lb, ORIGIN_OF[link], PORT, source=STRANGER_OF[link])
    balancer = udp.Balancer(net.lb, ORIGIN_OF[link], PORT, source={4: LB4, 6: LB6}[link])
    own = (STRANGER_OF[link], client.port)
    head = udp.header_of(mode, CLIENT_OF[link], 40000)
    # A header in front is payload, as are bytes without one, and none at all.
    for data in (b"query", head + b"query", b""):
        client.send(data)
        assert service.recv() == (data, own)
        service.send(b"answer", own)
        assert client.recv() == b"answer"
    balancer.send(b"no header")
    gateway.wait_line(lines.bad_header(f"{LB4}:{balancer.port}" if link == 4 else
                                       f"[{LB6}]:{balancer.port}", name="dns"))
    balancer.send(head + b"query")
    assert service.recv() == (b"query", (CLIENT_OF[link], 40000))
    for each in (service, client, balancer):
        each.close()
