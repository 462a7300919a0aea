# SPDX-License-Identifier: BSD-2-Clause
"""Targets that come and go: what the log and the status say, and close_when_down."""

import json
import re
import signal
import socket

import pytest

from lib import conf, header, lines, manager
from lib.conn import RST
from lib.topology import CLIENT4, ORIGIN4
from lib.wait import until

BACK = re.escape("[+] OK. Target server 127.0.0.1:22 is back: it can be reached.")
DOWN = re.escape("[!] FAILED: Target server 127.0.0.1:22 seems to be down: connection refused. ") + ".*"
CLOSED = re.escape("[!] Closed 0.0.0.0:2222 (ssh) until one of its targets can be reached")
AGAIN = re.escape("[+] Listening on 0.0.0.0:2222 (ssh) again")


@pytest.fixture
def watching(directory):
    made = manager.Manager(directory)
    yield made
    made.close()


@pytest.fixture
def managed(net, launch, directory, watching):
    """managed(**listener keys): one listener for IPv4 that has said READY."""
    def start(settings=None, **keys):
        keys = {"listen": "0.0.0.0:2222", "target_v6": None} | keys
        path = conf.write(directory, [conf.listener(**keys)], **{"workers": 2} | (settings or {}))
        gateway = launch(net.origin, "-c", path, env=watching.environment)
        watching.wait("READY")
        return gateway
    return start


def test_a_target_that_starts_later_is_no_longer_failed(managed, watching, echo):
    gateway = managed()
    watching.wait_status(lambda s: s.endswith("; 1 of 1 targets fails, the first is 127.0.0.1:22"))
    echo()
    gateway.wait_line(BACK)
    watching.wait_status(lambda s: "targets" not in s)
    assert len(gateway.find(DOWN)) == 1, gateway.text()  # however often it was checked


def test_a_cause_is_reported_once_for_both_kinds_of_connection(managed, watching):
    gateway = managed()
    watching.wait_status(lambda s: "1 of 1 targets fails" in s)
    gateway.read_all()
    assert len(gateway.find(r".*FAILED.*")) == 1, gateway.text()


def test_a_target_that_sessions_cannot_reach_becomes_failed(managed, watching, echo, dial):
    service = echo()
    gateway = managed()
    gateway.wait_line(r".*127\.0\.0\.1:22 is up and reachable using spoofed connection\.")
    service.close()
    peer = dial()
    peer.send(header.v1(CLIENT4, 51234))
    peer.expect_end(RST)
    gateway.wait_line(DOWN)
    watching.wait_status(lambda s: s.endswith("; 1 of 1 targets fails, the first is 127.0.0.1:22"))
    echo()
    gateway.wait_line(BACK)
    watching.wait_status(lambda s: "targets" not in s)


def test_a_return_path_that_gets_lost_is_told_after_the_first_session_that_hangs(
        net, managed, echo, dial):
    """The session's line names --check; the daemon runs the checks by itself, and says the cure."""
    echo()
    gateway = managed(connect_timeout=1)
    gateway.wait_line(r".*127\.0\.0\.1:22 is up and reachable using spoofed connection\.")
    net.origin.ip("rule del from 127.0.0.0/8 iif lo")
    peer = dial()
    peer.send(header.v1(CLIENT4, 51234))
    gateway.wait_line(lines.told("-", "failed: Connection timed out, proxy protocol source .*; to "
                                      "see why: mmproxy --check"))
    peer.expect_end(RST)
    gateway.wait_line(r"\[!\] FAILED: A piece of its return path is missing\. .*")
    command = gateway.wait_line(r"(ip rule add from 127\.0\.0\.0/8 iif lo lookup 100) *")[1]
    net.origin.run("sh", "-ec", command)
    gateway.wait_line(BACK)


def test_a_client_that_a_firewall_rejects_does_not_make_the_target_failed(net, managed, echo,
                                                                          dial):
    """As fail2ban does; the check decides, not the session."""
    echo()
    gateway = managed(close_when_down=True)
    gateway.wait_line(r".*127\.0\.0\.1:22 is up and reachable using spoofed connection\.")
    net.origin.run("nft", "add table ip ban; add chain ip ban in { type filter hook input priority 0; }; "
                   f"add rule ip ban in ip saddr {CLIENT4} tcp dport 22 reject with tcp reset")
    peer = dial()
    peer.send(header.v1(CLIENT4, 51234))
    peer.expect_end(RST)
    gateway.wait_line(lines.told("-", "failed: Connection refused.*"))
    for client in range(3):
        other = dial()
        other.send(header.v1(f"198.51.100.{20 + client}", 51234) + b"ping")
        assert other.recv(4) == b"ping"
    gateway.wait_line(rf"\[!\] Client {re.escape(CLIENT4)} can't reach target server .*")
    until(lambda: gateway.workers() == gateway.children(), "the check to end")
    gateway.read_all()
    assert not gateway.find(DOWN) and not gateway.find(CLOSED), gateway.text()


def test_check_events_name_listener_and_target(managed):
    gateway = managed(settings={"log": {"target": "stderr", "format": "json"}})

    def events():
        parsed = [json.loads(line) for line in gateway.lines if line.startswith("{")]
        return [event for event in parsed if event.get("event") == "check" and "target" in event]

    until(lambda: len(events()) >= 2, gateway.text)
    for event in events():
        assert event["listener"] == "ssh" and event["target"] == "127.0.0.1:22"
        assert (event["target_address"], event["target_port"]) == ("127.0.0.1", 22)


def test_close_when_down_closes_the_port_until_a_target_can_be_reached(net, managed, echo, dial):
    gateway = managed(close_when_down=True)
    gateway.wait_line(CLOSED)
    assert not net.origin.is_listening(2222)
    with pytest.raises(ConnectionRefusedError):
        net.lb.socket(socket.AF_INET).connect((ORIGIN4, 2222))
    service = echo()
    gateway.wait_line(AGAIN)
    for _ in range(4):  # by all workers
        peer = dial()
        peer.send(header.v1(CLIENT4, 51234) + b"ping")
        assert peer.recv(4) == b"ping"
        peer.close()
    # A session finds out.
    service.close()
    peer = dial()
    peer.send(header.v1(CLIENT4, 51235))
    peer.expect_end(RST)
    gateway.wait_line(CLOSED, 2)
    echo()
    gateway.wait_line(AGAIN, 2)


def test_close_when_down_a_load_balancers_empty_check_finds_out(managed, echo, dial):
    service = echo()
    gateway = managed(close_when_down=True)
    gateway.wait_line(r".*127\.0\.0\.1:22 is up and reachable using spoofed connection\.")
    service.close()
    dial().close()
    gateway.wait_line(CLOSED)


def test_close_when_down_one_target_is_enough(net, managed, watching, echo):
    echo(version=6)
    gateway = managed(close_when_down=True, target_v6="[::1]:22")
    watching.wait_status(lambda s: s.endswith("; 1 of 2 targets fails, the first is 127.0.0.1:22"))
    assert net.origin.is_listening(2222)
    gateway.read_all()
    assert not gateway.find(CLOSED), gateway.text()


def test_closed_ports_stay_closed_at_a_reload_and_open_without_the_key(net, managed, directory):
    gateway = managed(close_when_down=True)
    gateway.wait_line(CLOSED)
    keys = {"listen": "0.0.0.0:2222", "target_v6": None}
    conf.write(directory, [conf.listener(close_when_down=True, keepalive=61, **keys)], workers=2)
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(r"\[\+\] reloaded: .*")
    assert not net.origin.is_listening(2222)
    conf.write(directory, [conf.listener(keepalive=61, **keys)], workers=2)
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(AGAIN)
    until(lambda: net.origin.is_listening(2222), "the port")


def test_closed_ports_go_through_an_upgrade(managed, echo, dial):
    gateway = managed(close_when_down=True)
    gateway.wait_line(CLOSED)
    gateway.signal(signal.SIGUSR2)
    gateway.wait_line(r"\[\+\] upgraded: .*")
    echo()

    def serves():
        try:
            peer = dial()
            peer.send(header.v1(CLIENT4, 51234) + b"ping")
            return peer.recv(4) == b"ping"
        except OSError:
            return False  # its first check closed the port once more

    until(serves, "the new binary to open the port")


def reject(net, client):
    net.origin.run("iptables", "-A", "INPUT", "-s", client, "-p", "tcp", "--dport", "22",
                   "-j", "REJECT", "--reject-with", "tcp-reset")


def test_a_client_whose_connection_failed_is_tried_from_its_own_address(net, managed, echo, dial):
    """As fail2ban bans it: others are served, and the log names the rule."""
    echo()
    gateway = managed()
    gateway.wait_line(r".*127\.0\.0\.1:22 is up and reachable using spoofed connection\.")
    reject(net, CLIENT4)
    peer = dial()
    peer.send(header.v1(CLIENT4, 51234))
    peer.expect_end(RST)
    gateway.wait_line(rf"\[!\] Client {re.escape(CLIENT4)} can't reach target server 127\.0\.0\.1:22, "
                      r"although others can: Connection refused\.")
    gateway.wait_line(r"\[!\] FAILED: This firewall rule rejects its packets: ip filter, chain INPUT: "
                      r".*This command mends it:")
    gateway.wait_line(r"nft delete rule ip filter INPUT handle [0-9]+")
    assert not gateway.find(DOWN), gateway.text()
