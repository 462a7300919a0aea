# SPDX-License-Identifier: BSD-2-Clause
"""UDP: sessions keep their client when another worker takes their datagrams."""

import os
import signal
import socket

import pytest

from lib import conf, proc, udp
from lib.reloading import RELOADED, Reloader
from lib.topology import CLIENT_OF, ORIGIN_OF
from lib.udp import MODES
from lib.upgrading import Upgradable
from lib.wait import until

RELOADS = int(os.environ.get("MMPROXY_E2E_UDP_RELOADS", "20"))
KILLS = int(os.environ.get("MMPROXY_E2E_UDP_KILLS", "3"))  # a second each
IDLE_TIMEOUT = 600  # seconds: far more than all clients take for a turn


@pytest.mark.parametrize("mode", MODES)
def test_reloads_lose_and_misattribute_nothing(udp_listener, directory, udp_clients, mode):
    gateway = udp_listener(mode, workers=2, idle_timeout=IDLE_TIMEOUT)
    clients = udp_clients(mode)
    clients.round()
    clients.start()
    reloader = Reloader(gateway, directory)
    for number in range(RELOADS):
        reloader.write([udp.listener(mode, idle_timeout=IDLE_TIMEOUT)], workers=number % 3 + 1,
                       drain_timeout=number)
        reloader.hup_only(RELOADED)
    clients.stop()
    print(f"{clients.lost} of {clients.sent} lost")
    assert (clients.lost, clients.misattributed()) == (0, [])
    assert clients.sent > 32


@pytest.mark.parametrize("mode", MODES)
def test_killed_workers_lose_nothing_that_comes_meanwhile(udp_listener, udp_clients, mode):
    gateway = udp_listener(mode, workers=2)
    gateway.may_lose_workers = True
    clients = udp_clients(mode)
    clients.round()
    for number in range(KILLS):
        proc.kill(gateway.workers()[number % 2])
        clients.round()
        gateway.wait_workers(2)
    print(f"{clients.lost} of {clients.sent} lost")
    assert (clients.lost, clients.misattributed()) == (0, [])


@pytest.mark.parametrize("mode", MODES)
def test_kills_at_any_moment_misattribute_nothing(udp_listener, udp_clients, mode):
    gateway = udp_listener(mode, workers=2)
    gateway.may_lose_workers = True
    clients = udp_clients(mode)
    clients.round()
    clients.start(patience=1)
    for number in range(KILLS):
        before = gateway.wait_workers(2)
        proc.kill(before[number % 2])
        until(lambda: gateway.workers() and set(gateway.workers()) != set(before), "another worker")
    clients.stop()
    assert clients.misattributed() == []
    lost = clients.lost
    clients.round()
    assert clients.lost == lost  # all are served again
    print(f"{clients.lost} of {clients.sent} lost")


@pytest.mark.parametrize("mode", MODES)
def test_an_upgrade_of_the_binary_loses_nothing(net, launch, directory, udp_clients, mode):
    upgrading = Upgradable(net, launch, directory,
                           [conf.listener(), udp.listener(mode, idle_timeout=IDLE_TIMEOUT)])
    clients = udp_clients(mode)
    clients.round()
    clients.start()
    for _ in range(3):
        upgrading.replace()
        upgrading.upgrade()
    clients.take_turns()
    for old in upgrading.pids[:-1]:
        proc.cut_off(old, upgrading.gateway.text)
    clients.stop()
    assert (clients.lost, clients.misattributed()) == (0, [])
    upgrading.close()


def test_a_reply_that_comes_after_a_reload_reaches_the_client(udp_listener, directory, service,
                                                              balancer):
    gateway = udp_listener()
    target, sender = service(), balancer()
    sender.send(udp.v2(CLIENT_OF[4], 40000) + b"query")
    _, source = target.recv()
    Reloader(gateway, directory).write([udp.listener()], drain_timeout=17)
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(RELOADED)
    target.send(b"answer", source)
    assert sender.recv() == b"answer"


def test_a_header_after_a_reload_counts_and_not_what_was_known_before(udp_listener, directory,
                                                                     service, balancer):
    gateway = udp_listener("first", workers=2)
    target, sender = service(), balancer()
    sender.send(udp.v2(CLIENT_OF[4], 40000) + b"one")
    assert target.recv() == (b"one", (CLIENT_OF[4], 40000))
    reloader = Reloader(gateway, directory)
    for number, port in enumerate((40001, 40002)):
        reloader.write([udp.listener("first")], workers=2, drain_timeout=number)
        reloader.hup_only()
        sender.send(udp.v2(CLIENT_OF[4], port) + b"two")
        assert target.recv() == (b"two", (CLIENT_OF[4], port))
        reloader.write([udp.listener("first")], workers=2, drain_timeout=10 + number)
        reloader.hup_only()
        sender.send(b"three")
        assert target.recv() == (b"three", (CLIENT_OF[4], port))


def test_a_header_that_is_refused_ends_what_another_worker_knew(udp_listener, directory, service,
                                                               balancer):
    gateway = udp_listener("first")
    target, sender = service(), balancer()
    sender.send(udp.v2(CLIENT_OF[4], 40000) + b"one")
    target.recv()
    reloader = Reloader(gateway, directory)
    reloader.write([udp.listener("first")], drain_timeout=17)
    reloader.hup_only()
    sender.send(udp.v2("127.0.0.1", 40000) + b"two")
    gateway.wait_line(r".*the header names a local address as the client.*")
    sender.send(b"three")
    gateway.wait_line(r".*broke with bad proxy-protocol header.*")
    assert target.is_silent()


def test_a_session_that_has_expired_is_not_brought_back(udp_listener, service, balancer):
    gateway = udp_listener("first", idle_timeout=1)
    target, sender = service(), balancer()
    sender.send(udp.v2(CLIENT_OF[4], 40000) + b"one")
    target.recv()
    gateway.wait_line(r"\[-\] dns: .* disconnected, .*, idle timeout")
    sender.send(b"two")
    gateway.wait_line(r".*broke with bad proxy-protocol header.*")
    assert target.is_silent()


@pytest.mark.parametrize("mode", MODES)
def test_an_orphaned_worker_leaves_the_port_to_the_next_start(net, launch, directory, service,
                                                              balancer, mode):
    path = conf.write(directory, [udp.listener(mode)], workers=2)
    gateway = launch(net.origin, "-c", path)
    gateway.wait_workers(2)
    target, sender = service(), balancer()
    sender.send(udp.header_of(mode, CLIENT_OF[4], 40000) + b"query")
    _, source = target.recv()
    gateway.may_lose_workers = True
    orphans = gateway.workers()
    gateway.signal(signal.SIGKILL)
    gateway.wait_exit()
    gateway.wait_line(r"\[!\] the supervisor has died: .*", 2)
    after = launch(net.origin, "-c", path)
    after.wait_workers(2)
    target.send(b"answer", source)
    head = udp.header_of(mode, CLIENT_OF[4], 40000)
    assert sender.recv() == (head if mode == "spp" else b"") + b"answer"
    for number in range(20):
        other = balancer()
        other.send(udp.header_of(mode, CLIENT_OF[4], 41000 + number) + b"new")
        assert target.recv() == (b"new", (CLIENT_OF[4], 41000 + number))
    for pid in orphans:
        if proc.is_alive(pid):
            proc.kill(pid)


def test_two_programs_do_not_share_a_port(net, launch, directory, udp_listener):
    udp_listener()
    other = launch(net.origin, "-c", conf.write(directory, [udp.listener()], workers=2))
    assert other.wait_exit() == 71
    assert "Address already in use" in other.text()


@pytest.mark.parametrize("option", ("none", "SO_REUSEADDR", "SO_REUSEPORT"))
def test_a_port_that_another_program_receives_on_is_in_use(net, launch, directory, option):
    with net.origin.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        if option != "none":
            other.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
        other.bind(("0.0.0.0", udp.PORT))
        gateway = launch(net.origin, "-c", conf.write(
            directory, [udp.listener(listen=f"0.0.0.0:{udp.PORT}")], workers=2))
        assert gateway.wait_exit() == 71
        assert "Address already in use" in gateway.text()


def test_from_a_wildcard_to_one_address_and_back(net, udp_listener, directory, service, balancer):
    gateway = udp_listener(workers=2, listen=f"0.0.0.0:{udp.PORT}")
    target = service()
    reloader = Reloader(gateway, directory)
    for number, address in enumerate((ORIGIN_OF[4], "0.0.0.0")):
        reloader.write([udp.listener(listen=f"{address}:{udp.PORT}")], workers=2)
        reloader.hup_only()
        sender = balancer()
        for _ in range(3):
            sender.send(udp.v2(CLIENT_OF[4], 40000 + number) + b"query")
            assert target.recv() == (b"query", (CLIENT_OF[4], 40000 + number))
