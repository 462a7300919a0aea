# SPDX-License-Identifier: BSD-2-Clause
"""
What works, works in every combination: {v1, v2} x {IPv4, IPv6 client} x {IPv4, IPv6 link} x
{1, 4 workers}, and however the header arrives.
"""

import itertools

import pytest

from lib import conf, header, lines
from lib.conn import FIN, connect, endpoint, is_acknowledged, send_byte_by_byte
from lib.target import Target
from lib.topology import CLIENT_OF, ORIGIN4, ORIGIN6, ORIGIN_OF
from lib.wait import until

PORTS = itertools.count(20000)

EVERY = pytest.mark.parametrize(
    "version, client, link, workers",
    [pytest.param(*case, id="{}-client{}-link{}-workers{}".format(*case))
     for case in itertools.product(("v1", "v2"), (4, 6), (4, 6), (1, 4))])


def whole(_net, peer, _service, head, payload):
    """The header, then the payload once it has arrived."""
    peer.send(head)
    until(lambda: is_acknowledged(peer), "the header to arrive")
    peer.send(payload)
    return None


def byte_by_byte(_net, peer, _service, head, payload):
    send_byte_by_byte(peer, head + payload)


def with_payload(_net, peer, _service, head, payload):
    peer.send(head + payload)


def in_halves(net, peer, service, head, payload):
    """The second half waits until the first was read: that alone must reach no target."""
    peer.send(head[:len(head) // 2])
    until(lambda: net.is_read(peer), "half a header to be read")
    assert service.is_untouched()
    peer.send(head[len(head) // 2:] + payload)


def followed_by_a_pause(_net, peer, service, head, payload):
    """The target must be reached by the header alone: its side may be the first to speak."""
    peer.send(head)
    conn = service.accept()
    conn.send(b"220 ready\r\n")
    assert peer.recv(11) == b"220 ready\r\n"
    peer.send(payload)
    return conn


ARRIVALS = (whole, byte_by_byte, with_payload, in_halves, followed_by_a_pause)


@EVERY
def test_session_in_every_combination(net, serve, target, dial, version, client, link, workers):
    services = {4: target(4), 6: target(6)}
    gateway = serve(settings={"workers": workers})
    for arrive in ARRIVALS:
        port = next(PORTS)
        head = header.build(version, CLIENT_OF[client], port)
        peer = dial(link)
        conn = arrive(net, peer, services[client], head, b"hello") or services[client].accept()

        assert (conn.peer_address, conn.peer_port) == (CLIENT_OF[client], port), arrive.__name__
        assert conn.recv(5) == b"hello"
        peer.trip(conn)
        peer.finish()
        conn.expect_end(FIN)
        conn.close()
        peer.expect_end(FIN)

        source = endpoint(CLIENT_OF[client], port)
        out = 4 + (11 if arrive is followed_by_a_pause else 0)
        gateway.wait_line(lines.connected(peer.local, source, conn.local))
        ended = gateway.wait_line(lines.disconnected(peer.local, source, 9, out))
        assert ended[1] == "client closed"
    assert all(service.is_untouched() for service in services.values())


@pytest.mark.parametrize("link", (4, 6))
@pytest.mark.parametrize("client", (4, 6))
def test_fwmark_return_path_to_an_address_of_the_host(plain_net, launch, directory, client, link):
    """The same on the other return path, with targets that are not on loopback."""
    plain_net.return_path_fwmark()
    listener = conf.listener(target_v4=f"{ORIGIN4}:22", target_v6=f"[{ORIGIN6}]:22")
    gateway = launch(plain_net.origin, "-c", conf.write(directory, [listener], workers=1))
    gateway.wait_listening(*conf.LISTEN)
    service = Target(plain_net.origin, ORIGIN_OF[client], 22)
    peer = connect(plain_net.lb, ORIGIN_OF[link], conf.PORT)
    peer.send(header.build("v2", CLIENT_OF[client], 51234))
    conn = service.accept()
    assert (conn.peer_address, conn.peer_port) == (CLIENT_OF[client], 51234)
    peer.trip(conn)
    # Nothing listens any more: a refusal, not a timeout.
    service.close()
    refused = connect(plain_net.lb, ORIGIN_OF[link], conf.PORT)
    refused.send(header.build("v2", CLIENT_OF[client], 51235))
    gateway.wait_line(lines.failed(refused.local, conn.local, "Connection refused"))
    for each in (peer, conn, refused):
        each.close()
