# SPDX-License-Identifier: BSD-2-Clause
"""map_v4 and map_v6: clients of one family, and a service that has the other alone."""

import ipaddress
import json
import re
import stat

import pytest

from lib import conf, ctl, daemon, header, mapped, udp
from lib.mapped import POOL
from lib.reloading import Reloader
from lib.topology import CLIENT4, CLIENT6, ORIGIN4, ORIGIN6
from lib.upgrading import Upgradable
from lib.wait import until

MAPPED4 = mapped.of_v4(CLIENT4)


@pytest.fixture
def key(directory):
    """The file of the key, with a known one."""
    return mapped.write_key(directory)


@pytest.mark.parametrize("path", ("loopback", "fwmark"))
def test_ipv6_client_reaches_a_service_of_ipv4_alone(net, launch, directory, target, session, key, path):
    gateway = launch(net.origin, "-c", conf.write(
        directory, [conf.listener(target_v6=None, map_v6=POOL, map_key=str(key), return_path=path)],
        workers=1, routing="managed"))
    gateway.wait_listening(*conf.LISTEN)
    gateway.wait_workers(1)
    service = target()
    own = mapped.of_v6(CLIENT6)
    peer, conn = session(service, header.v1(CLIENT6, 51234))
    assert conn.peer == f"{own}:51234"
    peer.trip(conn)
    gateway.wait_line(r"\[\+\] ssh: .* connected, "
                      + re.escape(f"proxy protocol source [{CLIENT6}]:51234 as {own}, local destination ") + ".*")
    # Another address of its /64, and its port: the kernel finds another port.
    twin = str(ipaddress.ip_address(CLIENT6) + 1)
    second, other = session(service, header.v1(twin, 51234))
    assert other.peer_address == own and other.peer != conn.peer
    second.trip(other)
    commands = ctl.Ctl(directory)
    for address in (CLIENT6, own):
        answer = commands.ask("map", address)
        found = {(each["client"], each["mapped"].split(":")[0]) for each in answer if each["type"] == "session"}
        assert (f"[{CLIENT6}]:51234", own) in found
    assert {"type": "map", "listener": "ssh", "client": CLIENT6, "mapped": own}.items() \
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
    assert conn.peer_address == mapped.of_v6(CLIENT6, made)
    gateway.wait_line(r".*mapped_address.*")
    events = [json.loads(line) for line in list(gateway.lines)]
    event = next(each for each in events if each.get("event") == "connected")
    assert (event["client_address"], event["mapped_address"]) == (CLIENT6, mapped.of_v6(CLIENT6, made))
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
        assert (data, source) == (b"hello", (mapped.of_v6(CLIENT6), 51234))
        service.send(b"there", source)
        assert peer.recv() == b"there"
    finally:
        service.close()


def test_udp_clients_with_one_mapped_address_get_their_own_answers(udp_listener, net, balancer, key):
    """They are in one /64, and have one port too: the service has to see two."""
    udp_listener(workers=4, target_v6=None, map_v6=POOL, map_key=str(key))
    service = udp.Service(net.origin, "127.0.0.1", udp.SERVICE_PORT)
    try:
        peers = {b"%d" % number: balancer() for number in range(8)}
        sources = {}
        for name, peer in peers.items():
            peer.send(udp.v2(CLIENT6 + name.decode(), 51234) + name)
            data, sources[name] = service.recv()
            assert (data, sources[name][0]) == (name, mapped.of_v6(CLIENT6))
        assert len(set(sources.values())) == len(peers)
        for name, peer in peers.items():
            service.send(name, sources[name])
            assert peer.recv() == name
    finally:
        service.close()


@pytest.mark.parametrize("pool, own", (("10.99.0.0/29", "10.99.0.2"), ("10.99.0.128/25", "10.99.0.255")))
def test_pool_that_has_an_address_of_this_host_is_a_mistake(net, directory, pool, own):
    config = conf.write(directory, [conf.listener(target_v6=None, map_v6=pool, map_v6_anyway=True)])
    result = daemon.run(("-n", "-c", config), directory, net.origin)
    assert result.returncode == 78
    assert f'"map_v6" is {pool}, which has this host\'s own address {own}\n' in result.stderr


def test_pool_in_the_host_s_own_network_gets_a_warning(net, directory):
    """Postfix with mynetworks_style = subnet would be an open relay for mapped clients."""
    config = conf.write(directory, [conf.listener(target_v6=None, map_v6="10.99.0.64/26", map_v6_anyway=True)])
    result = daemon.run(("-n", "-c", config), directory, net.origin)
    assert result.returncode == 0
    assert re.search(r':[0-9]+: "map_v6" is 10\.99\.0\.64/26, which overlaps the network of this host\'s address '
                     r"10\.99\.0\.2/24: a service that trusts its own network trusts mapped clients", result.stderr)


@pytest.mark.parametrize("version, listen", ((4, "0.0.0.0:2222"), (6, "[::]:2222"), (4, f"{ORIGIN4}:2222")))
@pytest.mark.parametrize("port", ("2222", "same"))
def test_target_at_an_address_of_this_host_where_mmproxy_listens_is_a_mistake(net, directory, version, listen,
                                                                             port):
    own = ORIGIN4 if version == 4 else f"[{ORIGIN6}]"
    other = "192.0.2.99" if version == 4 else "[2001:db8:99::1]"
    keys = {"listen": listen, "target_v4": None, "target_v6": None}
    config = conf.write(directory, [conf.listener(**keys | {f"target_v{version}": f"{own}:{port}"})])
    result = daemon.run(("-n", "-c", config), directory, net.origin)
    assert result.returncode == 78
    assert re.search(rf'mmproxy\.conf:[0-9]+: "target_v{version}" is {re.escape(own)}:2222, where this mmproxy listens '
                     r"itself \(.*mmproxy\.conf:[0-9]+\): a loop", result.stderr)
    # Not of this host: no loop.
    config = conf.write(directory, [conf.listener(**keys | {f"target_v{version}": f"{other}:{port}"})])
    assert daemon.run(("-n", "-c", config), directory, net.origin).returncode == 0
    done = daemon.run(("-n", "-a", directory / "lb.subnets", "-l", listen, f"-{version}", f"{own}:2222"),
                      directory, net.origin)
    assert done.returncode == 64 and "is where mmproxy listens itself: a loop" in done.stderr


def test_deleting_the_key_moves_no_client_to_another_address(serve, directory, target, session, key):
    keys = {"target_v6": None, "map_v6": POOL, "map_key": str(key)}
    gateway = serve(**keys)
    key.unlink()
    Reloader(gateway, directory).reload([conf.listener(**keys, idle_timeout=600)])
    gateway.wait_line(r".*: \"map_key\" is .*: it was deleted; the key in use has been written back")
    assert key.read_bytes() == mapped.KEY and stat.S_IMODE(key.stat().st_mode) == 0o600
    _, conn = session(target(), header.v1(CLIENT6, 51234))
    assert conn.peer_address == mapped.of_v6(CLIENT6)


def test_another_binary_has_the_key_that_was_deleted(net, launch, directory, target, session, key):
    keys = {"target_v6": None, "map_v6": POOL, "map_key": str(key)}
    upgradable = Upgradable(net, launch, directory, [conf.listener(**keys)])
    try:
        key.unlink()
        upgradable.upgrade()
        assert key.read_bytes() == mapped.KEY
        _, conn = session(target(), header.v1(CLIENT6, 51234))
        assert conn.peer_address == mapped.of_v6(CLIENT6)
    finally:
        upgradable.close()


def test_new_key_is_made_by_a_reload_in_the_supervisor_s_jail(serve, net, directory, target, session):
    gateway = serve()
    path = directory / "state" / "map.key"
    Reloader(gateway, directory).reload([conf.listener(target_v6=None, map_v6=POOL, map_key=str(path))])
    _, conn = session(target(), header.v1(CLIENT6, 51234))
    assert conn.peer_address == mapped.of_v6(CLIENT6, path.read_bytes())


def test_reload_refuses_a_key_that_others_can_read(serve, directory, target, session, key):
    keys = {"target_v6": None, "map_v6": POOL, "map_key": str(key)}
    gateway = serve(**keys)
    key.chmod(0o644)
    gateway.signal(1)
    gateway.wait_line(rf".*mmproxy\.conf:[0-9]+: \"map_key\" is .*: its mode is 0644, so that others can use "
                      rf"it: chmod 600 {re.escape(str(key))}")
    _, conn = session(target(), header.v1(CLIENT6, 51234))
    assert conn.peer_address == mapped.of_v6(CLIENT6)
