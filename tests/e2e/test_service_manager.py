# SPDX-License-Identifier: BSD-2-Clause
"""Under a service manager: what it is told, what it hands over, and life without one."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from lib import conf, daemon, header, manager, proc
from lib.chatter import next_client
from lib.conn import FIN, RST, connect
from lib.reloading import FAILED, RELOADED, Reloader, client_sessions
from lib.topology import ORIGIN4
from lib.wait import until

WATCHDOG_S = 60
WHEN = r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"
UNIT = daemon.ROOT / "etc" / "mmproxy.service"
EXPOSURE = 2.0


def head():
    return header.v1(*next_client())


def web(**keys):
    return conf.listener(**({"name": "web", "listen": "0.0.0.0:8080"} | keys))


@pytest.fixture
def session(dial):
    yield from client_sessions(dial)


@pytest.fixture
def watching(directory):
    """A service manager that the daemons of the test are to talk to."""
    made = manager.Manager(directory)
    yield made
    made.close()


@pytest.fixture
def managed(net, launch, directory, watching):
    """managed(env={...}, prefix=[...], listeners=[...]): a daemon that has said READY."""
    def start(listeners=None, env=None, prefix=(), settings=None):
        path = conf.write(directory, listeners or [conf.listener()],
                          **{"workers": 2} | (settings or {}))
        gateway = launch(net.origin, "-c", path, env=watching.environment | (env or {}),
                         prefix=prefix)
        message = watching.wait("READY")
        assert message.text == "READY=1" and message.pid == gateway.pid
        Reloader(gateway, directory).wait_checked()
        return gateway
    return start


@pytest.fixture
def services(echo):
    """Targets that answer, so that the status has nothing to say of them."""
    return [echo(version=version) for version in (4, 6)]


# --- what it is told


@pytest.mark.usefixtures("services")
def test_start_reload_and_stop_in_these_very_states(managed, watching, directory):
    gateway = managed()
    assert watching.next().text == "STATUS=generation 1 serves 1 listener, 0 sessions"
    conf.write(directory, [conf.listener(), web()], workers=2)
    before = time.monotonic_ns() // 1000
    gateway.signal(signal.SIGHUP)
    reloading = watching.next()
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=[0-9]+", reloading.text)
    assert before <= int(reloading.fields["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert watching.next().text == "READY=1"
    assert re.fullmatch(r"STATUS=generation 2 serves 2 listeners, 0 sessions"
                        r"(; 1 generation drains, 0 sessions)?; reloaded at " + WHEN,
                        watching.next().text)
    gateway.signal(signal.SIGTERM)
    watching.wait("STOPPING", "1")
    assert watching.next().fields["STATUS"].startswith("stopping")
    assert gateway.wait_exit() == 0


@pytest.mark.usefixtures("services")
def test_reload_that_changes_nothing(managed, watching):
    gateway = managed()
    watching.wait("STATUS")
    gateway.signal(signal.SIGHUP)
    assert "RELOADING" in watching.next().fields
    assert watching.next().text == "READY=1"
    assert "; reloaded at " in watching.next().text


@pytest.mark.usefixtures("services")
def test_reload_that_fails_says_why(net, managed, watching, directory):
    gateway = managed()
    watching.wait("STATUS")
    path = directory / "mmproxy.conf"
    path.write_text("nonsense")
    gateway.signal(signal.SIGHUP)
    assert "RELOADING" in watching.next().fields
    assert watching.next().text == "READY=1"
    assert re.fullmatch(r"STATUS=generation 1 serves 1 listener, 0 sessions; reload failed at "
                        f"{WHEN}: {path}:1: \"=\" is missing behind \"nonsense\"", watching.next().text)
    taken = net.origin.socket(socket.AF_INET)
    taken.bind((ORIGIN4, 8080))
    taken.listen()
    conf.write(directory, [conf.listener(), web()], workers=2)
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(FAILED, 2)
    assert re.search(r"; reload failed at .*: can't listen on 0\.0\.0\.0:8080 \(web\): Address "
                     "already in use$", watching.wait("STATUS").fields["STATUS"])
    taken.close()
    gateway.signal(signal.SIGHUP)
    status = watching.wait("STATUS").fields["STATUS"]
    assert "reload failed" not in status and "; reloaded at " in status


def test_status_names_the_targets_that_fail(managed, watching, echo):
    """The last result of each is kept until the next check."""
    echo()
    gateway = managed()
    watching.wait_status(lambda s: s.endswith("; 1 of 2 targets fails, the first is [::1]:22"))
    echo(version=6)
    gateway.signal(signal.SIGHUP)
    watching.wait_status(lambda s: "; reloaded at " in s and "targets" not in s)


def test_status_follows_the_sessions(managed, watching, session, target, directory):
    service = target()
    target(version=6)
    gateway = managed()
    pairs = [session(service, head()) for _ in range(3)]
    watching.wait_status(lambda s: s == "generation 1 serves 1 listener, 3 sessions")
    conf.write(directory, [conf.listener(keepalive=61)], workers=2)
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(RELOADED)
    watching.wait_status(lambda s: s.startswith(
        "generation 2 serves 1 listener, 0 sessions; 1 generation drains, 3 sessions; "))
    gateway.signal(signal.SIGTERM)
    watching.wait_status(lambda s: re.fullmatch("stopping; [12] generations? drains?, 3 sessions",
                                                s))
    for peer, conn in pairs:
        conn.close()
        peer.expect_end(FIN)
        peer.close()
    assert gateway.wait_exit() == 0


@pytest.mark.usefixtures("services")
def test_watchdog_is_fed_while_all_workers_answer(managed, watching, clock):
    gateway = managed(env=clock.environment | {"WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))},
                      prefix=manager.as_watched())
    gateway.wait_workers(2)
    clock.stop()

    def feeds():
        clock.forward(WATCHDOG_S / 2)
        return [each for each in watching.take_all() if "WATCHDOG" in each.fields]

    for _ in range(3):  # a worker may be late with its answer
        message, = until(feeds, "to be fed")
        assert message.text == "WATCHDOG=1" and message.pid == gateway.pid
    victim = gateway.workers()[0]
    proc.stop(victim)
    clock.forward(WATCHDOG_S / 2)  # what was asked before has its answer
    watching.take_all()
    for _ in range(4):
        assert not feeds()
    os.kill(victim, signal.SIGCONT)
    until(feeds, "to be fed again")


def test_watchdog_of_another_process_is_left_alone(managed, watching, clock):
    managed(env=clock.environment | {"WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
                                     "WATCHDOG_PID": "1"})
    for _ in range(4):
        clock.forward(WATCHDOG_S / 2)
    assert not [each for each in watching.take_all() if "WATCHDOG" in each.fields]


# --- sockets that it keeps


def test_sockets_are_kept_over_a_restart_with_their_queue(net, managed, watching, launch,
                                                          directory, echo):
    echo()
    gateway = managed(env={"FDSTORE": "16"}, listeners=[conf.listener(listen="0.0.0.0:2222")])
    # Kept before it was READY, so ask again with a listener that is new.
    conf.write(directory, [conf.listener(listen="0.0.0.0:2223")], workers=2)
    gateway.signal(signal.SIGHUP)
    kept = watching.wait("FDSTORE", "1")
    assert kept.fields["FDNAME"] == "mmproxy-0.0.0.0_2223" and len(kept.fds) == 1
    assert watching.wait("FDSTOREREMOVE", "1").fields["FDNAME"] == "mmproxy-0.0.0.0_2222"
    gateway.wait_line(RELOADED)
    assert not net.origin.is_listening(2222)
    gateway.signal(signal.SIGUSR1)  # as the unit's ExecStop does where a start follows
    assert gateway.wait_exit() == 0
    waiting = [connect(net.lb, ORIGIN4, 2223) for _ in range(50)]
    for number, conn in enumerate(waiting):
        conn.send(head() + b"%3d" % number)
    again = launch(net.origin, "-c", directory / "mmproxy.conf", env=watching.environment,
                   prefix=manager.handing_over(kept.fds))
    again.wait_listening("0.0.0.0:2223")
    for number, conn in enumerate(waiting):
        assert conn.recv(3) == b"%3d" % number
        conn.close()
    for fd in kept.fds:
        os.close(fd)


def test_kept_socket_outlives_a_supervisor_that_is_killed(net, launch, directory, echo):
    """Its workers free the ports then, but not those that somebody else looks after."""
    echo()
    kept = net.origin.socket(socket.AF_INET)
    kept.bind(("0.0.0.0", 2222))
    kept.listen()
    path = conf.write(directory, [conf.listener()], workers=2)
    for _ in range(2):
        gateway = launch(net.origin, "-c", path, prefix=manager.handing_over([kept.fileno()]))
        gateway.wait_listening(*conf.LISTEN)
        workers = gateway.wait_workers(2)
        conn = connect(net.lb, ORIGIN4, 2222)
        conn.send(head() + b"x")
        assert conn.recv(1) == b"x"
        conn.close()
        proc.kill(gateway.pid)
        until(lambda: not any(map(proc.is_alive, workers)), "the orphans to end")
        assert kept.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert not net.origin.ss("-6", "-ltn", "sport", "= :2222")
    kept.close()


def test_rolled_back_socket_is_not_kept(net, managed, watching, directory):
    gateway = managed(env={"FDSTORE": "16"})
    taken = net.origin.socket(socket.AF_INET)
    taken.bind((ORIGIN4, 3333))
    taken.listen()
    conf.write(directory, [conf.listener(), web(), web(name="taken", listen="0.0.0.0:3333")])
    gateway.signal(signal.SIGHUP)
    for fd in watching.wait("FDSTORE").fds:
        os.close(fd)
    assert watching.wait("FDSTOREREMOVE").fields["FDNAME"] == "mmproxy-0.0.0.0_8080"
    gateway.wait_line(FAILED)
    assert not net.origin.is_listening(8080)
    taken.close()


def test_upgrade_tells_the_new_main_process(managed, watching):
    gateway = managed()
    gateway.signal(signal.SIGUSR2)
    new = int(watching.wait("MAINPID").fields["MAINPID"])
    assert new != gateway.pid and proc.is_alive(new)
    assert watching.wait("READY").pid == new
    until(lambda: not gateway.is_running(), "the old process to end")
    os.kill(new, signal.SIGTERM)
    assert watching.wait("STOPPING").pid == new
    until(lambda: not proc.is_alive(new), "the new process to end")


# --- stop, restart, and who is heard


def _start_again(launch, net, directory, watching, kept, env=None):
    """With what is in the store."""
    again = launch(net.origin, "-c", directory / "mmproxy.conf",
                   env=watching.environment | {"FDSTORE": "16"} | (env or {}),
                   prefix=manager.handing_over_store(kept))
    watching.wait("READY")
    return again


def _end_for_restart(gateway):
    """As systemd does by our unit."""
    gateway.signal(signal.SIGUSR1)
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit() == 0


def _restart(launch, net, directory, watching, gateway, kept, env=None):
    _end_for_restart(gateway)
    return _start_again(launch, net, directory, watching, kept, env)


@pytest.fixture
def stored(managed, watching):
    """stored(**settings): a daemon, and what it has put into the manager's store at its start."""
    kept = []

    def start(**keys):
        gateway = managed(env={"FDSTORE": "16"}, **keys)
        kept.extend(watching.store)
        return gateway, kept

    yield start
    for fd, _ in kept:
        os.close(fd)


def _finish(peer, conn):
    conn.close()
    peer.expect_end(FIN)
    peer.close()


def test_restart_refuses_none_and_old_sessions_live_on(net, stored, launch, watching, directory,
                                                       session, target):
    service = target()
    gateway, kept = stored()
    old = session(service, head())
    _end_for_restart(gateway)
    waiting = connect(net.lb, ORIGIN4, 2222)  # between stop and start
    again = _start_again(launch, net, directory, watching, kept)
    waiting.close()
    old[0].trip(old[1])
    peer, conn = session(service, head())
    peer.trip(conn)
    watching.wait_status(lambda s: "; 1 earlier process drains" in s)
    _finish(*old)
    watching.wait_status(lambda s: "earlier" not in s)
    _finish(peer, conn)
    assert not again.find(r".*supervisor has died.*")


@pytest.mark.parametrize("death", ("restart", "kill -9"))
def test_stop_ends_the_sessions_of_earlier_processes_within_drain_timeout(
        net, stored, launch, watching, directory, session, target, clock, death):
    service = target()
    gateway, kept = stored(settings={"drain_timeout": 2})
    gateway.may_lose_workers = True
    orphans = gateway.workers()
    old = [session(service, head()) for _ in range(2)]
    if death == "kill -9":
        proc.kill(gateway.pid)
        gateway.wait_line(r"\[!\] the supervisor has died: .*")
        again = _start_again(launch, net, directory, watching, kept, clock.environment)
    else:
        again = _restart(launch, net, directory, watching, gateway, kept, clock.environment)
    clock.stop()
    again.signal(signal.SIGTERM)
    until(lambda: not net.origin.is_listening(2222), "new connections to be refused")
    old[0][0].trip(old[0][1])
    assert again.is_running()  # the return path stays in place
    _finish(*old[0])
    clock.run(ahead=2)
    for each in old[1]:
        each.expect_end(RST)
    assert again.wait_exit() == 0
    until(lambda: not any(map(proc.is_alive, orphans)), "the orphans to end")


@pytest.mark.parametrize("death", ("restart", "kill -9"))
def test_a_port_closed_by_close_when_down_opens_after(net, stored, launch, watching, directory,
                                                      echo, dial, death):
    """Its socket does not listen when the next process gets it from the store."""
    gateway, kept = stored(listeners=[conf.listener(listen="0.0.0.0:2222", target_v6=None,
                                                    close_when_down=True)])
    closed = r"\[!\] Closed 0\.0\.0\.0:2222 \(ssh\) .*"
    gateway.wait_line(closed)
    if death == "kill -9":
        proc.kill(gateway.pid)
        again = launch(net.origin, "-c", directory / "mmproxy.conf",
                       env=watching.environment | {"FDSTORE": "16"},
                       prefix=manager.handing_over_store(kept))
        watching.wait("READY")
    else:
        again = _restart(launch, net, directory, watching, gateway, kept)
    again.wait_line(closed)
    echo()
    again.wait_line(r"\[\+\] Listening on 0\.0\.0\.0:2222 \(ssh\) again")
    peer = dial()
    peer.send(head() + b"ping")
    assert peer.recv(4) == b"ping"
    peer.close()
    assert not again.find(r".*of no use.*"), again.text()


def test_stop_refuses_at_once_what_the_manager_has_in_its_store(net, stored, watching, session,
                                                                target):
    gateway, _ = stored()
    peer, conn = session(target(), head())
    gateway.signal(signal.SIGTERM)
    until(lambda: not net.origin.is_listening(2222), "new connections to be refused")
    assert watching.wait("FDSTOREREMOVE").fields["FDNAME"].startswith("mmproxy-")
    peer.trip(conn)
    _finish(peer, conn)
    assert gateway.wait_exit() == 0


def test_only_the_main_process_tells_anything_over_upgrades(managed, watching, session, target):
    """A manager logs what it hears from another; and the sessions of the old one are told of."""
    service = target()
    target(version=6)
    gateway = managed(env={"FDSTORE": "16"})
    main, pairs = gateway.pid, []
    for sessions in (1, 2):
        pairs.append(session(service, head()))
        os.kill(main, signal.SIGUSR2)
        while "MAINPID" not in (message := watching.next()).fields:
            assert message.pid == main, message.text
        main = int(message.fields["MAINPID"])
        while f", {sessions} session" not in (message := watching.next()).text:
            assert message.pid == main, message.text
    for pair in pairs:
        _finish(*pair)
    while "earlier" in (message := watching.wait("STATUS")).text:
        assert message.pid == main
    os.kill(main, signal.SIGTERM)
    until(lambda: not proc.is_alive(main), "the last one to end")


# --- sockets that it hands over


def _activated(launch, net, path, directory, *listen):
    """Through the real systemd-socket-activate, which waits for the first connection."""
    env = daemon.environment(directory)
    keep = [word for key in ("ASAN_OPTIONS", "UBSAN_OPTIONS")
            for word in ("-E", f"{key}={env[key]}")]
    gateway = launch(net.origin, "-c", path, prefix=[
        "systemd-socket-activate", *keep, *(word for each in listen for word in ("-l", each))])
    until(lambda: net.origin.is_listening(2222), "the activator to listen")
    return gateway


def test_socket_activation_and_what_is_left_over(net, launch, directory, echo):
    echo()
    path = conf.write(directory, [conf.listener(listen=[f"{ORIGIN4}:2222", f"{ORIGIN4}:2223"])])
    gateway = _activated(launch, net, path, directory, f"{ORIGIN4}:2222", f"{ORIGIN4}:4444",
                         directory / "other.sock")
    conn = connect(net.lb, ORIGIN4, 2222)
    conn.send(head() + b"first")
    assert conn.recv(5) == b"first"
    conn.close()
    gateway.wait_line(re.escape(f"[+] Listening on {ORIGIN4}:2222 (ssh)"))
    gateway.wait_line(re.escape(f"[+] Listening on {ORIGIN4}:2223 (ssh)"))
    assert len(gateway.find(re.escape(
        f"[!] a socket listening on {ORIGIN4}:4444 was handed over and no listener wants it"))) == 1
    assert gateway.find(re.escape("[!] descriptor 5 was handed over but is of no use: ") + ".+")
    assert not net.origin.is_listening(4444)
    reloader = Reloader(gateway, directory)
    reloader.reload([conf.listener(listen=f"{ORIGIN4}:2222", keepalive=61)])
    again = connect(net.lb, ORIGIN4, 2222)
    again.send(head() + b"again")
    assert again.recv(5) == b"again"
    again.close()


def test_more_sockets_promised_than_handed_over_is_no_abort(net, launch, directory, echo):
    """What stands in their places by then must not be the event loop's own descriptors."""
    echo()
    echo(version=6)
    path = conf.write(directory, [conf.listener(listen="0.0.0.0:2222")])
    sock = net.origin.socket(socket.AF_INET)
    sock.bind(("0.0.0.0", 2222))
    sock.listen()
    gateway = launch(net.origin, "-c", path, prefix=[
        *manager.handing_over([sock.fileno()]), "/bin/sh", "-c", "LISTEN_FDS=5 exec \"$@\"", "sh"])
    gateway.wait_listening("0.0.0.0:2222")
    assert [line for line in gateway.lines if line.startswith("[!]")] == [
        "[!] descriptor 4 was handed over but is of no use: Bad file descriptor",
        "[!] 3 more descriptors of LISTEN_FDS are not open"]
    conn = connect(net.lb, ORIGIN4, 2222)
    conn.send(head() + b"x")
    assert conn.recv(1) == b"x"
    conn.close()
    sock.close()


def test_one_socket_promised_too_many_leaves_the_others_their_names(net, managed, watching, directory):
    kept = net.origin.socket(socket.AF_INET)
    kept.bind(("0.0.0.0", 2222))
    kept.listen()
    gateway = managed(listeners=[conf.listener(listen="0.0.0.0:2222")], prefix=[
        *manager.handing_over([kept.fileno()]), "/bin/sh", "-c",
        "LISTEN_FDS=2 LISTEN_FDNAMES=mmproxy-0.0.0.0_2222 exec \"$@\"", "sh"])
    Reloader(gateway, directory).reload([web()])
    assert watching.wait("FDSTOREREMOVE").fields["FDNAME"] == "mmproxy-0.0.0.0_2222"
    kept.close()


# --- without one


def test_process_1_of_a_container(net, launch, directory, echo, watching):
    """Others' orphans are reaped, SIGTERM is honoured, and SIGUSR2 would be the end of it all."""
    echo()
    path = conf.write(directory, [conf.listener()], workers=2)
    outer = launch(net.origin, "-c", path, prefix=[
        "unshare", "--pid", "--fork", "--mount-proc", "--kill-child"], env=watching.environment)
    watching.wait("READY")
    (first,) = proc.children(outer.pid)
    assert proc.status(first)["NSpid"].split()[1] == "1"
    orphan = subprocess.run(["nsenter", f"--target={first}", "--pid", "sh", "-c",
                             "sleep 0.01 & echo $!"], capture_output=True, check=True, text=True)
    assert orphan.stdout.strip().isdigit()
    until(lambda: not proc.zombies(first) and not _sleeps_below(first), "the orphan to be reaped")
    os.kill(first, signal.SIGUSR2)
    outer.wait_line(re.escape("[!] SIGUSR2 is ignored: everything here ends with process 1"))
    conn = connect(net.lb, ORIGIN4, 2222)
    conn.send(head() + b"x")
    assert conn.recv(1) == b"x"
    conn.close()
    os.kill(first, signal.SIGTERM)
    assert outer.wait_exit() == 0


def _sleeps_below(pid):
    return [child for child in proc.children(pid) if proc.name(child) == "sleep"]


# --- the unit file


def _analyze(*arguments):
    """In a /run of its own, since it leaves files there."""
    return subprocess.run(["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"',
                           "sh", "systemd-analyze", *arguments],
                          capture_output=True, text=True, check=False)


def test_unit_file_is_clean(directory):
    """The binary is not where it will be installed, so a copy of the unit names another."""
    unit = directory / UNIT.name
    shutil.copy(daemon.BINARY, directory / "mmproxy")
    unit.write_text(UNIT.read_text().replace("/usr/sbin/mmproxy", str(directory / "mmproxy")))
    done = _analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_unit_file_leaves_little_exposed():
    done = _analyze("security", "--offline=true", "--no-pager", UNIT)
    overall = re.search(r"Overall exposure level for mmproxy.service: ([0-9.]+)", done.stdout)
    assert overall, done.stdout + done.stderr
    assert float(overall[1]) <= EXPOSURE, done.stdout
