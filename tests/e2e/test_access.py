# SPDX-License-Identifier: BSD-2-Clause
"""Who gets in: peers by the allowed subnets, clients by what their address would pass for."""

import itertools
import os
import re
import signal

import pytest

from lib import conf, header, lines
from lib.conn import RST, connect, is_acknowledged
from lib.topology import (BROADCAST4, CLIENT4, CLIENT6, LB4, LB6, ORIGIN4, ORIGIN6, ORIGIN_OF,
                          STRANGER_OF)
from lib.wait import until

HEAD = header.v1(CLIENT4, 51234)
PORTS = itertools.count(30000)
AT_ONCE = 20  # lines of a kind, until time has passed


@pytest.mark.parametrize("subnets", (
    f"{LB4}\n{LB6}\n", "10.99.0.0/31 ; two\nfd99::/127 # addresses\n", "0.0.0.0/0\n::/0\n",
    f"# v4-mapped\n::ffff:{LB4}\n{LB6}/128\n", "10.99.0.9/24\r\n\n  fd99::9/64\t\n",
    "10.99.0.0/24\n10.99.0.0/16\n10.0.0.0/8\n10.99.0.0/24\nfd99::/64\nfd99::/16\n"))
def test_peer_in_the_allowed_subnets(serve, target, session, subnets):
    serve(subnets=subnets)
    service = target()
    for link in (4, 6):
        peer, conn = session(service, header.v1(CLIENT4, next(PORTS)), link)
        peer.trip(conn)


@pytest.mark.parametrize("link", (4, 6))
@pytest.mark.parametrize("subnets", (
    f"{LB4}\n{LB6}\n", "10.99.0.0/31\nfd99::/127\n", "",
    "10.99.0.2\n10.99.0.4/30\n10.99.1.0/24\nfd99::2\nfd99::4/126\n"))
def test_peer_that_is_not_allowed(serve, target, dial, link, subnets):
    gateway = serve(subnets=subnets)
    service = target()
    stranger = dial(link, source=STRANGER_OF[link])
    try:
        stranger.send(HEAD)
    except ConnectionError:
        pass  # the reset was there first, and is told only once
    else:
        stranger.expect_end(RST)
    gateway.wait_line(lines.not_allowed(stranger.local))
    assert service.is_untouched()


def test_ipv4_subnets_say_nothing_about_ipv6(serve, dial):
    gateway = serve(subnets="0.0.0.0/0\n")
    peer = dial(6)
    peer.expect_end(RST)
    gateway.wait_line(lines.not_allowed(peer.local))


def test_subnets_of_100_000_lines(serve, target, session, dial):
    """The load balancer's address is the very last one."""
    many = "".join(f"172.{n >> 8 & 255}.{n & 255}.{n >> 16}\n" for n in range(99_999))
    gateway = serve(subnets=many + f"{LB4}\n")
    peer, conn = session(target(), HEAD)
    peer.trip(conn)
    stranger = dial(source=STRANGER_OF[4])
    stranger.expect_end(RST)
    gateway.wait_line(lines.not_allowed(stranger.local))


def test_v6_wildcard_takes_no_v4_mapped_peers(serve, target, dial, session):
    """[::] alone takes IPv6 only; there is no peer whose address would be v4-mapped."""
    serve(listen="[::]:2222", subnets="0.0.0.0/0\n::/0\n")
    with pytest.raises(ConnectionRefusedError):
        dial(4)
    peer, conn = session(target(), HEAD, 6)
    peer.trip(conn)


def test_each_listener_has_its_own_subnets(net, launch, directory, target):
    (directory / "other.subnets").write_text(f"{STRANGER_OF[4]}\n")
    listeners = [conf.listener(), conf.listener(name="other", listen="0.0.0.0:2223",
                                                allowed_subnets="other.subnets")]
    gateway = launch(net.origin, "-c", conf.write(directory, listeners, workers=1))
    gateway.wait_listening(*conf.LISTEN)
    gateway.wait_listening("0.0.0.0:2223", name="other")
    service = target()
    for source, good, bad, name in ((LB4, 2222, 2223, "other"), (STRANGER_OF[4], 2223, 2222, "ssh")):
        refused = connect(net.lb, ORIGIN4, bad, source=source)
        refused.expect_end(RST)
        gateway.wait_line(lines.not_allowed(refused.local, name=name))
        peer = connect(net.lb, ORIGIN4, good, source=source)
        peer.send(header.v1(CLIENT4, next(PORTS)))
        conn = service.accept()
        peer.trip(conn)
        for each in (refused, peer, conn):
            each.close()


@pytest.mark.parametrize("link", (4, 6))
def test_client_of_a_family_without_a_target(serve, target, dial, link):
    gateway = serve(target_v6=None)
    services = target(4), target(6)
    peer = dial(link)
    peer.send(header.v1(CLIENT6, 51234))
    peer.expect_end(RST)
    gateway.wait_line(lines.told(None, re.escape(peer.local)))
    assert all(service.is_untouched() for service in services)


# What a service would take for a local user, or for nobody.
CLAIMS = ("127.0.0.1", "127.1.2.3", "::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1",
          "255.255.255.255", ORIGIN4, ORIGIN6, BROADCAST4, "::ffff:127.0.0.1",
          f"::ffff:{ORIGIN4}", "::ffff:0.0.0.0")

# From these the kernel can connect to a service on loopback; the client that it then sees.
POSSIBLE = {"127.0.0.1": "127.0.0.1", "127.1.2.3": "127.1.2.3", "::1": "::1", ORIGIN4: ORIGIN4,
            ORIGIN6: ORIGIN6, "::ffff:127.0.0.1": "127.0.0.1", f"::ffff:{ORIGIN4}": ORIGIN4}


@pytest.mark.parametrize("version", ("v1", "v2"))
@pytest.mark.parametrize("claim", CLAIMS)
def test_local_claim_is_refused(serve, target, dial, claim, version):
    gateway = serve()
    services = target(4), target(6)
    peer = dial()
    peer.send(header.build(version, claim, 51234) + b"let me in")
    peer.expect_end(RST)
    seen = claim.removeprefix("::ffff:")
    gateway.wait_line(lines.told("?", re.escape(peer.local) + ".*" + re.escape(seen)))
    assert all(service.is_untouched() for service in services)


@pytest.mark.parametrize("claim", POSSIBLE)
def test_local_claim_is_accepted_where_it_is_allowed(serve, target, session, claim):
    serve(allow_local_clients=True)
    seen = POSSIBLE[claim]
    peer, conn = session(target(6 if ":" in seen else 4), header.v2(claim, 51234) + b"hello")
    assert (conn.peer_address, conn.peer_port) == (seen, 51234)
    assert conn.recv(5) == b"hello"
    peer.trip(conn)


@pytest.mark.parametrize("claim, reason", (
    ("fe80::1", "the header names a link-local client, but no interface"),
    ("ff02::1", "the header names a multicast address as the client")))
def test_client_that_no_connection_can_come_from_is_refused(serve, target, dial, claim, reason):
    """It is not the target that failed."""
    gateway = serve(allow_local_clients=True)
    service = target(6)
    peer = dial()
    peer.send(header.v2(claim, 51234) + b"hello")
    peer.expect_end(RST)
    gateway.wait_line(re.escape(
        f"[?] ssh: {peer.local} refused, proxy protocol source [{claim}]:51234: {reason}"))
    assert service.is_untouched()


@pytest.mark.parametrize("claim", sorted(set(CLAIMS) - set(POSSIBLE)))
def test_claim_that_the_kernel_can_not_serve_harms_no_session(serve, target, dial, session, claim):
    """Whatever comes of it where local clients are allowed: it is over, and others work."""
    serve(allow_local_clients=True)
    odd = dial()
    odd.send(header.v2(claim, 51234) + b"hello")
    service = target()
    peer = dial()
    peer.send(header.v1(CLIENT4, 51235))
    while (conn := service.accept()).peer_address != CLIENT4:
        conn.close()
    peer.trip(conn)
    conn.close()


def test_address_that_becomes_local_later_is_refused(net, serve, target, dial, session):
    """An address that the host gets while the gateway runs counts as its own at once."""
    gateway = serve()
    service = target()
    peer, conn = session(service, header.v1("10.77.0.1", 51234))
    peer.trip(conn)
    net.origin.ip("address add 10.77.0.1/32 dev lo")
    refused = dial()
    refused.send(header.v1("10.77.0.1", 51235))
    refused.expect_end(RST)
    gateway.wait_line(lines.told("?", re.escape(refused.local)))
    assert service.is_untouched()


def test_address_that_became_local_while_the_worker_was_busy_is_refused(net, serve, target, dial):
    """The news and the connection are there at the same time: the news goes first."""
    gateway = serve()
    service = target()
    (worker,) = gateway.workers()
    os.kill(worker, signal.SIGSTOP)
    net.origin.ip("address add 10.77.0.1/32 dev lo")
    refused = dial()
    refused.send(header.v1("10.77.0.1", 51235))
    until(lambda: is_acknowledged(refused), "the header to arrive")
    os.kill(worker, signal.SIGCONT)
    refused.expect_end(RST)
    gateway.wait_line(lines.told("?", re.escape(refused.local)))
    assert service.is_untouched()


@pytest.mark.parametrize("claim", ("10.99.0.200", "192.168.1.1", "fd99::200"))
def test_private_addresses_are_no_local_claims(serve, target, dial, claim):
    """A client may well live in the origin's own subnet."""
    serve()
    service = target(6 if ":" in claim else 4)
    peer = dial()
    peer.send(header.v2(claim, 51234))
    conn = service.accept()
    assert conn.peer_address == claim
    peer.trip(conn)
    conn.close()


def test_lines_about_strangers_are_limited_and_counted(net, serve, target, session, clock):
    gateway = serve(options={"env": clock.environment})
    clock.stop()
    for _ in range(300):
        stranger = connect(net.lb, ORIGIN_OF[4], 2222, source=STRANGER_OF[4])
        stranger.expect_end(RST)
        stranger.close()
    peer, conn = session(target(), HEAD)
    peer.trip(conn)
    gateway.wait_line(lines.told("+", "connected"))  # which comes behind those
    told = len(gateway.find(lines.told("?", "is not allowed to connect")))
    assert told == AT_ONCE
    # What was held back is counted, and told at the end at the latest.
    clock.run()
    gateway.stop()
    told = len(gateway.find(lines.told("?", "is not allowed to connect")))
    assert told + sum(map(int, _held_back(gateway))) == 300, gateway.text()


def _held_back(gateway):
    pattern = r"\[\?\] ssh: ([0-9]+) more peers were not allowed to connect"
    return [re.fullmatch(pattern, line)[1] for line in gateway.find(pattern)]
