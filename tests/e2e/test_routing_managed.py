# SPDX-License-Identifier: BSD-2-Clause
"""Managed: what is missing is added and kept; what is ours goes, what is the administrator's stays."""

import threading
import time

import pytest

from lib import conf, header, netns, routing
from lib.conn import connect
from lib.target import EchoTarget
from lib.topology import CLIENT_OF, LB4, ORIGIN_OF
from lib.wait import until
from test_routing_report import ACCEPT, PIECES, _undo

METHODS = list(PIECES)
ACCEPT_PATH = "/proc/sys/net/ipv4/tcp_fwmark_accept"


@pytest.fixture
def manage(origin, directory):
    """manage(*listeners, namespace=..., run=...): a managed return path that is stopped at last."""
    started = []

    def start(*listeners, namespace=origin, place="managed", wait=True, **keys):
        (directory / place).mkdir(exist_ok=True)
        config = conf.write(directory / place, listeners or [conf.listener(**keys)],
                            routing="managed")
        started.append(routing.Managed(namespace, config, directory))
        started[-1].config = config
        if wait:
            assert "ready" in started[-1].lines, started[-1].lines
        return started[-1]

    yield start
    for each in started:
        each.stop()


def read(namespace, path):
    def inside():
        with open(path, encoding="ascii") as file:
            return int(file.read())
    return namespace.call(inside)


def administrator_sets_up(origin, directory, **keys):
    path = conf.write(directory, [conf.listener(**keys)])
    routing.shell(origin, routing.run(origin, "rules", path, directory).text)


@pytest.mark.parametrize("return_path", METHODS)
def test_what_the_administrator_set_up_is_left_alone(return_path, origin, directory, manage):
    administrator_sets_up(origin, directory, return_path=return_path)
    before = routing.snapshot(origin)
    managed = manage(return_path=return_path)
    assert routing.snapshot(origin) == before
    managed.stop()
    assert routing.snapshot(origin) == before


@pytest.mark.parametrize("return_path", METHODS)
def test_only_what_is_missing_is_added(return_path, origin, directory, manage):
    administrator_sets_up(origin, directory, return_path=return_path)
    for piece in PIECES[return_path]:
        routing.shell(origin, _undo(piece))
        before = routing.snapshot(origin)
        managed = manage(return_path=return_path)
        added = [line for line in managed.lines if line.startswith("[+] Return path: ")]
        assert len(added) == 1, (piece, managed.lines)
        managed.stop()
        assert routing.snapshot(origin) == before, piece
        routing.shell(origin, piece)


@pytest.mark.parametrize("return_path", METHODS)
def test_after_a_crash_the_next_start_adopts_and_stop_restores(return_path, origin, manage):
    before = routing.snapshot(origin)
    first = manage(return_path=return_path)
    running = routing.snapshot(origin)
    first.kill()
    assert routing.snapshot(origin) == running
    second = manage(return_path=return_path)
    assert routing.snapshot(origin) == running
    assert second.lines == ["ready"]
    second.kill()
    manage(return_path=return_path).stop()
    assert routing.snapshot(origin) == before


@pytest.mark.parametrize("return_path", METHODS)
def test_after_a_crash_another_configuration_removes_what_it_does_not_need(return_path, origin,
                                                                           manage):
    before, sysctls = routing.snapshot(origin), routing.sysctls(origin)
    manage(return_path=return_path, mark=77, table=1000).kill()
    other = manage(return_path="loopback", target_v6=None, table=300)
    # A child of the dead one that reads the rules may outlive it for a moment.
    until(lambda: len(routing.own(origin)) == 2 and routing.sysctls(origin) == sysctls,
          lambda: routing.own(origin))
    assert all("300" in line for line in routing.own(origin))
    assert "mmproxy" not in origin.run("nft", "list", "tables")
    other.stop()
    assert routing.snapshot(origin) == before


def test_marks_that_the_administrator_takes_away_are_replaced(origin, directory, manage):
    administrator_sets_up(origin, directory, return_path="connmark")
    managed = manage(return_path="connmark")
    assert "mmproxy" not in origin.run("nft", "list", "tables")
    for program in ("iptables", "ip6tables"):
        origin.run(program, "-t", "mangle", "-F")
    managed.wait_line(r"\[!\] Return path: put back .*nft table inet mmproxy")


def test_a_sysctl_that_was_on_stays_on(origin, manage):
    origin.sysctl("net.ipv4.tcp_fwmark_accept", 1)
    managed = manage(return_path="fwmark")
    assert not any(ACCEPT in line for line in managed.lines)
    managed.stop()
    assert read(origin, ACCEPT_PATH) == 1


def test_a_sysctl_that_is_reset_comes_back(origin, manage):
    managed = manage(return_path="fwmark")
    origin.sysctl("net.ipv4.tcp_fwmark_accept", 0)
    until(lambda: managed.poll_lines() and read(origin, ACCEPT_PATH) == 1, "the sysctl to be back")
    managed.stop()
    assert read(origin, ACCEPT_PATH) == 0


def test_a_reload_adds_and_removes_what_changed(origin, directory, manage):
    one = conf.listener(name="one", listen="0.0.0.0:1", return_path="fwmark", mark=1, table=100)
    two = conf.listener(name="two", listen="0.0.0.0:2", return_path="fwmark", mark=2, table=100)
    before = routing.snapshot(origin)
    managed = manage(one, two)
    assert len(routing.own(origin)) == 6
    conf.write(directory / "managed", [two], routing="managed")
    managed.reload()
    assert len(routing.own(origin)) == 4
    assert not any("fwmark 0x1 " in line for line in routing.own(origin))
    assert read(origin, ACCEPT_PATH) == 1
    conf.write(directory / "managed", [two], routing="manual")
    managed.reload()
    assert routing.snapshot(origin) == before


def test_an_empty_configuration_needs_nothing(origin, directory):
    before = routing.snapshot(origin)
    path = conf.write(directory, [], routing="managed")
    managed = routing.Managed(origin, path, directory)
    assert routing.snapshot(origin) == before
    managed.stop()
    assert managed.lines == ["ready"]


def flush(origin, return_path):
    """What a firewall script or a network manager might do."""
    for family in ([], ["-6"]):
        selector = {"loopback": ["from", "::1" if family else "127.0.0.0/8"],
                    "fwmark": ["fwmark", "123"], "connmark": ["fwmark", "123"]}[return_path]
        origin.run("ip", *family, "rule", "del", *selector)
        origin.run("ip", *family, "route", "flush", "table", "100")
    if return_path == "connmark":
        origin.run("nft", "flush", "ruleset")


@pytest.mark.parametrize("return_path", METHODS)
def test_what_is_flushed_comes_back_and_sessions_survive(return_path, origin, plain_net, launch,
                                                         directory, manage):
    managed = manage(return_path=return_path)
    services = [EchoTarget(origin, address, conf.SERVICE_PORT) for address in ("127.0.0.1", "::1")]
    gateway = launch(origin, "-c", conf.write(
        directory, [conf.listener(return_path=return_path)], workers=2))
    gateway.wait_listening(*conf.LISTEN)
    running = routing.snapshot(origin)
    sessions = [_session(plain_net, version, port) for version in (4, 6)
                for port in range(40000, 40008)]
    stop = threading.Event()
    trips = [0] * len(sessions)
    threads = [threading.Thread(target=_trips, args=(session, stop, trips, i))
               for i, session in enumerate(sessions)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            flush(origin, return_path)
            until(lambda: managed.poll_lines()
                  and _strip(routing.snapshot(origin)) == _strip(running), "everything to be back")
            reached = list(trips)
            until(lambda old=reached: all(new > old for new, old in zip(trips, old)),
                  lambda old=reached: f"trips to go on after {old}: {trips}")
            _session(plain_net, 4, 41000).close()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for each in (*sessions, *services):
        each.close()
    assert any(line.startswith("[!] Return path: put back after another program removed it: ")
               for line in managed.lines)


def _strip(lines):
    """`nft flush ruleset` takes the tables of iptables along: those are not ours to put back."""
    own = lines.index("table inet mmproxy {") if "table inet mmproxy {" in lines else None
    tables = next((i for i, line in enumerate(lines) if line.startswith("table ")), len(lines))
    end = lines.index("}", own) + 1 if own is not None else None
    comments = [line for line in lines[:tables] if not line.startswith("#")]
    return comments + (lines[own:end] if own is not None else [])


def _session(net, version, port):
    peer = connect(net.lb, ORIGIN_OF[4], conf.PORT)
    peer.send(header.v2(CLIENT_OF[version], port) + b"hello")
    assert peer.recv(5) == b"hello"
    return peer


def _trips(session, stop, trips, i):
    while not stop.is_set():
        session.send(b"x" * 100)
        session.recv(100)
        trips[i] += 1
        time.sleep(0.005)


MORE_THAN_AT_ONCE = 15  # ten are put back at once, then one a second


def test_putting_back_has_a_limit(origin, manage):
    managed = manage(return_path="fwmark", target_v6=None)
    begin = time.monotonic()
    removed = 0
    while removed < MORE_THAN_AT_ONCE or time.monotonic() - begin < 4:
        if routing.rules(origin):
            origin.run("sh", "-c", "ip rule del fwmark 123 lookup 100 2>/dev/null || true")
            removed += 1
        managed.poll_lines()
    until(lambda: managed.poll_lines() and routing.rules(origin), "the rule to be back at last")
    took = time.monotonic() - begin
    put_back = [line for line in managed.lines if "put back" in line]
    assert 10 <= len(put_back) <= 10 + took + 1, (took, put_back)


def test_a_rule_that_is_shadowed_later_moves_before_the_other(origin, directory, manage):
    managed = manage(return_path="fwmark", target_v6=None)
    before = len(routing.own(origin))
    # As wg-quick does it: no priority given, the kernel takes one before ours.
    origin.ip("rule add not fwmark 0xca6c lookup 51820", "route add default dev eth0 table 51820")
    config = conf.write(directory, [conf.listener(return_path="fwmark", target_v6=None)])
    until(lambda: managed.poll_lines()
          and routing.run(origin, "verify", config, directory).status == 0, "the rule to move")
    assert len(routing.own(origin)) == before
    managed.stop()
    assert not routing.own(origin)
    assert len(routing.rules(origin)) == 1
    # Nobody took anything away.
    moved = [line for line in managed.lines if line.startswith("[!]")]
    assert len(moved) == 1, managed.lines
    assert moved[0].startswith("[!] Return path: put before another program's rule that took the "
                               "replies: ip rule add fwmark 123 lookup 100 priority "), moved


def test_lo_that_goes_down_and_up_gets_its_route_back(origin, manage):
    managed = manage(return_path="fwmark")
    running = routing.own(origin)
    origin.ip("link set lo down")
    until(lambda: managed.poll_lines() and routing.own(origin) != running, "the route to be gone")
    origin.ip("link set lo up")
    until(lambda: managed.poll_lines() and routing.own(origin) == running, "the route to be back")


def test_a_wrong_route_of_the_administrator_is_reported_and_left(origin, manage):
    origin.ip(f"route add default via {LB4} table 100")
    before = routing.snapshot(origin)
    managed = manage(return_path="fwmark", wait=False)
    assert "ready, but something is missing" in managed.lines
    assert any("a wrong route is in its place" in line
               and f"this command mends it: ip route del default via {LB4} dev eth0 table 100" in line
               for line in managed.lines), managed.lines
    managed.stop()
    assert routing.snapshot(origin) == before


@pytest.mark.parametrize("return_path", METHODS)
@pytest.mark.parametrize("first_stops", [True, False])
def test_two_instances_share_until_the_last_is_gone(return_path, first_stops, origin, manage):
    before = routing.snapshot(origin)
    first = manage(return_path=return_path, place="first")
    running = routing.snapshot(origin)
    second = manage(return_path=return_path, place="second")
    assert routing.snapshot(origin) == running
    leaver, stayer = (first, second) if first_stops else (second, first)
    leaver.stop()
    assert routing.snapshot(origin) == running
    stayer.stop()
    assert routing.snapshot(origin) == before


@pytest.mark.parametrize("return_path", METHODS)
def test_two_instances_with_different_needs_do_not_disturb_each_other(return_path, origin, manage):
    before = routing.snapshot(origin)
    first = manage(return_path=return_path, place="first", mark=1, table=1001)
    running = routing.snapshot(origin)
    second = manage(return_path="connmark", place="second", mark=2, table=1002)
    second.stop()
    assert routing.snapshot(origin) == running
    manage(return_path="connmark", place="third", mark=3, table=1003).kill()
    fourth = manage(return_path="loopback", place="fourth", table=1004)
    fourth.stop()
    assert routing.snapshot(origin) == running
    first.stop()
    assert routing.snapshot(origin) == before


@pytest.mark.parametrize("return_path", METHODS)
def test_instances_with_different_runtime_directories_heal(return_path, origin, directory, manage,
                                                           monkeypatch):
    before = routing.snapshot(origin)
    first = manage(return_path=return_path, place="first")
    running = routing.snapshot(origin)
    with monkeypatch.context() as patch:
        elsewhere = {"RUNTIME_DIRECTORY": str(directory / "elsewhere")}
        usual = routing.environment
        patch.setattr(routing, "environment", lambda where: usual(where) | elsewhere)
        second = manage(return_path=return_path, place="second")
        stranger = manage(return_path="loopback", place="third", table=777)
    assert not any(line.startswith("[-]") for line in second.lines)
    stranger.stop()
    first.stop()
    # What the first one took away the second one needs: at the latest when it looks next.
    until(lambda: second.poll_lines() and routing.snapshot(origin) == running, "repairs")
    second.stop()
    assert routing.snapshot(origin) == before


def test_instances_in_other_network_namespaces_are_none_of_ours(origin, manage):
    elsewhere = netns.Namespace()
    try:
        elsewhere.ip("link set lo up")
        first = manage(return_path="fwmark", place="first")
        second = manage(return_path="fwmark", place="second", namespace=elsewhere)
        running = routing.snapshot(elsewhere)
        first.stop()
        assert not routing.own(origin) and read(origin, ACCEPT_PATH) == 0
        assert routing.snapshot(elsewhere) == running and routing.own(elsewhere)
        second.stop()
        assert not routing.own(elsewhere) and read(elsewhere, ACCEPT_PATH) == 0
    finally:
        elsewhere.close()


def test_rules_of_another_protocol_number_are_not_ours(origin, manage):
    origin.ip("rule add fwmark 5 lookup 500 protocol 78 priority 200",
              "route add local default dev lo table 500 protocol 78")
    before = routing.snapshot(origin)
    manage(return_path="fwmark").stop()
    assert routing.snapshot(origin) == before
