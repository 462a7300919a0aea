# SPDX-License-Identifier: BSD-2-Clause
"""UDP: what strangers send is not answered, is counted once, and goes in nobody's name."""

import pytest

from lib import header, proc, udp
from lib.ctl import Ctl
from lib.reloading import RELOADED, Reloader
from lib.topology import CLIENT4, CLIENT_OF, LB4, LB_OF, ORIGIN4, STRANGER4, STRANGER_OF
from lib.udp import MODES
from lib.wait import until

GOOD = udp.v2(CLIENT4, 40000)
BLOCK = GOOD[16:]
DGRAM4 = (header.INET, header.DGRAM)
CRC = header.tlv(3, b"\xde\xad\xbe\xef")

# Good but for one thing; the first of a peer in the modes that have v2.
BAD_V2 = {
    "signature": b"\r\n\r\n\0\r\nQUIP\n" + GOOD[12:],
    "version": header.v2_raw(header.PROXY, *DGRAM4, BLOCK, version=3),
    "command": header.v2_raw(2, *DGRAM4, BLOCK),
    "family": header.v2_raw(header.PROXY, 4, header.DGRAM, BLOCK),
    "stream": header.v2_raw(header.PROXY, header.INET, header.STREAM, BLOCK),
    "unix": header.v2_raw(header.PROXY, 3, header.DGRAM, bytes(216)),
    "no room for addresses": header.v2_raw(header.PROXY, *DGRAM4, BLOCK[:11]),
    "longer than the datagram": GOOD[:14] + b"\xff\xff" + BLOCK + bytes(1000),
    "cut in the fixed part": GOOD[:15],
    "cut in the addresses": GOOD[:27],
    "tlv": header.v2_raw(header.PROXY, *DGRAM4, BLOCK + b"\x01\x00\x09" + b"short"),
    "crc": header.v2_raw(header.PROXY, *DGRAM4, BLOCK + CRC),
    "crc of local": header.v2_raw(header.LOCAL, 0, 0, CRC),
    "v1": header.v1(CLIENT4, 40000),
    "spp": udp.spp(CLIENT4, 40000),
    "nothing": b"",
}
BAD_SPP = {
    "nothing": b"",
    "magic alone": b"\x56\xec",
    "cut": udp.spp(CLIENT4, 40000)[:37],
    "magic": b"\xec\x56" + udp.spp(CLIENT4, 40000)[2:],
    "v2": GOOD + bytes(38),
    "local": header.v2_local() + bytes(38),
    "v1": header.v1(CLIENT4, 40000),
}
BAD = {"every": BAD_V2, "first": BAD_V2, "spp": BAD_SPP}


@pytest.fixture
def wait_refused(directory):
    """Waits until these numbers of datagrams, by reason, have been refused; none for another reason."""
    def wait(**reasons):
        commands = Ctl(directory)
        until(lambda: commands.run("status").returncode == 0, "mmproxy to answer")
        until(lambda: commands.listener("dns")["refused"] == reasons,
              lambda: f"{reasons}, there are {commands.listener('dns')['refused']}")
    return wait


@pytest.mark.parametrize("mode", MODES)
def test_each_bad_datagram_is_counted_once_and_not_answered(udp_listener, service, balancer,
                                                            wait_refused, mode):
    udp_listener(mode)
    target = service()
    senders = [balancer() for _ in BAD[mode]]
    for sender, data in zip(senders, BAD[mode].values()):
        sender.send(data)
    wait_refused(bad_header=len(senders))
    good = balancer()
    good.send(udp.header_of(mode, CLIENT4, 40000) + b"query")
    assert target.recv() == (b"query", (CLIENT4, 40000))
    assert target.is_silent() and all(sender.is_silent() for sender in senders)


@pytest.mark.parametrize("mode", MODES)
def test_a_peer_that_is_not_allowed_gets_nothing_in_any_mode(udp_listener, service, balancer,
                                                             wait_refused, mode):
    udp_listener(mode)
    target, sender = service(), balancer(source=LB_OF[4])
    head = udp.header_of(mode, CLIENT4, 40000)
    sender.send(head + b"query")
    target.recv()
    # The port of one that is allowed is of no help.
    strangers = [balancer(source=STRANGER4, source_port=sender.port),
                 balancer(6, source=STRANGER_OF[6])]
    for stranger in strangers:
        for data in (head + b"stolen", b"stolen", b"", header.v2_local() + b"stolen"):
            stranger.send(data)
    wait_refused(not_allowed=8)
    target.send(b"answer", (CLIENT4, 40000))
    assert sender.recv() == (head if mode == "spp" else b"") + b"answer"
    assert target.is_silent() and all(stranger.is_silent() for stranger in strangers)


@pytest.mark.parametrize("mode", ("every", "first"))
@pytest.mark.parametrize("head", (
    header.v2_local(), header.v2_raw(header.LOCAL, *DGRAM4, bytes([127, 0, 0, 1] * 3)),
    header.v2_raw(header.PROXY, 0, 0), header.v2_raw(header.PROXY, header.INET, 0, BLOCK)),
    ids=("local", "local-with-addresses", "unspec", "unspec-transport"))
@pytest.mark.parametrize("link", (4, 6))
def test_a_header_that_names_nobody_means_the_peer(udp_listener, service, balancer, wait_refused,
                                                   mode, head, link):
    udp_listener(mode, workers=2)
    target, sender = service(link), balancer(link, source=LB_OF[link])
    for number in range(3):
        is_bare = mode == "first" and number > 0
        sender.send((b"" if is_bare else head) + b"query")
        assert target.recv() == (b"query", (LB_OF[link], sender.port))
        target.send(b"answer", (LB_OF[link], sender.port))
        assert sender.recv() == b"answer"
    wait_refused()


@pytest.mark.parametrize("mode", MODES)
def test_nobody_but_the_service_answers_a_client(net, udp_listener, service, balancer, mode):
    """What is sent to a client from elsewhere comes to its session's socket, and goes no further."""
    net.lb.ip(f"route add {CLIENT4} via {ORIGIN4}")
    net.origin.ip("rule add iif eth0 lookup 100")
    udp_listener(mode)
    target, sender, other = service(), balancer(), balancer()
    head, tail = udp.header_of(mode, CLIENT4, 40000), b""
    if mode == "spp":
        tail = head
    sockets = [(net.lb, LB4, udp.SERVICE_PORT), (net.lb, STRANGER4, udp.SERVICE_PORT),
               (net.origin, "127.0.0.1", 5353), (net.origin, "127.0.0.1", udp.PORT + 1)]
    spoofers = [udp.Service(*each) for each in sockets]
    for number in range(10):
        sender.send((b"" if mode == "first" and number > 0 else head) + b"query")
        target.recv()
        for spoofer in spoofers:
            for _ in range(5):
                spoofer.send(b"spoofed", (CLIENT4, 40000))
        # It went by the same link, and behind it.
        other.send(udp.header_of(mode, CLIENT_OF[4], 41000) + b"query")
        assert target.recv() == (b"query", (CLIENT4, 41000))
        target.send(b"answer %d" % number, (CLIENT4, 40000))
        assert sender.recv() == tail + b"answer %d" % number
    assert sender.is_silent() and other.is_silent()
    for spoofer in spoofers:
        spoofer.close()


@pytest.mark.parametrize("is_expired", (False, True), ids=("of-a-stranger", "after-expiry"))
@pytest.mark.parametrize("event", ("reload", "kill"))
def test_a_datagram_without_a_header_is_nobodys(udp_listener, directory, service, balancer,
                                                wait_refused, event, is_expired):
    """udp_header = "first": where its peer has no session, also not in a worker before."""
    gateway = udp_listener("first", workers=2, idle_timeout=1 if is_expired else 600)
    gateway.may_lose_workers = True
    target = service()
    known, strangers = ([balancer() for _ in range(8)] for _ in range(2))
    for number, sender in enumerate(known):
        sender.send(udp.v2(CLIENT4, 40000 + number) + b"query")
        assert target.recv() == (b"query", (CLIENT4, 40000 + number))
    if is_expired:
        gateway.wait_line(r"\[-\] dns: .* disconnected, .*, idle timeout", len(known))
        strangers = known
    if event == "reload":
        reloader = Reloader(gateway, directory)
        reloader.write([udp.listener("first", idle_timeout=599)], workers=3)
        reloader.hup_only(RELOADED)
    else:
        for pid in gateway.workers():
            proc.kill(pid)
    for sender in strangers:
        sender.send(b"nobody's")
    wait_refused(bad_header=len(strangers))
    for number, sender in enumerate(known):
        sender.send((udp.v2(CLIENT4, 40000 + number) if is_expired else b"") + b"more")
        assert target.recv() == (b"more", (CLIENT4, 40000 + number))
    assert all(sender.is_silent() for sender in strangers)
