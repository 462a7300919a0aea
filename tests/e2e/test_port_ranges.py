# SPDX-License-Identifier: BSD-2-Clause
"""Ranges of ports, and ports that the listener or the header chooses."""

import re

import pytest

from lib import conf, ctl, daemon, header, routing, udp
from lib.conn import RST
from lib.reloading import FAILED, Reloader
from lib.topology import CLIENT4, CLIENT6, CLIENT_OF, LOOPBACK_OF, ORIGIN4, ORIGIN6
from lib.wait import until

METADATA = "169.254.169.254"
RANGES = ["0.0.0.0:2000-2099", "[::]:2000-2099"]


def _refused(peer, client, why):
    return re.escape(f"[?] ssh: {peer.local} refused, proxy protocol source {client}:51234: {why}")


@pytest.mark.parametrize("version", (4, 6))
def test_ports_of_one_range_lead_to_those_of_another(serve, target, session, version):
    gateway = serve(listen=RANGES, target_v4="127.0.0.1:4000-4099", target_v6="[::1]:4000-4099")
    client = CLIENT_OF[version]
    for offset in (0, 42, 99):
        service = target(version, port=4000 + offset)
        peer, conn = session(service, header.v1(client, 51234 + offset), version=version,
                             port=2000 + offset)
        assert conn.peer == f"{client}:{51234 + offset}" if version == 4 \
            else conn.peer == f"[{client}]:{51234 + offset}"
        peer.trip(conn)
    # One line for a range, and the target's own port in a session's.
    assert len(gateway.find(r"\[\+\] Listening on .*")) == 2
    gateway.wait_line(r"\[\+\] ssh: .* connected, .*" + re.escape(f"{LOOPBACK_OF[version]}") + r"\]?:4042")


@pytest.mark.parametrize("version", (4, 6))
def test_the_same_port_as_the_peer_connected_to(serve, target, session, version):
    serve(listen=[f"{ORIGIN4}:2000-2009", f"[{ORIGIN6}]:2000-2009"], target_v4="127.0.0.1:same",
          target_v6="[::1]:same")
    service = target(version, port=2009)
    peer, conn = session(service, header.v1(CLIENT_OF[version], 51234), version=version, port=2009)
    assert conn.peer_address == CLIENT_OF[version]
    peer.trip(conn)


@pytest.mark.parametrize("build", (header.v1, header.v2))
def test_port_of_the_header_is_one_of_the_list(serve, target, session, build):
    serve(target_v4="127.0.0.1:header", target_v6=None, header_ports="8000-8009,9000")
    for port in (8000, 8009, 9000):
        # The address that the header names is of no account.
        peer, conn = session(target(port=port), build(CLIENT4, 51234, METADATA, port))
        assert conn.peer_address == CLIENT4
        peer.trip(conn)


@pytest.mark.parametrize("destination, port", (
    (METADATA, 80), ("127.0.0.1", 22), (ORIGIN4, 8010), (METADATA, 7999), ("10.0.0.1", 9001),
    ("0.0.0.0", 1), (METADATA, 65535), (METADATA, 0), ("127.0.0.1", 0)))
def test_header_that_asks_for_another_port_goes_nowhere(serve, target, dial, destination, port):
    gateway = serve(target_v4="127.0.0.1:header", target_v6=None, header_ports="8000-8009,9000")
    services = [target(port=each) for each in (22, 80, 7999, 8000, 8010, 9001)]
    peer = dial()
    peer.send(header.v2(CLIENT4, 51234, destination, port) + b"GET /latest/meta-data/ HTTP/1.0\r\n\r\n")
    peer.expect_end(RST)
    gateway.wait_line(_refused(peer, CLIENT4, "the header names a port that is not in header_ports"))
    assert all(service.is_untouched() for service in services)


@pytest.mark.parametrize("build", (header.v1, header.v2))
@pytest.mark.parametrize("destination", ("::ffff:169.254.169.254", "::ffff:127.0.0.1", "::1", "fe80::1"))
def test_address_of_an_ipv6_header_leads_nowhere_either(serve, target, dial, session, build, destination):
    """Only the port counts, and only where it is in the list; a v4-mapped client is that IPv4 client."""
    gateway = serve(target_v4="127.0.0.1:header", target_v6="[::1]:header", header_ports="8000-8009")
    services = [target(version, port=22) for version in (4, 6)]
    peer = dial()
    peer.send(build(CLIENT6, 51234, destination, 22))
    peer.expect_end(RST)
    gateway.wait_line(_refused(peer, f"[{CLIENT6}]", "the header names a port that is not in header_ports"))
    _, conn = session(target(6, port=8000), build(CLIENT6, 51234, destination, 8000))
    assert conn.peer_address == CLIENT6
    _, conn = session(target(4, port=8000), build(f"::ffff:{CLIENT4}", 51234, destination, 8000))
    assert conn.peer_address == CLIENT4
    assert all(service.is_untouched() for service in services)


def _to_port(port):
    """A datagram's header."""
    head = bytearray(header.v2(CLIENT4, 51234, METADATA, port))
    head[13] = header.INET << 4 | header.DGRAM
    return bytes(head)


@pytest.mark.parametrize("port", (0, 22, 7999, 8010, 65535))
def test_datagram_that_asks_for_another_port_goes_nowhere(udp_listener, net, balancer, port):
    gateway = udp_listener(target_v4="127.0.0.1:header", target_v6=None, header_ports="8000-8009")
    services = [udp.Service(net.origin, "127.0.0.1", each) for each in (8000, port or 8001)]
    try:
        peer = balancer()
        peer.send(_to_port(port) + b"attack")
        gateway.wait_line(r".*the header names a port that is not in header_ports.*")
        peer.send(_to_port(8000) + b"query")
        assert services[0].recv() == (b"query", (CLIENT4, 51234))
        assert services[1].is_silent()
    finally:
        for service in services:
            service.close()


@pytest.mark.parametrize("head", (header.v2_local(), b"PROXY UNKNOWN\r\n",
                                  header.v2_raw(header.PROXY, 0, 0)))
def test_header_without_a_port_is_refused_in_silence(serve, target, dial, directory, head):
    gateway = serve(target_v4="127.0.0.1:header", target_v6=None, header_ports="8000-8009")
    service = target(port=8000)
    peer = dial()
    peer.send(head)
    peer.expect_end(RST)
    commands = ctl.Ctl(directory)
    until(lambda: commands.listener()["refused"] == {"no_client": 1},
          lambda: f"counted: {commands.listener()}")
    assert not gateway.find(r"\[\?\] .*")
    assert service.is_untouched()


@pytest.mark.release
def test_ten_thousand_ports_and_a_reload(serve, net, target, session, directory):
    gateway = serve(listen="0.0.0.0:20000-29999", target_v4="127.0.0.1:40000-49999", target_v6=None)
    for port in (20000, 24567, 29999):
        peer, conn = session(target(port=port + 20000), header.v1(CLIENT4, port), port=port)
        peer.trip(conn)
    reloader = Reloader(gateway, directory)
    reloader.write([conf.listener(listen="0.0.0.0:20000-30009", target_v4="127.0.0.1:9000-19009",
                                  target_v6=None)])
    reloader.hup_only()
    gateway.wait_line(re.escape("[+] Listening on 0.0.0.0:30000-30009 (ssh)"))
    peer, conn = session(target(port=19009), header.v1(CLIENT4, 51234), port=30009)
    peer.trip(conn)
    reloader.write([conf.listener(listen="0.0.0.0:20000", target_v4="127.0.0.1:9000", target_v6=None)])
    reloader.hup_only()
    gateway.wait_line(re.escape("[-] No longer listening on 0.0.0.0:20001-30009"))
    assert not net.origin.is_listening(24567)
    assert len(gateway.find(r"\[.\] (Listening|No longer listening) on .*")) == 3


def test_limit_of_descriptors_is_a_mistake_when_the_file_is_read(net, launch, directory):
    path = conf.write(directory, [conf.listener(listen="0.0.0.0:20000-29999", target_v6=None)])
    told = (rf"{re.escape(str(path))}:[0-9]+: listener \"ssh\": all ports need 10032 descriptors, but a "
            r"process may have 4096: raise LimitNOFILE= of the unit, or \"ulimit -n\"")
    limited = ("prlimit", "--nofile=4096:4096")
    result = daemon.run(("-n", "-c", path), directory, net.origin, prefix=limited)
    assert result.returncode == 0 and re.search(told, result.stderr)
    gateway = launch(net.origin, "-c", path, prefix=limited)
    gateway.wait_line(told)
    assert gateway.wait_exit() == 78


def test_reload_beyond_the_limit_of_descriptors_changes_nothing(net, launch, directory, target, session):
    def ports(first, last):
        return [conf.listener(listen=f"0.0.0.0:{first}-{last}", target_v4="127.0.0.1:22", target_v6=None)]
    gateway = launch(net.origin, "-c", conf.write(directory, ports(2000, 2499), workers=1),
                     prefix=("prlimit", "--nofile=1024:1024"))
    gateway.wait_workers(1)
    reloader = Reloader(gateway, directory)
    reloader.write(ports(2000, 2999))
    reloader.hup_only(FAILED)
    gateway.wait_line(r".*mmproxy\.conf:[0-9]+: listener \"ssh\": all ports need 1032 descriptors, but a process "
                      r"may have 1024: raise LimitNOFILE= of the unit, or \"ulimit -n\"")
    # Each alone would fit; the old ones and the new ones together do not.
    reloader.write(ports(3000, 3599))
    reloader.hup_only(FAILED)
    gateway.wait_line(r".*can't listen on 0\.0\.0\.0:3[0-9]{3} \(ssh\): Too many open files")
    peer, conn = session(target(), header.v1(CLIENT4, 51234), port=2499)
    peer.trip(conn)
    reloader.write(ports(2000, 2509))
    reloader.hup_only()


def test_check_tries_a_few_ports_and_says_so(net, directory, target):
    path = conf.write(directory, [conf.listener(listen="0.0.0.0:2000-2099", target_v4="127.0.0.1:4000-4099",
                                                target_v6=None)], routing="managed")
    for port in (4000, 4033, 4099):
        target(port=port)
    result = routing.run(net.origin, "check", path, directory)
    assert "[ ] Target server 127.0.0.1:4000-4099 has 100 ports: 3 of them are tried." in result.lines
    for port in (4000, 4033, 4099):
        assert f"[+] OK. Target server 127.0.0.1:{port} is up and reachable using spoofed connection." \
            in result.lines
    assert result.status == 0


def test_udp_client_has_a_session_for_each_port(udp_listener, net, balancer, directory):
    udp_listener(listen="0.0.0.0:5300-5309", target_v4="127.0.0.1:5400-5409", target_v6=None)
    services = [udp.Service(net.origin, "127.0.0.1", port) for port in (5400, 5409)]
    peers = [balancer(port=port) for port in (5300, 5309)]
    try:
        for i, peer in enumerate(peers):
            peer.send(udp.v2(CLIENT4, 51234) + b"to %d" % i)
            assert services[i].recv() == (b"to %d" % i, (CLIENT4, 51234))
        # Both services answer one address and port.
        for i, service in enumerate(services):
            service.send(b"from %d" % i, (CLIENT4, 51234))
            assert peers[i].recv() == b"from %d" % i
        for i, peer in enumerate(peers):
            peer.send(udp.v2(CLIENT4, 51234) + b"again")
            assert services[i].recv() == (b"again", (CLIENT4, 51234))
        assert len(ctl.Ctl(directory).sessions()) == 2
    finally:
        for service in services:
            service.close()


def test_routed_rules_have_the_ranges(net, directory):
    path = conf.write(directory, [conf.listener(
        listen="0.0.0.0:2000-2009", target_v4="127.0.0.1:header", target_v6="[fd99::1]:same",
        header_ports="8000-8009,9000", return_path="routed")])
    result = daemon.run(("--rules", "-c", path), directory, net.origin)
    assert "ip saddr 127.0.0.1 tcp sport 8000-8009 socket transparent 1" in result.stdout
    assert "ip saddr 127.0.0.1 tcp sport 9000 socket transparent 1" in result.stdout
    assert "ip6 saddr fd99::1 tcp sport 2000-2009 socket transparent 1" in result.stdout
