# SPDX-License-Identifier: BSD-2-Clause
"""udp_header = "first": what a header starts and ends, and the way back of two peers of a client."""

import signal

import pytest

from lib import conf, ctl, header, proc, udp
from lib.reloading import RELOADED, Reloader
from lib.topology import CLIENT4, LOOPBACK_OF, STRANGER4

GOOD = udp.v2(CLIENT4, 40000)
STREAM = header.v2_raw(header.PROXY, header.INET, header.STREAM, bytes([198, 51, 100, 8] * 3))
CRC = header.v2_raw(header.PROXY, header.INET, header.DGRAM,
                    bytes([198, 51, 100, 8] * 3) + b"\x03\x00\x04" + b"\xde\xad\xbe\xef")


@pytest.fixture
def services(net):
    """Two, at ports 5400 and 5401."""
    made = [udp.Service(net.origin, LOOPBACK_OF[4], port) for port in (5400, 5401)]
    yield made
    for each in made:
        each.close()


def test_a_header_that_names_the_same_client_starts_a_new_session(udp_listener, directory, service,
                                                                  balancer):
    gateway = udp_listener("first", max_sessions_per_client=1)
    target, sender = service(), balancer()
    sender.send(GOOD + b"one")
    _, source = target.recv()
    id_before, = (each["id"] for each in ctl.Ctl(directory).sessions())
    sender.send(GOOD + b"two")
    assert target.recv() == (b"two", (CLIENT4, 40000))
    gateway.wait_line(rf"\[-\] dns: .* disconnected, proxy protocol source {CLIENT4}:40000, .*, "
                      "a new header from the same peer")
    gateway.wait_line(rf"\[\+\] dns: .* connected, proxy protocol source {CLIENT4}:40000, .*", 2)
    after, = ctl.Ctl(directory).sessions()
    assert after["id"] != id_before
    target.send(b"answer", source)
    assert sender.recv() == b"answer"
    sender.send(b"three")
    assert target.recv() == (b"three", (CLIENT4, 40000))


def test_no_answer_is_lost_when_a_header_starts_a_new_session(udp_listener, service, balancer):
    gateway = udp_listener("first")
    target, sender = service(), balancer()
    sender.send(GOOD + b"query")
    _, source = target.recv()
    worker, = gateway.workers()
    for number in range(20):
        proc.stop(worker)
        sender.send(GOOD + b"again")
        target.send(b"answer %d" % number, source)
        proc.send(worker, signal.SIGCONT)
        assert sender.recv() == b"answer %d" % number
        assert target.recv() == (b"again", (CLIENT4, 40000))


@pytest.mark.parametrize("head", (STREAM, CRC, GOOD[:20], header.v1(CLIENT4, 40000)),
                         ids=("stream", "crc", "cut", "v1"))
@pytest.mark.parametrize("is_reloaded", (False, True), ids=("same-worker", "after-a-reload"))
def test_a_bad_header_ends_what_its_peer_had(udp_listener, directory, service, balancer, head,
                                             is_reloaded):
    """It may be meant for another client: nothing behind it goes in the old one's name."""
    gateway = udp_listener("first")
    target, sender = service(), balancer()
    sender.send(GOOD + b"one")
    target.recv()
    if is_reloaded:
        reloader = Reloader(gateway, directory)
        reloader.write([udp.listener("first")], drain_timeout=17)
        reloader.hup_only(RELOADED)
    sender.send(head + b"two")
    sender.send(b"three")
    gateway.wait_line(r"\[\?\] dns: .* broke with bad proxy-protocol header: .*", 2)
    sender.send(GOOD + b"four")
    assert target.recv() == (b"four", (CLIENT4, 40000))
    assert target.is_silent() and sender.is_silent()


@pytest.mark.parametrize("workers", (1, 4))
def test_answers_go_to_the_peer_of_the_latest_datagram(udp_listener, service, balancer, workers):
    gateway = udp_listener("first", workers=workers)
    target = service()
    senders = [balancer(4 + 2 * (number % 2)) for number in range(8)]
    known = []
    for number in range(64):
        sender = senders[number * number % 11 % 8]
        sender.send((b"" if sender in known else GOOD) + b"query %d" % number)
        known.append(sender)
        data, source = target.recv()
        assert (data, source) == (b"query %d" % number, (CLIENT4, 40000))
        target.send(data, source)
        assert sender.recv() == b"query %d" % number
    assert not gateway.find(r".* disconnected, .*")


def test_answers_leave_from_the_address_that_the_latest_datagram_was_sent_to(net, udp_listener, service):
    net.origin.ip("address add 10.99.0.9/24 dev eth0")
    udp_listener("first", workers=4)
    target = service()
    senders = [udp.Balancer(net.lb, address, udp.PORT) for address in ("10.99.0.2", "10.99.0.9") * 4]
    for number in range(32):
        sender = senders[number % 8]  # connected: an answer from elsewhere does not reach it
        sender.send((GOOD if number < 8 else b"") + b"query")
        _, source = target.recv()
        target.send(b"answer %d" % number, source)
        assert sender.recv() == b"answer %d" % number
    for sender in senders:
        sender.close()


@pytest.mark.parametrize("workers", (1, 4))
def test_a_peer_that_got_another_client_gets_no_answer_for_the_old_one(udp_listener, service, balancer,
                                                                       workers):
    gateway = udp_listener("first", workers=workers)
    target = service()
    for number in range(8):
        port = 40000 + number
        old, new = balancer(), balancer()
        for sender in (old, new):
            sender.send(udp.v2(CLIENT4, port) + b"query")
            target.recv()
        new.send(udp.v2(CLIENT4, 41000 + number) + b"of another")
        assert target.recv() == (b"of another", (CLIENT4, 41000 + number))
        gateway.wait_line(r".* disconnected, .*, a new header from the same peer", number + 1)
        target.send(b"for the first", (CLIENT4, port))
        assert old.recv() == b"for the first"
        target.send(b"for the second", (CLIENT4, 41000 + number))
        assert new.recv() == b"for the second"


def test_nor_does_it_after_a_reload(udp_listener, directory, service, balancer):
    gateway = udp_listener("first")
    target, sender, other = service(), balancer(), balancer()
    sender.send(GOOD + b"query")
    other.send(udp.v2(CLIENT4, 40001) + b"query")
    for _ in range(2):
        target.recv()
    reloader = Reloader(gateway, directory)
    reloader.write([udp.listener("first")], drain_timeout=17)
    reloader.hup_only(RELOADED)
    sender.send(udp.v2(CLIENT4, 40002) + b"of another")
    target.recv()
    target.send(b"for the first", (CLIENT4, 40000))
    target.send(b"for the other", (CLIENT4, 40001))  # by the same worker, and later
    assert other.recv() == b"for the other"
    target.send(b"for the second", (CLIENT4, 40002))
    assert sender.recv() == b"for the second"


@pytest.mark.parametrize("workers", (1, 4))
def test_answers_of_two_services_to_one_client(net, launch, directory, services, balancer, workers):
    """Both answer one address and port, and each peer gets those to its own datagrams."""
    ports = (5300, 5301)
    listeners = [udp.listener("first", name=f"dns{port}", listen=f"0.0.0.0:{port}",
                              target_v4=f"127.0.0.1:{port + 100}", target_v6=None) for port in ports]
    gateway = launch(net.origin, "-c", conf.write(directory, listeners, workers=workers))
    gateway.wait_workers(workers)
    for number in range(8):
        client = (CLIENT4, 40000 + number)
        senders = [balancer(port=port) for port in ports]
        for sender, target in zip(senders, services):
            sender.send(udp.v2(*client) + b"query")
            assert target.recv() == (b"query", client)
        for sender, target in zip(senders, services):
            target.send(b"answer", client)
            assert sender.recv() == b"answer"


def test_a_direct_peer_that_becomes_a_load_balancer_needs_a_header(udp_listener, directory, service,
                                                                   balancer):
    direct = {"direct_subnets": ["10.99.0.3"]}
    gateway = udp_listener("first", **direct)
    target, sender, other = service(), balancer(source=STRANGER4), balancer()
    sender.send(b"one")
    assert target.recv() == (b"one", (STRANGER4, sender.port))
    reloader = Reloader(gateway, directory)
    reloader.write([udp.listener("first", allowed_subnets=["10.99.0.0/24"])])
    reloader.hup_only(RELOADED)
    sender.send(b"two")
    gateway.wait_line(r"\[\?\] dns: .* broke with bad proxy-protocol header: .*")
    other.send(GOOD + b"three")
    assert target.recv() == (b"three", (CLIENT4, 40000))
