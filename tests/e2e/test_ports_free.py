# SPDX-License-Identifier: BSD-2-Clause
"""Whoever has died, and in whatever order: no process that does not accept holds a port."""

import re
import signal

import pytest

from lib import conf, header, proc, stopped_child
from lib.chatter import next_client
from lib.conn import FIN
from lib.reloading import Reloader, client_sessions
from lib.upgrading import Upgradable
from lib.wait import until


def head():
    return header.v1(*next_client())


@pytest.fixture
def session(dial):
    yield from client_sessions(dial)


def _holders(net):
    """Processes that have a listening socket on the port."""
    lines = net.origin.ss("-ltnp", "sport", "= :2222")
    return {int(pid) for line in lines for pid in re.findall(r"pid=([0-9]+)", line)}


def _kill_at_once(supervisor, workers):
    """None of them gets to do anything about the death of the others."""
    pids = [supervisor, *workers]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            proc.send(pid, number)
    until(lambda: not any(map(proc.is_alive, pids)), "them to be gone")


def _expect_start_and_session(net, launch, directory, session, service, old):
    """A start on the same ports serves, and the old session goes on to its end."""
    again = launch(net.origin, "-c", directory / "mmproxy.conf")
    again.wait_listening(*conf.LISTEN)
    peer, conn = session(service, head())
    peer.trip(conn)
    old_peer, old_conn = old
    old_peer.trip(old_conn)
    old_conn.close()
    old_peer.expect_end(FIN)
    old_peer.close()


def test_worker_that_drains_after_a_reload_holds_no_port(net, serve, directory, session, target):
    gateway = serve()
    (old,) = gateway.workers()
    pair = session(target(), head())
    reloader = Reloader(gateway, directory)
    reloader.write([conf.listener(keepalive=61)])
    reloader.hup()
    until(lambda: old not in _holders(net), "the old worker to let go of the port")
    assert gateway.pid in _holders(net)
    pair[0].trip(pair[1])


def test_all_but_a_draining_worker_killed_the_port_is_free(net, serve, launch, directory, session,
                                                           target):
    """Nobody is left that could shut the listening sockets down."""
    gateway = serve()
    gateway.may_lose_workers = True
    (old,) = gateway.workers()
    service = target()
    pair = session(service, head())
    reloader = Reloader(gateway, directory)
    reloader.write([conf.listener(keepalive=61)])
    reloader.hup()
    until(lambda: old not in _holders(net), "the old worker to let go of the port")
    _kill_at_once(gateway.pid, [pid for pid in gateway.workers() if pid != old])
    assert not net.origin.is_listening(2222)
    _expect_start_and_session(net, launch, directory, session, service, pair)


def test_after_an_upgrade_the_new_process_and_its_workers_killed_the_port_is_free(
        net, launch, directory, session, target):
    service = Upgradable(net, launch, directory)
    service.gateway.may_lose_workers = True
    behind = target()
    pair = session(behind, head())
    old = service.pid
    new = service.upgrade()
    until(lambda: not _holders(net) & {old, *proc.children(old)}, "the old ones to let go of it")
    _kill_at_once(new, proc.children(new))
    assert not net.origin.is_listening(2222)
    assert proc.is_alive(old)
    _expect_start_and_session(net, launch, directory, session, behind, pair)
    service.wait_gone(old)


def test_orphan_that_is_still_starting_does_not_tell_of_memory(serve, directory):
    gateway = serve()
    gateway.may_lose_workers = True
    reloader = Reloader(gateway, directory)
    reloader.write([conf.listener(keepalive=61)])
    orphan = stopped_child.stop_next_child(gateway.pid, lambda: gateway.signal(signal.SIGHUP))
    proc.kill(gateway.pid)
    until(lambda: not proc.is_alive(gateway.pid), "the supervisor to be gone")
    orphan.resume()
    until(lambda: not proc.is_alive(orphan.pid), "the orphan to end")
    gateway.wait_exit()
    assert not gateway.find(r".*could not start.*|.*can't tell.*"), gateway.text()
