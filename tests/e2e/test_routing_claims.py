# SPDX-License-Identifier: BSD-2-Clause
"""
Who needs the return path: sessions outlive their supervisor, dead instances do not, and no other
user has a say in it.
"""

import os
import signal
import socket
import subprocess
import sys

import pytest

from lib import conf, header, proc, routing
from lib.conn import connect
from lib.reloading import RELOADED
from lib.target import EchoTarget
from lib.topology import CLIENT_OF, ORIGIN_OF
from lib.upgrading import Upgradable
from lib.wait import until

METHODS = ("fwmark", "connmark")
NOBODY = 65534
# Binds abstract names for as long as its input is open.
BIND = """
import os, socket, sys
os.setgid({0}); os.setuid({0})
made = [socket.socket(socket.AF_UNIX) for _ in sys.argv[1:]]
for sock, name in zip(made, sys.argv[1:]):
    sock.bind("\\0" + name)
print("bound", flush=True)
sys.stdin.read()
""".format(NOBODY)


@pytest.fixture
def services(origin):
    made = [EchoTarget(origin, address, conf.SERVICE_PORT) for address in ("127.0.0.1", "::1")]
    yield made
    for each in made:
        each.close()


@pytest.fixture
def start(origin, launch, directory):
    """start(mark=..., ...): a managed gateway; all of them have one runtime directory."""
    def make(**keys):
        return launch(origin, "-c", write(directory, **keys), env=environment(directory))
    return make


@pytest.fixture
def before(origin):
    routing.create_mangle(origin)
    return routing.snapshot(origin)


def environment(directory):
    return {"RUNTIME_DIRECTORY": str(directory / "run")}


def write(directory, mark, **keys):
    listener = conf.listener(**({"mark": mark, "table": 1000 + mark} | keys))
    return conf.write(directory, [listener], workers=2, routing="managed")


def session(net, version, through=conf.PORT):
    peer = connect(net.lb, ORIGIN_OF[4], through)
    peer.send(header.v2(CLIENT_OF[version], 50000) + b"hello")
    assert peer.recv(5) == b"hello"
    return peer


def echoes(peer):
    peer.send(b"still here")
    return peer.recv(10) == b"still here"


def kill(gateway):
    """The supervisor alone; its workers go on until their sessions have ended."""
    gateway.may_lose_workers = True
    proc.kill(gateway.pid)
    gateway.wait_exit()


def has_rule(origin, mark):
    return any(f"lookup {1000 + mark}" in line for line in routing.own(origin))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("services")
def test_sessions_of_the_first_generation_survive_a_restart_with_another_mark(
        method, origin, plain_net, start, before):
    first = start(mark=7, return_path=method)
    first.wait_listening(*conf.LISTEN)
    kept = [session(plain_net, version) for version in (4, 6)]
    workers = first.workers()
    kill(first)
    until(lambda: not origin.is_listening(conf.PORT), "the orphans to let go of the port")
    second = start(mark=8, return_path=method)
    second.wait_listening(*conf.LISTEN)
    session(plain_net, 4).close()
    assert has_rule(origin, 7) and has_rule(origin, 8)
    assert all(map(echoes, kept))
    for each in kept:
        each.close()
    until(lambda: not any(map(proc.is_alive, workers)), "the orphans to end")
    until(lambda: not has_rule(origin, 7), "the dead instance's rules to go")
    assert has_rule(origin, 8)
    second.stop()
    assert routing.snapshot(origin) == before


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("services")
def test_sessions_of_the_first_generation_survive_a_start_that_fails(
        method, origin, plain_net, start, directory, launch, before):
    first = start(mark=7, return_path=method)
    first.wait_listening(*conf.LISTEN)
    kept = [session(plain_net, version) for version in (4, 6)]
    workers = first.workers()
    kill(first)
    path = directory / "mmproxy.conf"
    path.write_text("nonsense")
    assert launch(origin, "-c", path, env=environment(directory)).wait_exit() == os.EX_CONFIG
    assert all(map(echoes, kept))
    for each in kept:
        each.close()
    until(lambda: not any(map(proc.is_alive, workers)), "the orphans to end")
    last = start(mark=7, return_path=method)
    last.wait_listening(*conf.LISTEN)
    last.stop()
    assert routing.snapshot(origin) == before
    assert not list((directory / "run").iterdir())


@pytest.mark.usefixtures("services")
def test_sessions_survive_an_upgrade_with_another_mark_when_the_old_process_is_killed(
        origin, plain_net, launch, directory, before):
    program = Upgradable(plain_net, launch, directory, env=environment(directory))
    old_path = write(directory, mark=7, return_path="fwmark")
    program.signal(signal.SIGHUP)
    program.gateway.wait_line(RELOADED)
    program.wait_workers(2)
    kept = [session(plain_net, version) for version in (4, 6)]
    assert write(directory, mark=8, return_path="fwmark") == old_path
    old = program.pid
    workers = proc.children(old)
    program.upgrade()
    session(plain_net, 4).close()
    program.gateway.may_lose_workers = True
    proc.kill(old)
    program.wait_gone(old)
    # A look of the new one, which sees that its own part is gone.
    origin.ip("rule del fwmark 8 lookup 1008")
    until(lambda: has_rule(origin, 8), "the rule to come back")
    assert has_rule(origin, 7)
    assert all(map(echoes, kept))
    for each in kept:
        each.close()
    until(lambda: not any(map(proc.is_alive, workers)), "the orphans to end")
    until(lambda: not has_rule(origin, 7), "the dead process's rules to go")
    program.close()
    assert routing.snapshot(origin) == before


def claims(directory):
    return [path.name.removeprefix("claim.") for path in directory.glob("run/*/claim.*")]


def test_names_that_a_local_user_binds_keep_no_dead_instance_s_rules(origin, start, directory, before):
    first = start(mark=7, return_path="fwmark")
    first.wait_listening(*conf.LISTEN)
    workers = first.workers()
    dead, = claims(directory)
    kill(first)
    until(lambda: not any(map(proc.is_alive, workers)), "the orphans to end")
    names = [f"mmproxy-claim/{name}" for name in (dead, "1.0123456789abcdef")]
    with subprocess.Popen(origin.argv(sys.executable, "-c", BIND, *names), text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other_user:
        assert other_user.stdout.readline() == "bound\n"
        second = start(mark=8, return_path="fwmark")
        second.wait_listening(*conf.LISTEN)
        assert not has_rule(origin, 7)
        second.stop()
        assert routing.snapshot(origin) == before
        assert not list((directory / "run").iterdir())
        other_user.stdin.close()


def test_no_process_can_be_reached_through_its_claim(origin, start, directory):
    gateway = start(mark=7, return_path="fwmark")
    gateway.wait_listening(*conf.LISTEN)
    name, = claims(directory)
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
        with origin.socket(socket.AF_UNIX, kind) as sock, pytest.raises(OSError):
            sock.connect(f"\0mmproxy-claim/{name}")


@pytest.mark.usefixtures("services")
def test_an_instance_that_is_stuck_holds_up_no_other(origin, plain_net, start, before):
    """Stopped at any moment: each of them changes the return path all the time."""
    first = start(mark=7, return_path="fwmark")
    first.wait_listening(*conf.LISTEN)
    running = routing.snapshot(origin)
    for _ in range(5):
        origin.ip("rule del fwmark 7 lookup 1007")
        first.signal(signal.SIGSTOP)
        other = start(mark=8, listen="0.0.0.0:2223", return_path="fwmark")
        other.wait_listening("0.0.0.0:2223")
        session(plain_net, 4, 2223).close()
        other.stop()
        assert not has_rule(origin, 8)
        first.signal(signal.SIGCONT)
        until(lambda: routing.snapshot(origin) == running, "the repair")
    first.stop()
    assert routing.snapshot(origin) == before


def _switches(pid):
    return int(proc.status(pid)["voluntary_ctxt_switches"])


def test_a_router_s_changes_are_read_together(origin, start, directory, before):
    """Each by itself would wake the supervisor each time."""
    changes, pause_s = 20000, 0.02
    gateway = start(mark=7, return_path="fwmark")
    gateway.wait_listening(*conf.LISTEN)
    batch = directory / "batch"
    batch.write_text("".join(f"route {'add' if i % 2 == 0 else 'del'} 192.0.2.{i // 2 % 200}/32 "
                             "dev lo table 4000\n" for i in range(changes)))
    woken, began = _switches(gateway.pid), os.times().elapsed
    origin.run("ip", "-batch", str(batch))
    passed = os.times().elapsed - began
    assert _switches(gateway.pid) - woken <= 3 * (passed / pause_s + 1)
    origin.ip("rule del fwmark 7 lookup 1007")
    until(lambda: has_rule(origin, 7), "the repair")
    gateway.stop()
    assert routing.snapshot(origin) == before
