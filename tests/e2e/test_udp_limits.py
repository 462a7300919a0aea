# SPDX-License-Identifier: BSD-2-Clause
"""UDP: what is refused, what is bounded, and that nobody else notices."""

import re
import signal
import socket

import pytest

from lib import conf, header, udp
from lib.conn import RST, connect
from lib.ctl import Ctl
from lib.reloading import RELOADED, Reloader
from lib.topology import CLIENT_OF, LB4, LOOPBACK_OF, ORIGIN_OF, STRANGER_OF
from lib.udp import MODES
from lib.wait import DEADLINE, until

GOOD = udp.v2(CLIENT_OF[4], 40000)
SPP = udp.spp(CLIENT_OF[4], 40000)
CRC = header.v2_raw(header.PROXY, header.INET, header.DGRAM,
                    bytes(12) + b"\x03\x00\x04" + b"\xde\xad\xbe\xef")
STREAM = header.v2_raw(header.PROXY, header.INET, header.STREAM, bytes([198, 51, 100, 7] * 3))

BAD = {
    "every-nothing": ("every", b""),
    "every-no-header": ("every", b"just a query"),
    "every-cut": ("every", GOOD[:20]),
    "every-v1": ("every", b"PROXY UDP4 198.51.100.7 192.0.2.1 1 2\r\n"),
    "every-stream": ("every", STREAM),
    "every-crc": ("every", CRC),
    "every-spp": ("every", SPP),
    "first-no-header": ("first", b"just a query"),
    "first-nothing": ("first", b""),
    "first-stream": ("first", STREAM),
    "spp-nothing": ("spp", b""),
    "spp-cut": ("spp", SPP[:37]),
    "spp-magic": ("spp", b"\x56\xed" + SPP[2:]),
    "spp-v2": ("spp", GOOD + bytes(20)),
}


@pytest.mark.parametrize("mode, data", BAD.values(), ids=BAD)
def test_what_has_no_good_header_is_dropped_and_not_answered(udp_listener, service, balancer, mode,
                                                             data):
    gateway = udp_listener(mode)
    target, sender, good = service(), balancer(), balancer()
    sender.send(data)
    gateway.wait_line(r"\[\?\] dns: .* broke with bad proxy-protocol header: .+")
    good.send(udp.header_of(mode, CLIENT_OF[4], 40000) + b"query")
    assert target.recv() == (b"query", (CLIENT_OF[4], 40000))
    assert sender.is_silent() and target.is_silent()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("client", ("127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
                                    ORIGIN_OF[4]))
def test_a_client_that_would_pass_for_local_is_refused(udp_listener, service, balancer, mode,
                                                       client):
    gateway = udp_listener(mode)
    target, sender = service(), balancer()
    sender.send(udp.header_of(mode, client, 40000) + b"query")
    gateway.wait_line(r"\[\?\] dns: .* refused, .*: the header names a local address .*")
    assert sender.is_silent() and target.is_silent()


def test_a_peer_that_is_not_allowed_gets_nothing(udp_listener, service, balancer):
    gateway = udp_listener()
    target, sender = service(), balancer(source=STRANGER_OF[4])
    sender.send(GOOD + b"query")
    gateway.wait_line(r"\[\?\] dns: .* is not allowed to connect")
    assert sender.is_silent() and target.is_silent()


def test_lines_that_strangers_cause_are_limited_and_counted(udp_listener, service, balancer):
    gateway = udp_listener()
    target, sender = service(), balancer()
    for number in range(500):
        sender.send(b"rubbish")
        if number % 20 == 0:  # so that none is lost on the way
            sender.send(GOOD + b"query")
            target.recv()
    sender.send(GOOD + b"query")
    target.recv()
    gateway.stop()
    told = len(gateway.find(r"\[\?\] dns: .* broke with bad proxy-protocol header: .*"))
    held_back = sum(int(re.search(r"([0-9]+) more", line)[1]) for line in gateway.find(
        r"\[\?\] dns: [0-9]+ more connections broke with bad proxy-protocol headers"))
    assert told + held_back == 500
    assert told < 100


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("link", (4, 6))
def test_the_largest_datagrams_pass_whole(udp_listener, service, balancer, mode, link):
    gateway = udp_listener(mode)
    target, sender = service(), balancer(link)
    head = udp.header_of(mode, CLIENT_OF[4], 40000)
    largest = 65507
    payload = bytes(range(256)) * 256
    sender.send(head + payload[:largest - len(head)])
    data, source = target.recv()
    assert data == payload[:largest - len(head)]
    behind = len(head) if mode == "spp" else 0
    target.send(payload[:largest - behind], source)
    assert sender.recv() == head[:behind] + payload[:largest - behind]
    if mode == "spp" and link == 4:
        target.send(payload[:largest], source)  # there is no room for the header
        gateway.wait_line(r"\[\?\] dns: .* refused, .*: Message too long")


@pytest.mark.parametrize("workers", (1, 4))
@pytest.mark.parametrize("mode", MODES)
def test_max_sessions_ends_the_one_silent_longest(udp_listener, service, balancer, mode, workers):
    gateway = udp_listener(mode, workers=workers, max_sessions=2)
    target = service()
    senders = [balancer() for _ in range(4)]

    def ask(number):
        senders[number].send(udp.header_of(mode, CLIENT_OF[4], 40000 + number) + b"query")
        assert target.recv() == (b"query", (CLIENT_OF[4], 40000 + number))

    for number, goes in ((2, 0), (3, 1)):
        ask(goes)
        ask(1 - goes)
        ask(number)
        gateway.wait_line(r"\[-\] dns: .* disconnected, proxy protocol source "
                          rf"{CLIENT_OF[4]}:{40000 + goes}, .*, another session needed its place")


@pytest.mark.parametrize("mode", MODES)
def test_a_flood_of_clients_costs_a_paced_client_nothing(net, launch, directory, service, balancer,
                                                         mode):
    path = conf.write(directory, [udp.listener(mode), conf.listener()], workers=1)
    gateway = launch(net.origin, "-c", path, prefix=["prlimit", "--nofile=128:128"])
    gateway.wait_workers(1)
    target = service(kind=udp.Echo)
    paced, flood = balancer(), [balancer() for _ in range(200)]
    head = udp.header_of(mode, CLIENT_OF[4], 40000)
    for number in range(100):
        for client in range(20):
            sender = flood[(number * 20 + client) % len(flood)]
            sender.send(udp.header_of(mode, f"203.0.113.{client}", 1024 + number) + b"flood")
        paced.send((b"" if mode == "first" and number > 0 else head) + b"%d" % number)
        assert paced.recv() == (head if mode == "spp" else b"") + b"%d" % number
    assert [s for data, s in target.seen if data != b"flood"] == [(CLIENT_OF[4], 40000)] * 100
    gateway.wait_line(r"\[-\] dns: .*, another session needed its place")
    # Connections have descriptors still.
    assert Ctl(directory).listener("dns")["sessions"] <= 128 * 3 // 4
    peer = connect(net.lb, ORIGIN_OF[4], 2222)
    peer.send(header.v1(CLIENT_OF[4], 1))
    peer.expect_end(RST)  # nothing listens at its target
    assert not gateway.find(r".*accepting no connections.*")


@pytest.mark.parametrize("target_address", (LOOPBACK_OF[4], ORIGIN_OF[4]),
                         ids=("loopback", "own-address"))
def test_a_closed_port_is_reported_and_harms_no_session(net, udp_listener, service, balancer,
                                                        target_address):
    net.origin.ip("rule add fwmark 123 lookup 100")
    net.origin.sysctl("net.ipv4.fwmark_reflect", 1)
    gateway = udp_listener(target_v4=f"{target_address}:{udp.SERVICE_PORT}")
    target, sender, other = service(6), balancer(), balancer()
    for number in range(3):
        sender.send(GOOD + b"query")
        gateway.wait_line(r"\[-\] dns: .* failed: Connection refused.*", number + 1)
        other.send(udp.v2(CLIENT_OF[6], 40000) + b"query")
        assert target.recv() == (b"query", (CLIENT_OF[6], 40000))
    back = service(4, address=target_address)
    sender.send(GOOD + b"query")
    assert back.recv() == (b"query", (CLIENT_OF[4], 40000))


@pytest.mark.parametrize("mode", ("every", "spp"))
def test_replies_go_to_the_newest_peer_whichever_worker_it_is(udp_listener, service, balancer,
                                                              mode):
    udp_listener(mode, workers=4)
    target = service()
    senders = [balancer() for _ in range(4)]
    head = udp.header_of(mode, CLIENT_OF[4], 40000)
    for number in range(24):
        sender = senders[number * number % 4]
        sender.send(head + b"query %d" % number)
        data, source = target.recv()
        assert source == (CLIENT_OF[4], 40000)
        target.send(data, source)
        assert sender.recv() == (head if mode == "spp" else b"") + b"query %d" % number


@pytest.mark.parametrize("mode", MODES)
def test_replies_leave_from_the_address_that_was_hit(net, udp_listener, service, mode):
    net.origin.ip("address add 10.99.0.9/24 dev eth0")
    udp_listener(mode, workers=4)
    target = service()
    head = udp.header_of(mode, CLIENT_OF[4], 40000)
    with net.lb.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((LB4, 0))
        sender.settimeout(DEADLINE)
        for number in range(8):
            hit = (ORIGIN_OF[4], "10.99.0.9")[number % 2], udp.PORT
            sender.sendto(head + b"query", hit)
            _, source = target.recv()
            target.send(b"answer", source)
            assert sender.recvfrom(1000) == ((head if mode == "spp" else b"") + b"answer", hit)


def test_sigterm_frees_the_port_and_replies_still_go(udp_listener, service, balancer):
    gateway = udp_listener(idle_timeout=3600)
    target, sender, late = service(), balancer(), balancer()
    sender.send(GOOD + b"query")
    _, source = target.recv()
    gateway.signal(signal.SIGTERM)

    def is_refused():
        try:
            late.send(udp.v2(CLIENT_OF[4], 40001) + b"query")
            late.sock.settimeout(0)
            late.recv()
        except ConnectionRefusedError:
            return True
        except BlockingIOError:
            pass
        return False

    until(is_refused, "the port to be free")
    target.send(b"answer", source)
    assert sender.recv() == b"answer"


def test_a_listener_that_a_reload_removes(udp_listener, directory, service, balancer):
    gateway = udp_listener()
    target, sender = service(), balancer()
    sender.send(GOOD + b"query")
    _, source = target.recv()
    reloader = Reloader(gateway, directory)
    reloader.write([conf.listener()])
    reloader.hup_only(RELOADED)
    target.send(b"answer", source)
    assert sender.recv() == b"answer"
    reloader.write([udp.listener()])
    reloader.hup_only(RELOADED)
    sender.send(GOOD + b"again")
    assert target.recv() == (b"again", (CLIENT_OF[4], 40000))


def test_tcp_and_udp_on_one_port(net, launch, directory, service, balancer):
    path = conf.write(directory, [conf.listener(), udp.listener(listen="0.0.0.0:2222")], workers=2)
    gateway = launch(net.origin, "-c", path)
    gateway.wait_workers(2)
    target, sender = service(), balancer(port=2222)
    sender.send(GOOD + b"query")
    assert target.recv() == (b"query", (CLIENT_OF[4], 40000))
    connect(net.lb, ORIGIN_OF[4], 2222).close()
