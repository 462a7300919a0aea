# SPDX-License-Identifier: BSD-2-Clause
"""map_v4 and map_v6: clients of one family, and a service that has the other alone."""

import hashlib
import hmac
import ipaddress
import json
import re
import stat
import struct

import pytest

from lib import conf, ctl, daemon, header, udp
from lib.topology import CLIENT4, CLIENT6
from lib.wait import until

POOL = "240.0.0.0/4"
MAPPED4 = "64:ff9b::c633:6407"  # CLIENT4
KEY = bytes(range(32))


def _mapped(client, key=KEY):
    network = ipaddress.ip_network(POOL)
    block = ipaddress.ip_address(client).packed[:8] + b"\0"
    word = struct.unpack("!I", hmac.new(key, block, hashlib.sha256).digest()[:4])[0]
    return str(network.network_address + (word & int(network.hostmask)))


@pytest.fixture
def key(directory):
    """The file of the key, with a known one."""
    path = directory / "map.key"
    path.write_bytes(KEY)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("path", ("loopback", "fwmark"))
def test_ipv6_client_reaches_a_service_of_ipv4_alone(net, launch, directory, target, session, key, path):
    gateway = launch(net.origin, "-c", conf.write(
        directory, [conf.listener(target_v6=None, map_v6=POOL, map_key=str(key), return_path=path)],
        workers=1, routing="managed"))
    gateway.wait_listening(*conf.LISTEN)
    gateway.wait_workers(1)
    service = target()
    mapped = _mapped(CLIENT6)
    peer, conn = session(service, header.v1(CLIENT6, 51234))
    assert conn.peer == f"{mapped}:51234"
    peer.trip(conn)
    gateway.wait_line(r"\[\+\] ssh: .* connected, "
                      + re.escape(f"proxy protocol source [{CLIENT6}]:51234 as {mapped}, local destination ") + ".*")
    # Another address of its /64, and its port: the kernel finds another port.
    twin = str(ipaddress.ip_address(CLIENT6) + 1)
    second, other = session(service, header.v1(twin, 51234))
    assert other.peer_address == mapped and other.peer != conn.peer
    second.trip(other)
    commands = ctl.Ctl(directory)
    for address in (CLIENT6, mapped):
        answer = commands.ask("map", address)
        found = {(each["client"], each["mapped"].split(":")[0]) for each in answer if each["type"] == "session"}
        assert (f"[{CLIENT6}]:51234", mapped) in found
    assert {"type": "map", "listener": "ssh", "client": CLIENT6, "mapped": mapped}.items() \
        <= commands.ask("map", CLIENT6)[0].items()
    # IPv4 clients are themselves.
    peer, conn = session(service, header.v1(CLIENT4, 51234))
    assert conn.peer == f"{CLIENT4}:51234"


def test_ipv4_client_reaches_a_service_of_ipv6_alone(serve, target, session, directory):
    gateway = serve(target_v4=None, map_v4="64:ff9b::/96")
    peer, conn = session(target(6), header.v2(CLIENT4, 51234))
    assert conn.peer == f"[{MAPPED4}]:51234"
    peer.trip(conn)
    gateway.wait_line(r".* as " + re.escape(MAPPED4) + ", local destination .*")
    for address in (CLIENT4, MAPPED4):
        line = ctl.Ctl(directory).ask("map", address)[0]
        assert (line["type"], line["client"], line["mapped"]) == ("map", CLIENT4, MAPPED4)


def test_key_is_made_at_the_first_start_and_stays(net, launch, directory, target, session):
    path = directory / "state" / "map.key"
    config = conf.write(directory, [conf.listener(target_v6=None, map_v6=POOL, map_key=str(path))], workers=1,
                        log={"target": "stderr", "format": "json"})
    assert daemon.run(("-n", "-c", config), directory, net.origin).returncode == 0
    assert not path.exists()
    gateway = launch(net.origin, "-c", config)
    gateway.wait_workers(1)
    until(path.exists, lambda: "the key")
    made = path.read_bytes()
    assert len(made) == 32 and stat.S_IMODE(path.stat().st_mode) == 0o600
    _, conn = session(target(), header.v1(CLIENT6, 51234))
    assert conn.peer_address == _mapped(CLIENT6, made)
    gateway.wait_line(r".*mapped_address.*")
    events = [json.loads(line) for line in list(gateway.lines)]
    event = next(each for each in events if each.get("event") == "connected")
    assert (event["client_address"], event["mapped_address"]) == (CLIENT6, _mapped(CLIENT6, made))
    # What a reload reads is what counts; another length is a mistake.
    path.write_bytes(made[:31])
    gateway.signal(1)
    gateway.wait_line(r".*it must be a file of 32 bytes.*")
    assert path.read_bytes() == made[:31]


def test_udp_clients_are_mapped_too(udp_listener, net, balancer, key):
    udp_listener(target_v6=None, map_v6=POOL, map_key=str(key))
    service = udp.Service(net.origin, "127.0.0.1", udp.SERVICE_PORT)
    try:
        peer = balancer()
        peer.send(udp.v2(CLIENT6, 51234) + b"hello")
        data, source = service.recv()
        assert (data, source) == (b"hello", (_mapped(CLIENT6), 51234))
        service.send(b"there", source)
        assert peer.recv() == b"there"
    finally:
        service.close()


def test_pool_that_has_an_address_of_this_host_is_a_mistake(net, directory):
    config = conf.write(directory, [conf.listener(target_v6=None, map_v6="10.99.0.0/24", map_v6_anyway=True)])
    result = daemon.run(("-n", "-c", config), directory, net.origin)
    assert result.returncode == 78
    assert re.search(r':[0-9]+: "map_v6" is 10\.99\.0\.0/24, which has this host\'s own address 10\.99\.0\.2',
                     result.stderr)
