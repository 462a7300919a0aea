# SPDX-License-Identifier: BSD-2-Clause
"""What may change at a reload: everything."""

import re
import signal
import socket

import pytest

from lib import conf, header, lines, proc
from lib.chatter import next_client
from lib.conn import FIN, RST, connect
from lib.reloading import FAILED, Reloader, client_sessions
from lib.topology import LB4, ORIGIN4, STRANGER4
from lib.wait import until


def head():
    return header.v1(*next_client())


def web(**keys):
    return conf.listener(**({"name": "web", "listen": "0.0.0.0:8080"} | keys))


@pytest.fixture
def session(dial):
    yield from client_sessions(dial)


@pytest.fixture
def reloader(serve, directory):
    """reloader(...) as serve; returns one that has reload() and gateway."""
    def start(**options):
        return Reloader(serve(**options), directory)
    return start


def _expect_served(net, port=2222):
    """By an echo service."""
    conn = connect(net.lb, ORIGIN4, port)
    conn.send(head() + b"served?")
    assert conn.recv(7) == b"served?"
    conn.close()


def test_listener_added_and_removed(net, reloader, echo, dial, target, session):
    target_port_23 = target(port=23)
    changing = reloader()
    changing.reload([conf.listener(), web(target_v4="127.0.0.1:23")])
    changing.gateway.wait_listening("0.0.0.0:8080", name="web")
    peer, conn = session(target_port_23, head(), port=8080)
    peer.trip(conn)
    changing.write([conf.listener()])
    changing.hup()
    changing.gateway.wait_line(re.escape("[-] No longer listening on 0.0.0.0:8080"))
    with pytest.raises(ConnectionRefusedError):
        connect(net.lb, ORIGIN4, 8080)
    peer.trip(conn)


def test_listener_moved_to_another_address(net, reloader, echo, dial):
    echo()
    moving = reloader()
    for listen in (["0.0.0.0:2223"], [f"{ORIGIN4}:2223"], ["0.0.0.0:2223"], [f"{ORIGIN4}:2224"]):
        moving.reload([conf.listener(listen=listen)])
        _expect_served(net, int(listen[0].rpartition(":")[2]))
    assert not net.origin.is_listening(2222) and not net.origin.is_listening(2223)


def test_address_of_a_neighbour_is_taken_while_both_have_the_port(net, reloader, echo):
    """From a wildcard to one address: the port is shared for a moment only."""
    echo()
    moving = reloader(listen="0.0.0.0:2222")
    moving.reload([conf.listener(listen=f"{ORIGIN4}:2222")])
    with pytest.raises(ConnectionRefusedError):
        connect(net.origin, "127.0.0.1", 2222)
    intruder = net.origin.socket(socket.AF_INET)
    intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with pytest.raises(OSError, match="in use"):
        intruder.bind((ORIGIN4, 2222))
    intruder.close()


def test_listener_renamed(reloader, session, target):
    renamed = reloader()
    service = target()
    old, old_conn = session(service, head())
    renamed.write([conf.listener(name="shell")])
    renamed.hup()
    assert not renamed.gateway.find(r".*No longer listening.*")
    client = next_client()
    peer, conn = session(service, header.v1(*client))
    renamed.gateway.wait_line(lines.connected(peer.local, "%s:%d" % client, "127.0.0.1:22",
                                              name="shell"))
    old.trip(old_conn)
    peer.trip(conn)


def test_two_listeners_swap_their_addresses(reloader, target, session):
    ssh, smtp = target(), target(port=25)
    swapping = reloader(listen="0.0.0.0:2222")
    swapping.reload([conf.listener(listen="0.0.0.0:2222"),
                     web(name="smtp", target_v4="127.0.0.1:25")])
    swapping.reload([conf.listener(listen="0.0.0.0:8080"),
                     web(name="smtp", listen="0.0.0.0:2222", target_v4="127.0.0.1:25")])
    for service, port in ((ssh, 8080), (smtp, 2222)):
        peer, conn = session(service, head(), port=port)
        peer.trip(conn)
    assert not swapping.gateway.find(r".*No longer listening.*")


def test_target_moved(reloader, session, target):
    old_service, new_service = target(), target(port=23)
    moving = reloader()
    peer, conn = session(old_service, head())
    moving.write([conf.listener(target_v4="127.0.0.1:23")])
    moving.hup()
    other, other_conn = session(new_service, head())
    other.trip(other_conn)
    peer.trip(conn)


def test_subnets_refreshed(net, reloader, directory, session, target, dial):
    """Those who are no longer let in keep the sessions that they have."""
    refreshed = reloader()
    service = target()
    peer, conn = session(service, head())
    (directory / "lb.subnets").write_text(f"{STRANGER4}\n")
    refreshed.hup()
    late = dial()
    late.expect_end(RST)
    refreshed.gateway.wait_line(lines.not_allowed(late.local))
    stranger = connect(net.lb, ORIGIN4, 2222, source=STRANGER4)
    stranger.send(head())
    stranger_conn = service.accept()
    stranger.trip(stranger_conn)
    peer.trip(conn)


def test_session_keeps_the_timeouts_that_it_was_accepted_under(reloader, session, target):
    changed = reloader()
    service = target()
    old, old_conn = session(service, head())
    changed.write([conf.listener(idle_timeout=1)])
    changed.hup()
    new, new_conn = session(service, head())
    new.expect_end(RST)
    new_conn.expect_end(RST)
    old.trip(old_conn)


def test_connection_without_a_header_yet_is_served_by_its_generation(reloader, dial, target):
    """It was accepted under the old rules, and the old target is part of them."""
    service = target()
    changed = reloader()
    peer = dial()
    until(lambda: peer.is_quiet() and _is_accepted(changed.gateway.namespace, peer), "an accept")
    changed.write([conf.listener(target_v4="127.0.0.1:23")])
    changed.hup()
    peer.send(head())
    conn = service.accept()
    peer.trip(conn)
    conn.close()


def _is_accepted(namespace, peer):
    return any("users:" in line for line in
               namespace.ss("-tnp", "state", "established", "dport", f"= :{peer.port}"))


def test_limits_count_over_generations(reloader, session, target, dial):
    limited = reloader(max_sessions=2)
    service = target()
    held = [session(service, head()) for _ in range(2)]
    limited.write([conf.listener(max_sessions=3)])
    limited.hup()
    session(service, head())
    late = dial()
    late.expect_end(RST)
    for peer, conn in held:
        peer.trip(conn)


@pytest.mark.parametrize("before, after", ((1, 3), (3, 1)))
def test_number_of_workers(reloader, before, after):
    changed = reloader(settings={"workers": before})
    changed.reload([conf.listener()], workers=after)
    assert len(changed.gateway.workers()) == after


def test_user(reloader):
    changed = reloader(settings={"user": "daemon"})
    changed.reload([conf.listener()], user="nobody")
    (worker,) = changed.gateway.workers()
    assert set(proc.status(worker)["Uid"].split()) == {"65534"}


def test_mark_and_table(net, reloader, session, target):
    net.origin.ip("rule add fwmark 7 lookup 107", "route add local 0.0.0.0/0 dev lo table 107")
    changed = reloader()
    service = target()
    for mark in (7, 123):
        changed.write([conf.listener(mark=mark, table=100 + mark)])
        changed.hup()
        peer, conn = session(service, head())
        peer.trip(conn)
        marked = net.origin.ss("-tne", "state", "established", "dport", "= :22")
        assert any(f"fwmark:{mark:#x}" in line for line in marked), marked
        conn.close()
        peer.expect_end(FIN)
        peer.close()
        until(lambda: not net.origin.ss("-tn", "state", "established", "dport", "= :22"),
              "the session's end")


def test_file_added_to_include_dir_and_removed(net, serve, directory, echo):
    """The file that everybody's configuration comes from stays as it is."""
    echo()
    folder = directory / "mmproxy.d"
    folder.mkdir()
    folder.chmod(0o755)
    changing = Reloader(serve(settings={"include_dir": "mmproxy.d"}), directory)
    added = folder / "web.conf"
    added.write_text(conf.render([web(allowed_subnets=[LB4])]))
    changing.hup()
    changing.gateway.wait_listening("0.0.0.0:8080", name="web")
    _expect_served(net, 8080)
    added.write_text("listeners = (\n  { name = web; }\n);\n")
    changing.hup(FAILED)
    changing.gateway.wait_line(rf'.*{re.escape(str(added))}:2: "web" needs quotes.*')
    _expect_served(net, 8080)
    added.unlink()
    changing.hup()
    changing.gateway.wait_line(re.escape("[-] No longer listening on 0.0.0.0:8080"))
    _expect_served(net)


def test_log_settings(reloader, session, target):
    changed = reloader()
    service = target()
    changed.write([conf.listener()], log={"level": "notice"})
    changed.hup()
    session(service, head())
    changed.write([conf.listener()], log={"level": "info", "format": "json"})
    changed.hup()
    session(service, head())
    changed.gateway.wait_line(r'\{.*"listener":"ssh".*\}')
    changed.write([conf.listener()], log={"level": "info", "format": "text"})
    changed.hup()
    peer, _ = session(service, head())
    changed.gateway.wait_line(re.escape(f"[+] ssh: {peer.local} connected, ") + ".*")
    assert len(changed.gateway.find(r".* connected, .*")) == 2


def test_drain_timeout_and_sandbox(reloader, session, target):
    changed = reloader(settings={"drain_timeout": 600})
    peer, _ = session(target(), head())
    changed.write([conf.listener()], drain_timeout=0, sandbox=False)
    changed.hup()
    changed.gateway.signal(signal.SIGTERM)
    assert changed.gateway.wait_exit() == 0
    peer.expect_end(RST)


def test_to_no_listener_and_back(net, reloader, echo):
    echo()
    changed = reloader()
    changed.write([])
    changed.hup()
    until(lambda: not net.origin.is_listening(2222), "the listeners to close")
    changed.gateway.wait_line(r"\[!\] no listener is configured in .*: waiting for a reload")
    until(lambda: not changed.gateway.workers(), "the workers to end")
    changed.reload([conf.listener()])
    _expect_served(net)


def test_without_a_file_the_subnets_are_read_again(net, launch, directory, dial):
    path = directory / "lb.subnets"
    path.write_text(f"{LB4}\n")
    gateway = launch(net.origin, "-a", path, "-l", "0.0.0.0:2222", "-4", "127.0.0.1:22", "-6",
                     "[::1]:22")
    gateway.wait_listening("0.0.0.0:2222", name="")
    path.write_text("10.1.2.3\n")
    Reloader(gateway, directory).hup()
    late = dial()
    late.expect_end(RST)
    gateway.wait_line(lines.not_allowed(late.local, name=None))


def test_clients_of_a_new_family(reloader, session, target):
    changed = reloader(target_v6=None)
    changed.write([conf.listener()])
    changed.hup()
    peer, conn = session(target(6), header.v1("2001:db8::9", 40000))
    peer.trip(conn)
