# SPDX-License-Identifier: BSD-2-Clause
"""The return path by the daemon itself: --rules, --check, and managed from start to stop."""

import os
import signal

import pytest

from lib import conf, daemon, header, proc, routing
from lib.conn import connect
from lib.reloading import UNCHANGED, Reloader
from lib.stopped_child import stop_next_child
from lib.target import EchoTarget
from lib.topology import CLIENT_OF, ORIGIN_OF
from lib.wait import until

METHODS = ("loopback", "fwmark", "connmark")


@pytest.fixture
def services(origin):
    made = [EchoTarget(origin, address, conf.SERVICE_PORT) for address in ("127.0.0.1", "::1")]
    yield made
    for each in made:
        each.close()


@pytest.fixture
def start(origin, launch, directory):
    """start(config): the daemon with a runtime directory of the test's own."""
    def make(config, **options):
        return launch(origin, "-c", config, env=environment(directory), **options)
    return make


def environment(directory):
    return {"RUNTIME_DIRECTORY": str(directory / "run")}


def write(directory, *listeners, **settings):
    return conf.write(directory, listeners, **({"workers": 1, "routing": "managed"} | settings))


def run(origin, directory, *arguments):
    """env(1) carries the runtime directory through to the binary."""
    where = f"RUNTIME_DIRECTORY={directory / 'run'}"
    return daemon.run(arguments, directory, origin, prefix=("env", where))


def session(net, version, port, through=conf.PORT):
    peer = connect(net.lb, ORIGIN_OF[4], through)
    peer.send(header.v2(CLIENT_OF[version], port) + b"hello")
    assert peer.recv(5) == b"hello"
    return peer


@pytest.mark.parametrize("form", ["shell", "undo", "networkd", "interfaces"])
def test_rules_prints_to_stdout_and_nothing_else(form, origin, directory):
    path = write(directory, conf.listener(return_path="fwmark"))
    done = run(origin, directory, f"--rules={form}", "-c", path)
    expected = routing.run(origin, "rules", path, directory, f"--rules={form}").text
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("services")
def test_check_tells_by_its_status(method, origin, directory):
    path = write(directory, conf.listener(return_path=method), routing="manual")
    done = run(origin, directory, "--check", "-c", path)
    assert done.returncode == 1 and routing.FAILED in done.stderr
    routing.shell(origin, run(origin, directory, "--rules", "-c", path).stdout)
    done = run(origin, directory, "--check", "-c", path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("[+] OK. ") == 6 and routing.FAILED not in done.stderr


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("services")
def test_check_of_managed_sets_up_for_as_long_as_it_checks(method, origin, directory, start):
    before = routing.snapshot(origin)
    path = write(directory, conf.listener(return_path=method))
    done = run(origin, directory, "--check", "-c", path)
    assert done.returncode == 0, done.stderr
    assert routing.snapshot(origin) == before
    gateway = start(path)
    gateway.wait_listening(*conf.LISTEN)
    running = routing.snapshot(origin)
    assert run(origin, directory, "--check", "-c", path).returncode == 0
    assert routing.snapshot(origin) == running
    gateway.stop()
    assert routing.snapshot(origin) == before


@pytest.mark.parametrize("method", METHODS)
def test_managed_from_start_to_stop(method, origin, plain_net, services, directory, start):
    before = routing.snapshot(origin)
    gateway = start(write(directory, conf.listener(return_path=method)))
    gateway.wait_listening(*conf.LISTEN)
    for version, service in zip((4, 6), services):
        session(plain_net, version, 50000).close()
        assert (CLIENT_OF[version], 50000) in service.sources
    gateway.wait_line(r"\[\+\] OK\. Target server \[::1\]:22 .* spoofed connection\.")
    gateway.stop()
    assert routing.snapshot(origin) == before


def crash(gateway):
    """Kills a supervisor that serves; its workers have no session and go."""
    gateway.wait_listening(*conf.LISTEN)
    workers = gateway.workers()
    gateway.may_lose_workers = True
    gateway.signal(signal.SIGKILL)
    gateway.wait_exit()
    until(lambda: not any(map(proc.is_alive, workers)), "its workers to be gone")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("services")
def test_a_crash_is_cleaned_up_by_the_next_start(method, origin, plain_net, directory, start):
    before = routing.snapshot(origin)
    crash(start(write(directory, conf.listener(return_path=method, mark=7, table=1007))))
    second = start(write(directory, conf.listener(return_path="loopback")))
    second.wait_listening(*conf.LISTEN)
    session(plain_net, 4, 50000).close()
    assert len(routing.own(origin)) == 4
    second.stop()
    assert routing.snapshot(origin) == before


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ("told to stop", "fails"))
def test_a_crash_is_cleaned_up_by_a_start_that_comes_to_nothing(method, how, origin, directory,
                                                                start):
    """Stopped before it is ready, or with a mistake: nobody may come after it."""
    before = routing.snapshot(origin)
    path = write(directory, conf.listener(return_path=method))
    crash(start(path))
    assert routing.snapshot(origin) != before
    if how == "fails":
        path.write_text("nonsense")
        assert start(path).wait_exit() == os.EX_CONFIG
    else:
        gate = directory / "gate"
        os.mkfifo(gate)
        second = start(path, prefix=["sh", "-c", f"read go <{gate}; exec \"$@\"", "sh"])
        worker = stop_next_child(second.pid, lambda: gate.write_text("go\n"))
        second.signal(signal.SIGTERM)
        second.wait_line(r"\[\+\] stopping: .*")
        worker.resume()
        assert second.wait_exit() == 0
    assert routing.snapshot(origin) == before
    assert not list((directory / "run").iterdir())


@pytest.mark.parametrize("method", METHODS)
def test_a_start_that_fails_leaves_alone_what_another_has_set_up(method, origin, directory, start):
    path = write(directory, conf.listener(return_path=method))
    first = start(path)
    first.wait_listening(*conf.LISTEN)
    running = routing.snapshot(origin)
    assert start(path).wait_exit() == os.EX_OSERR  # the ports are taken
    assert routing.snapshot(origin) == running


def test_a_manual_daemon_leaves_nothing_even_when_it_is_killed(origin, directory, start):
    before = routing.snapshot(origin)
    gateway = start(write(directory, conf.listener(), routing="manual"))
    gateway.wait_listening(*conf.LISTEN)
    gateway.may_lose_workers = True
    gateway.signal(signal.SIGKILL)
    gateway.wait_exit()
    assert routing.snapshot(origin) == before
    assert not (directory / "run").exists()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("services")
def test_a_drained_session_keeps_its_return_path(method, origin, plain_net, directory, start):
    before = routing.snapshot(origin)
    old = conf.listener(name="old", return_path=method, mark=7, table=1007)
    new = conf.listener(name="new", listen="0.0.0.0:2223", return_path="loopback", target_v6=None)
    gateway = start(write(directory, old))
    gateway.wait_listening(*conf.LISTEN, name="old")
    kept = session(plain_net, 6, 50000)
    write(directory, new)
    gateway.signal(signal.SIGHUP)
    gateway.wait_listening("0.0.0.0:2223", name="new")
    kept.send(b"still here")
    assert kept.recv(10) == b"still here"
    assert any("1007" in line for line in routing.own(origin))
    session(plain_net, 4, 50001, through=2223).close()
    kept.close()
    until(lambda: len(routing.own(origin)) == 2, lambda: str(routing.own(origin)))
    assert not any("1007" in line for line in routing.own(origin))
    assert "mmproxy" not in origin.run("nft", "list", "tables")
    gateway.stop()
    assert routing.snapshot(origin) == before


@pytest.mark.usefixtures("services")
def test_killed_supervisor_s_first_sessions_keep_their_return_path_from_another_mark(
        origin, plain_net, directory, start):
    """The workers of the first generation hold the claim too."""
    gateway = start(write(directory, conf.listener(return_path="fwmark", mark=7, table=1007)))
    gateway.wait_listening(*conf.LISTEN)
    gateway.may_lose_workers = True
    kept = session(plain_net, 4, 50000)
    gateway.signal(signal.SIGKILL)
    gateway.wait_line(r"\[!\] the supervisor has died: .*")
    again = start(write(directory, conf.listener(return_path="fwmark", mark=8, table=1008)))
    again.wait_listening(*conf.LISTEN)
    session(plain_net, 4, 50001).close()
    assert any("1007" in line for line in routing.own(origin))
    kept.send(b"still here")
    assert kept.recv(10) == b"still here"
    kept.close()
    until(lambda: not any("1007" in line for line in routing.own(origin)), "it to be gone")
    again.stop()


@pytest.mark.usefixtures("services")
def test_reload_without_a_change_sets_up_what_the_host_needs_by_now(origin, plain_net, directory,
                                                                    start):
    """IPv6 that was enabled after the start."""
    origin.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    gateway = start(write(directory, conf.listener(listen="0.0.0.0:2222", return_path="loopback")))
    gateway.wait_listening("0.0.0.0:2222")
    assert len(routing.own(origin)) == 2
    origin.sysctl("net.ipv6.conf.all.disable_ipv6", 0)
    Reloader(gateway, directory).hup(UNCHANGED)
    assert len(routing.own(origin)) == 4
    until(lambda: "::1" in origin.run("ip", "-6", "address", "show", "dev", "lo"), "an address")
    gateway.stop()
    assert not routing.own(origin)


def test_stop_with_a_session_drains_with_its_return_path(origin, plain_net, services, directory,
                                                         start):
    assert services
    before = routing.snapshot(origin)
    gateway = start(write(directory, conf.listener(return_path="fwmark")))
    gateway.wait_listening(*conf.LISTEN)
    kept = session(plain_net, 4, 50000)
    gateway.signal(signal.SIGTERM)
    until(lambda: not origin.is_listening(conf.PORT), "accepting to end")
    kept.send(b"still here")
    assert kept.recv(10) == b"still here"
    assert routing.own(origin)
    kept.close()
    assert gateway.wait_exit() == 0
    assert routing.snapshot(origin) == before


@pytest.mark.parametrize("method", METHODS)
def test_routing_mode_changes_at_a_reload(method, origin, plain_net, services, directory, start):
    assert services
    before = routing.snapshot(origin)
    listener = conf.listener(return_path=method)
    gateway = start(write(directory, listener, routing="manual"))
    gateway.wait_listening(*conf.LISTEN)
    assert routing.snapshot(origin) == before
    reloader = Reloader(gateway, directory)
    reloader.reload([listener], routing="managed")
    running = routing.snapshot(origin)
    session(plain_net, 4, 50000).close()
    session(plain_net, 6, 50000).close()
    reloader.reload([listener], routing="manual")
    until(lambda: routing.snapshot(origin) == before, "the return path to be gone")
    reloader.reload([listener], routing="managed")
    assert routing.snapshot(origin) == running
    gateway.stop()
    assert routing.snapshot(origin) == before
