# SPDX-License-Identifier: BSD-2-Clause
"""mmproxyctl and its socket: what an operator sees and does, and what nobody else may."""

import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys

import pytest

from lib import conf, header, proc
from lib.chatter import next_client
from lib.conn import connect
from lib.ctl import Ctl
from lib.topology import ORIGIN4
from lib.upgrading import Upgradable
from lib.wait import together, until

USAGE, UNAVAILABLE, NOPERM, CONFIG = 64, 69, 77, 78


@pytest.fixture
def ctl(directory):
    return Ctl(directory)


def only_waits(stderr):
    """On a busy machine mmproxyctl says that there is no answer yet; nothing else is expected."""
    return all("still waiting" in line for line in stderr.splitlines())


def begin_session(net):
    conn = connect(net.lb, ORIGIN4, 2222)
    conn.sock.sendall(header.v1(*next_client()) + b"hello")
    assert conn.sock.recv(5, socket.MSG_WAITALL) == b"hello"
    return conn


def refuse(net, payload=b"GET / HTTP/1.0\r\n\r\n"):
    conn = connect(net.lb, ORIGIN4, 2222)
    conn.sock.sendall(payload)
    try:
        assert conn.sock.recv(1) == b""
    except ConnectionResetError:
        pass
    conn.sock.close()


class Done:
    """What the test has done so far: the counters must say the same."""

    def __init__(self, net):
        self.net = net
        self.sessions = 0
        self.bad_headers = 0

    def act(self):
        begin_session(self.net).sock.close()
        self.sessions += 1
        refuse(self.net)
        self.bad_headers += 1

    def expect(self, ctl):
        def figures():
            shown = ctl.listener()
            return (shown["accepted"], shown["served"], shown["bytes_in"], shown["bytes_out"],
                    shown["refused"].get("bad_header", 0), shown["sessions"])

        wanted = (self.sessions + self.bad_headers, self.sessions, 5 * self.sessions,
                  5 * self.sessions, self.bad_headers, 0)
        until(lambda: figures() == wanted, lambda: f"{wanted}, there is {figures()}")


def test_figures_over_reloads_and_worker_kills(net, echo, serve, ctl, directory):
    echo()
    gateway = serve(settings={"workers": 2})
    gateway.may_lose_workers = True
    done = Done(net)
    for i in range(6):
        done.act()
        done.expect(ctl)
        conf.write(directory, [conf.listener(idle_timeout=100 + i)], workers=2)
        ctl.ask("reload")
        done.act()
        serving, = (each for each in ctl.of_type("generation", "status")
                    if each["state"] == "serving")
        proc.kill(serving["pids"][0])
        gateway.wait_line(r"\[!\] worker .* died: killed by signal 9 .*", i + 1)
        until(lambda: len(gateway.workers()) >= 2, "the worker to be replaced")
        done.expect(ctl)


def test_figures_over_a_listener_that_comes_back(net, echo, serve, ctl, directory):
    echo()
    serve()
    done = Done(net)
    done.act()
    done.expect(ctl)
    conf.write(directory, [conf.listener(name="other", listen="0.0.0.0:2323")], workers=1)
    ctl.ask("reload")
    conf.write(directory, [conf.listener()], workers=1)
    ctl.ask("reload")
    done.act()
    done.expect(ctl)


def test_figures_over_upgrades(net, echo, launch, directory, ctl):
    echo()
    service = Upgradable(net, launch, directory)
    try:
        done = Done(net)
        done.act()
        lasting = begin_session(net)
        for _ in range(3):
            service.upgrade()
            done.act()
            until(lambda: ctl.run("status").returncode == 0, "the new process to answer")
            until(lambda: ctl.listener()["sessions"] == 1, "one session")
            assert ctl.listener()["served"] == done.sessions + 1
        lasting.sock.sendall(b"still there")  # through the oldest process
        assert lasting.sock.recv(11, socket.MSG_WAITALL) == b"still there"
        until(lambda: ctl.listener()["bytes_in"] == 5 * done.sessions + 16, "its bytes")
        lasting.sock.close()
        for pid in service.pids[:-1]:
            service.wait_gone(pid)
        assert ctl.listener()["served"] == done.sessions + 1
        until(lambda: ctl.listener()["sessions"] == 0, "no session")
        assert ctl.listener()["bytes_in"] == 5 * done.sessions + 16
    finally:
        service.close()


def test_sessions_are_listed_and_closed(net, echo, serve, ctl):
    echo()
    serve(settings={"workers": 2})
    conns = [begin_session(net) for _ in range(80)]
    listed = ctl.sessions()
    assert len(listed) == 80
    assert {each["peer"] for each in listed} == {conn.local for conn in conns}
    one = listed[17]
    assert one["listener"] == "ssh"
    assert one["state"] == "relay"
    assert one["bytes_in"] == 5 and one["bytes_out"] == 5
    host = one["client"].rsplit(":", 1)[0]
    assert {each["id"] for each in ctl.sessions("--client", host)} == {
        each["id"] for each in listed if each["client"].startswith(f"{host}:")}
    assert not ctl.sessions("--listener", "other")
    assert ctl.of_type("closed", "close", one["id"]) == [{"type": "closed", "sessions": 1}]
    closed = next(conn for conn in conns if conn.local == one["peer"])
    with pytest.raises(ConnectionResetError):
        closed.sock.recv(1)
    assert ctl.ask("close", one["id"], status=1) == [{"type": "closed", "sessions": 0}]
    assert ctl.of_type("closed", "close", "--listener", "ssh")[0]["sessions"] == 79
    until(lambda: not ctl.sessions(), "no session")


def test_reload_prints_every_mistake_and_fails(net, serve, ctl, directory):
    serve()
    (directory / "mmproxy.conf").write_text("wrkers = 1;\nrouting = \"auto\";\nlisteners = ( );\n")
    done = ctl.run("reload")
    assert done.returncode == CONFIG
    assert done.stdout.splitlines() == [
        f"{directory}/mmproxy.conf:1: unknown key \"wrkers\" (did you mean \"workers\"?)",
        f"{directory}/mmproxy.conf:2: \"routing\" must be \"manual\" or \"managed\", not \"auto\""]
    assert ctl.of_type("load", "status")[0]["good"] is False
    conf.write(directory, [conf.listener(keepalive=7)], workers=1)
    done = ctl.run("reload")
    assert (done.returncode, done.stdout) == (0, "generation 2 serves\n")


def test_drained_listener_stays_closed_over_a_reload(net, echo, serve, ctl, directory):
    echo()
    gateway = serve()
    lasting = begin_session(net)
    ctl.ask("drain", "ssh")
    with pytest.raises(ConnectionRefusedError):
        connect(net.lb, ORIGIN4, 2222)
    conf.write(directory, [conf.listener(keepalive=7)], workers=1)
    gateway.signal(signal.SIGHUP)
    ctl.ask("reload")
    with pytest.raises(ConnectionRefusedError):
        connect(net.lb, ORIGIN4, 2222)
    assert ctl.listener()["state"] == "drained"
    done = ctl.run("check")
    assert "ssh is drained: its ports are closed until mmproxyctl resume ssh" in done.stdout
    lasting.sock.sendall(b"on")
    assert lasting.sock.recv(2, socket.MSG_WAITALL) == b"on"
    ctl.ask("resume", "ssh")
    begin_session(net).sock.close()
    lasting.sock.close()
    ctl.ask("drain", "no-such", status=1)


def test_check_says_what_does_not_hold(net, echo, serve, ctl):
    serve(target_v6=None)
    done = ctl.run("check")
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    echo()
    done = ctl.run("check", "--listener", "ssh")
    assert done.returncode == 0 and only_waits(done.stderr)
    assert "[+] OK. Target server 127.0.0.1:22" in done.stdout


def test_group_looks_and_changes_nothing(net, serve, directory):
    ctl = Ctl(directory)
    serve(settings={"control_group": "adm"})
    info = ctl.socket.stat()
    assert stat.S_IMODE(info.st_mode) == 0o660
    assert info.st_uid == 0
    member = Ctl(directory, prefix=["setpriv", "--reuid=nobody", "--regid=adm", "--clear-groups"])
    assert member.ask("status")
    for command in (["reload"], ["close", "--listener", "ssh"], ["drain", "ssh"]):
        member.ask(*command, status=NOPERM)
    other = Ctl(directory, prefix=["setpriv", "--reuid=nobody", "--regid=nogroup",
                                   "--clear-groups"])
    done = other.run("status")
    assert done.returncode == NOPERM
    assert "sudo" in done.stderr


def test_socket_is_replaced_when_stale_and_never_stolen(net, serve, launch, ctl, directory):
    first = serve()
    second = launch(net.origin, "-c", conf.write(
        directory, [conf.listener(name="second", listen="0.0.0.0:2323")], workers=1))
    second.wait_line(r"\[!\] there is no control socket .*: another process listens there")
    assert ctl.of_type("program", "status")[0]["pid"] == first.pid
    second.stop()
    assert ctl.of_type("program", "status")[0]["pid"] == first.pid
    first.may_lose_workers = True
    os.kill(first.pid, signal.SIGKILL)
    first.wait_exit()
    done = ctl.run("status")
    assert done.returncode == UNAVAILABLE
    assert "not running" in done.stderr
    until(lambda: not net.origin.is_listening(conf.PORT), "the orphan to let go of the port")
    third = serve()
    assert ctl.of_type("program", "status")[0]["pid"] == third.pid
    third.stop()
    assert not ctl.socket.exists()


def make_link(path):
    (path.parent / "precious").write_text("kept")
    path.symlink_to(path.parent / "precious")


@pytest.mark.parametrize("make", (make_link, pathlib.Path.mkdir, pathlib.Path.touch, os.mkfifo),
                         ids=("link", "folder", "file", "fifo"))
def test_what_is_no_socket_is_left_alone(serve, ctl, directory, make):
    make(ctl.socket)
    before = ctl.socket.lstat()
    gateway = serve()
    gateway.wait_line(r"\[!\] there is no control socket .*: there is a file that is no socket")
    gateway.stop()
    assert (ctl.socket.lstat().st_ino, ctl.socket.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert make is not make_link or (directory / "precious").read_text() == "kept"


def test_no_socket_where_none_is_wanted(net, serve, ctl, directory):
    gateway = serve(settings={"control": ""})
    assert ctl.run("status").returncode == UNAVAILABLE
    conf.write(directory, [conf.listener()], workers=1)
    gateway.signal(signal.SIGHUP)
    until(lambda: ctl.run("status").returncode == 0, "a socket after the reload")


def client_of(ctl):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    sock.connect(str(ctl.socket))
    return sock


# All places and more, with a request that is whole or not; nothing is read.
_TAKER = """
import socket, sys, time
held = []
for _ in range(24):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(sys.argv[1])
    try:
        sock.sendall(sys.argv[2].encode())
    except OSError:
        pass
    held.append(sock)
print("taken", flush=True)
time.sleep(600)
"""


def test_hostile_clients_of_the_socket_hold_up_no_request(net, echo, serve, ctl):
    echo()
    serve()
    for garbage in (b"\0" * 5000, b"status " * 1000, b"\xff\n", b"\n", b"close 1-2-3\n",
                    b"sessions client=1.2.3.4/99\n", b"sessions " + b"a" * 4080 + b"\n"):
        sock = client_of(ctl)
        try:
            sock.sendall(garbage)
            assert b'"code":64' in sock.recv(4096)
        except ConnectionResetError:
            pass
        sock.close()
    silent = []
    for _ in range(2000):
        try:
            silent.append(client_of(ctl))
        except BlockingIOError:  # the queue is full, which is fine
            pass
    begin_session(net).sock.close()
    for sock in silent:
        sock.close()
    until(lambda: ctl.run("status").returncode == 0, "an answer")
    begin_session(net).sock.close()


def test_group_member_who_takes_all_places_keeps_root_not_out(net, serve, directory, ctl):
    serve(settings={"control_group": "adm"})
    for request in (b"", b"sta", b"status\n"):
        taker = subprocess.Popen(
            ["setpriv", "--reuid=nobody", "--regid=adm", "--clear-groups", sys.executable, "-c",
             _TAKER, str(ctl.socket), request.decode()], stdout=subprocess.PIPE)
        assert taker.stdout.readline() == b"taken\n"
        assert ctl.run("status").returncode == 0
        taker.kill()
        taker.wait()


def test_stopped_mmproxy_does_not_make_mmproxyctl_wait_for_ever(serve, ctl):
    gateway = serve()
    proc.stop(gateway.pid)
    done = ctl.run("status")
    assert (done.returncode, done.stdout) == (UNAVAILABLE, "")
    assert "mmproxy does not answer" in done.stderr
    os.kill(gateway.pid, signal.SIGCONT)
    assert ctl.run("status").returncode == 0


def test_stuck_worker_hides_its_own_sessions_alone(net, echo, serve, ctl):
    echo()
    gateway = serve(settings={"workers": 2})
    conns = []
    for worker in gateway.workers():
        with proc.stopped(worker):
            conns += [begin_session(net) for _ in range(10)]
    by_worker = {}
    for each in ctl.sessions():
        by_worker.setdefault(int(each["id"].split("-")[0]), set()).add(each["peer"])
    assert len(by_worker) == 2
    stuck, free = sorted(by_worker)
    proc.stop(stuck)

    def look(_):
        done = ctl.run("--json", "sessions")
        assert done.returncode == 0 and "1 worker did not answer" in done.stderr
        found = {json.loads(line).get("peer") for line in done.stdout.splitlines()}
        assert by_worker[free] <= found and not by_worker[stuck] & found

    together(look, range(3))  # one list after the other
    os.kill(stuck, signal.SIGCONT)
    until(lambda: len(ctl.sessions()) == 20, "all sessions")
    for conn in conns:
        conn.sock.close()
    assert gateway.is_running()


def test_metrics_are_those_of_the_page_without_the_page(net, echo, serve, ctl):
    echo()
    serve()
    begin_session(net).sock.close()
    until(lambda: ctl.listener()["sessions"] == 0, "no session")
    done = ctl.run("metrics")
    assert done.returncode == 0
    assert 'listener="ssh"' in done.stdout
    assert "# TYPE mmproxy_sessions_active gauge" in done.stdout.splitlines()


def test_wrong_usage(ctl):
    for arguments in ([], ["nonsense"], ["status", "extra"], ["drain"], ["close"],
                      ["sessions", "--client", "nobody"], ["close", "17"]):
        assert ctl.run(*arguments).returncode == USAGE, arguments
    assert ctl.run("--help").returncode == 0
    assert "mmproxyctl" in ctl.run("--version").stdout


def test_sessions_of_processes_before_an_upgrade_are_listed_and_closed(net, echo, launch, directory,
                                                                       ctl):
    echo()
    service = Upgradable(net, launch, directory)
    try:
        conns = [begin_session(net)]
        for _ in range(2):
            service.upgrade()
            until(lambda: ctl.run("status").returncode == 0, "the new process to answer")
            conns.append(begin_session(net))
        assert {each["peer"] for each in ctl.sessions()} == {conn.local for conn in conns}
        sessions_of = {each["process"]: each["sessions"]
                       for each in ctl.of_type("generation", "status")}
        assert sessions_of == {pid: 1 for pid in service.pids}
        text = ctl.run("status").stdout
        assert f"generation 1 of process {service.pids[0]}, before an upgrade, drains: " in text
        oldest, = (each["id"] for each in ctl.sessions() if each["peer"] == conns[0].local)
        assert ctl.of_type("closed", "close", oldest) == [{"type": "closed", "sessions": 1}]
        with pytest.raises(ConnectionResetError):
            conns[0].sock.recv(1)
        until(lambda: not proc.is_alive(service.pids[0]), "the oldest process to end")
        done = ctl.run("close", "--listener", "ssh")
        assert (done.returncode, done.stdout) == (0, "2 closed\n") and only_waits(done.stderr)
        until(lambda: not ctl.sessions(), "no session")
    finally:
        service.close()


def test_process_before_an_upgrade_that_is_stuck_is_reported(net, echo, launch, directory, ctl):
    echo()
    service = Upgradable(net, launch, directory)
    try:
        conns = [begin_session(net)]
        service.upgrade()
        until(lambda: ctl.run("status").returncode == 0, "the new process to answer")
        conns.append(begin_session(net))
        proc.stop(service.pids[0])
        done = ctl.run("sessions")
        assert done.returncode == 0 and "before an upgrade are not among them" in done.stderr
        assert conns[1].local in done.stdout and conns[0].local not in done.stdout
        os.kill(service.pids[0], signal.SIGCONT)
        assert len(ctl.sessions()) == 2
    finally:
        service.close()


def test_drained_listener_stays_closed_over_an_upgrade(net, echo, launch, directory, ctl):
    echo()
    service = Upgradable(net, launch, directory, [
        conf.listener(), conf.listener(name="second", listen="0.0.0.0:2323")])
    try:
        ctl.ask("drain", "second")
        service.upgrade()
        until(lambda: ctl.run("status").returncode == 0, "the new process to answer")
        with pytest.raises(ConnectionRefusedError):
            connect(net.lb, ORIGIN4, 2323)
        assert ctl.listener("second")["state"] == "drained"
        assert ctl.listener("ssh")["state"] == "open"
        ctl.ask("resume", "second")
        connect(net.lb, ORIGIN4, 2323).close()
        service.upgrade()
        until(lambda: ctl.run("status").returncode == 0, "the newest process to answer")
        connect(net.lb, ORIGIN4, 2323).close()
    finally:
        service.close()


def test_status_says_why_a_listener_is_closed_and_how_replies_come_back(net, echo, serve, ctl):
    serve(target_v6=None, close_when_down=True, return_path="loopback")
    until(lambda: ctl.listener()["state"] == "target_down", "the port to be closed")
    assert "closed: no target" in ctl.run("status").stdout
    assert ctl.listener()["return_path_state"] == "unknown"
    echo()
    until(lambda: ctl.listener()["state"] == "open", "the port to be open")
    assert (ctl.listener()["return_path"], ctl.listener()["return_path_state"]) == ("loopback", "ok")


@pytest.mark.parametrize("form", ("routed", "flows"))
def test_status_names_every_return_path(net, serve, ctl, form):
    keys = {"protocol": "udp"} if form == "flows" else {}
    serve(return_path=form, **keys)
    assert ctl.listener()["return_path"] == form


def test_help_is_of_one_command_or_of_all(ctl):
    for command in ("status", "sessions", "close", "reload", "check", "drain", "resume", "metrics",
                    "top"):
        done = ctl.run(command, "--help")
        assert done.returncode == 0 and done.stdout.startswith("usage: mmproxyctl ")
        assert command in done.stdout.splitlines()[0] and len(done.stdout.splitlines()) <= 4
        assert command in ctl.run("--help").stdout
    assert max(map(len, ctl.run("--help").stdout.splitlines())) <= 80
