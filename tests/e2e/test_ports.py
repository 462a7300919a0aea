# SPDX-License-Identifier: BSD-2-Clause
"""The client's port: kept where the kernel allows, and never a reason to lose a client."""

import socket

import pytest

from lib import conf, header
from lib.conn import FIN, family_of
from lib.topology import CLIENT_OF

PORT = 21234  # none that the kernel gives by itself
WILDCARD_OF = {4: "0.0.0.0", 6: "::"}
BOTH = pytest.mark.parametrize("version", (4, 6))


def _head(version, port=PORT):
    return header.v2(CLIENT_OF[version], port)


@BOTH
def test_port_is_preserved(serve, target, session, version):
    serve()
    _, conn = session(target(version), _head(version))
    assert (conn.peer_address, conn.peer_port) == (CLIENT_OF[version], PORT)


@BOTH
def test_port_that_a_wildcard_listener_has(net, serve, target, session, version):
    serve()
    with net.origin.socket(family_of(WILDCARD_OF[version])) as listener:
        if version == 6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((WILDCARD_OF[version], PORT))
        listener.listen()
        peer, conn = session(target(version), _head(version))
        assert conn.peer_address == CLIENT_OF[version]
        assert conn.peer_port != PORT
        peer.trip(conn)


@BOTH
def test_port_of_the_gateway_s_own_listener(serve, target, session, version):
    """The client's port happens to be the one that mmproxy listens on."""
    serve()
    peer, conn = session(target(version), _head(version, 2222))
    assert conn.peer_address == CLIENT_OF[version]
    peer.trip(conn)


def test_port_of_a_listener_on_one_address_is_preserved(net, serve, target, session):
    serve()
    with net.origin.socket(socket.AF_INET) as listener:
        listener.bind(("127.0.0.1", PORT))
        listener.listen()
        peer, conn = session(target(), _head(4))
        assert conn.peer_port == PORT
        peer.trip(conn)


@BOTH
def test_4_tuple_that_still_exists(serve, target, session, version):
    serve()
    service = target(version)
    first = session(service, _head(version))
    second = session(service, _head(version))
    assert first[1].peer_port == PORT
    assert second[1].peer_address == CLIENT_OF[version]
    assert second[1].peer_port != PORT
    for peer, conn in (first, second):
        peer.trip(conn)


@BOTH
def test_4_tuple_in_time_wait(net, serve, target, session, version):
    """The client reconnects from its port; our side of the old connection closed first."""
    serve()
    service = target(version)
    for _ in range(3):
        peer, conn = session(service, _head(version))
        assert conn.peer_address == CLIENT_OF[version]
        peer.trip(conn)
        peer.finish()
        conn.expect_end(FIN)
        conn.finish()
        peer.expect_end(FIN)
    assert net.origin.ss("-tan", "state", "time-wait", "sport", f"= :{PORT}")


@BOTH
def test_same_port_of_two_clients(serve, target, session, version):
    serve()
    service = target(version)
    other = {4: "198.51.100.8", 6: "2001:db8::8"}[version]
    conns = [session(service, header.v2(client, PORT))[1]
             for client in (CLIENT_OF[version], other)]
    assert [(c.peer_address, c.peer_port) for c in conns] == [(CLIENT_OF[version], PORT),
                                                              (other, PORT)]


def test_same_client_and_port_towards_two_targets(net, launch, directory, target, dial):
    """Two listeners, two services: both are different 4-tuples, both keep the port."""
    listeners = [conf.listener(), conf.listener(name="smtp", listen="0.0.0.0:2525",
                                                target_v4="127.0.0.1:25", target_v6=None)]
    gateway = launch(net.origin, "-c", conf.write(directory, listeners, workers=2))
    gateway.wait_listening(*conf.LISTEN)
    gateway.wait_listening("0.0.0.0:2525", name="smtp")
    for port, service in ((2222, target(port=22)), (2525, target(port=25))):
        peer = dial(port=port)
        peer.send(_head(4))
        conn = service.accept()
        assert conn.peer_port == PORT
        peer.trip(conn)


@BOTH
def test_port_below_1024_is_preserved(serve, target, session, version):
    serve()
    peer, conn = session(target(version), _head(version, 843))
    assert (conn.peer_address, conn.peer_port) == (CLIENT_OF[version], 843)
    peer.trip(conn)


@BOTH
def test_port_0_in_the_header(serve, target, session, version):
    serve()
    peer, conn = session(target(version), _head(version, 0))
    assert conn.peer_address == CLIENT_OF[version]
    assert conn.peer_port != 0
    peer.trip(conn)


@BOTH
def test_client_port_any(serve, target, session, version):
    serve(client_port="any")
    peer, conn = session(target(version), _head(version))
    assert conn.peer_address == CLIENT_OF[version]
    assert conn.peer_port != PORT
    peer.trip(conn)
