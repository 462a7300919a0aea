# SPDX-License-Identifier: BSD-2-Clause
"""Mapped clients over every return path: TCP and UDP, managed and by the printed commands."""

import pytest

from lib import conf, daemon, header, lines, mapped, netns, routing, udp
from lib.box import BOX_OF, Box
from lib.conn import connect
from lib.target import EchoTarget
from lib.topology import CLIENT_OF, LOOPBACK_OF, ORIGIN_OF

PORT, UDP_PORT = 25, 53
PLACES = {"loopback": LOOPBACK_OF, "fwmark": ORIGIN_OF, "connmark": ORIGIN_OF, "flows": ORIGIN_OF,
          "routed": BOX_OF}
CASES = [*(("tcp", path) for path in ("loopback", "fwmark", "connmark", "routed")),
         *(("udp", path) for path in ("loopback", "flows", "routed"))]


@pytest.fixture
def box(origin):
    made = Box(origin, True)
    yield made
    made.close()


def _write(directory, version, protocol, address, form, **keys):
    """A listener whose only target has this family; clients of the other one are mapped."""
    port = PORT if protocol == "tcp" else UDP_PORT
    host = address if version == 4 else f"[{address}]"
    keys |= {"protocol": protocol, "target_v4": None, "target_v6": None,
             f"target_v{version}": f"{host}:{port}"}
    keys |= {"map_v6": mapped.POOL, "map_key": str(mapped.write_key(directory))} if version == 4 \
        else {"map_v4": mapped.PREFIX}
    return conf.write(directory, [conf.listener(**keys)], workers=1, routing=form, drain_timeout=0)


def _run(origin, directory, option, config):
    where = f"RUNTIME_DIRECTORY={directory / 'run'}"
    return daemon.run((option, "-c", config), directory, origin, prefix=("env", where))


def _expect_good(done):
    assert done.returncode == 0 and "[!]" not in done.stderr, done.stderr


def _talk_tcp(net, service, client, seen):
    peer = connect(net.lb, ORIGIN_OF[4], conf.PORT)
    peer.send(header.v2(client, 51234) + b"hello")
    assert peer.recv(5) == b"hello"
    assert (seen, 51234) in service.sources
    peer.close()


def _talk_udp(net, service, client, seen):
    peer = udp.Balancer(net.lb, ORIGIN_OF[4], conf.PORT)
    for data in (b"one", b"two"):
        peer.send(udp.v2(client, 51234) + data)
        got, source = service.recv()
        assert (got, source) == (data, (seen, 51234))
        service.send(b"answer", source)
        assert peer.recv() == b"answer"
    peer.close()


def _talk(net, protocol, namespace, version, address, service=None):
    """One session of a client of the other family."""
    client = CLIENT_OF[10 - version]
    if protocol == "udp":
        service, talk = udp.Service(namespace, address, UDP_PORT), _talk_udp
    else:
        service, talk = service or EchoTarget(namespace, address, PORT), _talk_tcp
    try:
        yield
        talk(net, service, client, mapped.of(client))
        yield
    finally:
        service.close()


@pytest.mark.parametrize("form", ("managed", "manual"))
@pytest.mark.parametrize("version", (4, 6))
@pytest.mark.parametrize("protocol, path", CASES)
def test_replies_to_a_mapped_client_come_back(plain_net, origin, directory, launch, request, protocol,
                                              path, version, form):
    address = PLACES[path][version]
    place = request.getfixturevalue("box") if path == "routed" else None
    before = routing.snapshot(origin)
    config = _write(directory, version, protocol, address, form, return_path=path)
    talk = _talk(plain_net, protocol, place.namespace if place else origin, version, address,
                 place.services[version] if place else None)
    next(talk)
    if form == "manual":
        assert _run(origin, directory, "--check", config).returncode == 1
        routing.shell(origin, _run(origin, directory, "--rules=shell", config).stdout)
        _expect_good(_run(origin, directory, "--check", config))
    gateway = launch(origin, "-c", config, env={"RUNTIME_DIRECTORY": str(directory / "run")})
    gateway.wait_workers(1)
    _expect_good(_run(origin, directory, "--check", config))
    next(talk)
    talk.close()
    gateway.stop()
    if form == "manual":
        routing.shell(origin, _run(origin, directory, "--rules=undo", config).stdout)
    assert routing.snapshot(origin) == before


@pytest.mark.parametrize("version", (4, 6))
@pytest.mark.parametrize("protocol", ("tcp", "udp"))
def test_replies_to_a_mapped_client_come_back_from_a_network_namespace(plain_net, origin, directory, launch,
                                                                       protocol, version):
    inside = netns.Namespace()
    try:
        inside.ip("link set lo up")
        routing.stop_pacing(inside)
        address = LOOPBACK_OF[version]
        config = _write(directory, version, protocol, address, "managed", netns=str(inside.path))
        talk = _talk(plain_net, protocol, inside, version, address)
        next(talk)
        gateway = launch(origin, "-c", config, env={"RUNTIME_DIRECTORY": str(directory / "run")})
        gateway.wait_workers(1)
        if protocol == "tcp":
            gateway.wait_line(lines.REACHED)
        next(talk)
        talk.close()
    finally:
        inside.close()


def test_check_names_a_firewall_that_drops_the_pool_alone(plain_net, origin, directory):
    """Native clients come through; a check from any other address would say that all is well."""
    config = _write(directory, 4, "tcp", LOOPBACK_OF[4], "managed", return_path="loopback")
    service = EchoTarget(origin, LOOPBACK_OF[4], PORT)
    try:
        _expect_good(_run(origin, directory, "--check", config))
        for rule in ("add table inet bogons",
                     "add chain inet bogons input { type filter hook input priority 0; }",
                     "add rule inet bogons input ip saddr 240.0.0.0/4 drop"):
            origin.run("nft", rule)
        done = _run(origin, directory, "--check", config)
        assert done.returncode == 1
        assert "Unable to do spoofed connect() to target server 127.0.0.1:25: no answer" in done.stderr
        assert "ip saddr 240.0.0.0/4 drop" in done.stderr, done.stderr
    finally:
        service.close()
