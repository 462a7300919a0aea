# SPDX-License-Identifier: BSD-2-Clause
"""The jail from outside: what /proc says of supervisor and workers, and what a hijacked one gets."""

import os
import pathlib
import pwd
import re
import signal
import subprocess
import sys

import pytest

from lib import conf, daemon, header, inject, proc
from lib.topology import CLIENT4
from lib.wait import DEADLINE, until

CAPS = {"kill": 5, "setgid": 6, "setuid": 7, "setpcap": 8, "net_bind_service": 10,
        "net_admin": 12, "net_raw": 13, "dac_read_search": 2}
SUPERVISOR = set(CAPS)
DAEMON = pwd.getpwnam("daemon")

# Started as an ordinary user by a service manager that hands capabilities down.
AMBIENT = ["setpriv", "--reuid", str(DAEMON.pw_uid), "--regid", str(DAEMON.pw_gid),
           "--clear-groups", "--inh-caps", "-all,+net_raw", "--ambient-caps", "-all,+net_raw",
           "--bounding-set", "-all,+net_raw", "--"]
USERNS = ["setpriv", "--reuid", str(DAEMON.pw_uid), "--regid", str(DAEMON.pw_gid),
          "--clear-groups", "--", "unshare", "-Urn"]

# A kernel without seccomp, as far as the program can tell.
NO_SECCOMP = """
import ctypes, errno, os, sys
class Arg(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int),
                ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]
lib = ctypes.CDLL("libseccomp.so.2")
lib.seccomp_init.restype = ctypes.c_void_p
context = ctypes.c_void_p(lib.seccomp_init(0x7fff0000))
number = lib.seccomp_syscall_resolve_name
assert lib.seccomp_rule_add_array(context, 0x50000 | errno.ENOSYS, number(b"seccomp"), 0, None) == 0
set_seccomp = (Arg * 1)(Arg(0, 4, 22, 0))
assert lib.seccomp_rule_add_array(context, 0x50000 | errno.EINVAL, number(b"prctl"), 1,
                                  set_seccomp) == 0
assert lib.seccomp_load(context) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""

# Both ends of a session on the loopback of a namespace that holds nothing else.
SESSION = """
import socket
service = socket.create_server(("127.0.0.1", 22))
peer = socket.create_connection(("127.0.0.1", 2222))
peer.sendall(b"PROXY TCP4 198.51.100.7 127.0.0.1 51234 22\\r\\nhello")
while True:
    conn, address = service.accept()
    if address[0] == "198.51.100.7":  # not a check
        break
    conn.close()
print(*address, conn.recv(5).decode())
"""


def _sets(pid):
    """The capability sets of a process, by name, as sets of names."""
    status = proc.status(pid)
    names = {number: name for name, number in CAPS.items()}
    return {key: {names.get(bit, bit) for bit in range(64) if int(status[key], 16) >> bit & 1}
            for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}


def _assert_worker(pid, caps, uid, gid, has_filter=True, bound=frozenset(), owner=0):
    """bound: what only CAP_SETPCAP could take away; no_new_privs makes it worthless."""
    status = proc.status(pid)
    assert _sets(pid) == {"CapInh": set(), "CapPrm": caps, "CapEff": caps, "CapBnd": set(bound),
                          "CapAmb": set()}
    assert set(status["Uid"].split()) == {str(uid)}
    assert set(status["Gid"].split()) == {str(gid)}
    assert status["Groups"].split() == []
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == ("2" if has_filter else "0")
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:
        core = next(line for line in file if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    # Not dumpable: its files in /proc are root's, the user namespace's root's.
    assert pathlib.Path(f"/proc/{pid}/environ").stat().st_uid == owner


def _service_user():
    try:
        return pwd.getpwnam("_mmproxy")
    except KeyError:
        return pwd.getpwnam("nobody")


def _trip(target, session):
    service = target()
    peer, conn = session(service, header.v1(CLIENT4, 51234))
    while conn.peer_address != CLIENT4:  # a check of the targets, after a load that we made
        conn = service.accept()
    peer.trip(conn)


@pytest.mark.parametrize("port, caps", (("any", {"net_raw"}),
                                        ("preserve", {"net_raw", "net_bind_service"})))
def test_workers_of_root(serve, target, session, port, caps):
    gateway = serve(client_port=port, settings={"workers": 2})
    user = _service_user()
    for pid in gateway.workers():
        _assert_worker(pid, caps, user.pw_uid, user.pw_gid)
    _trip(target, session)
    line = gateway.wait_line(r"\[ \] jail of the workers: user (\S+), capabilities ([a-z_ ]+), "
                             r"seccomp on.*")
    assert line[1] == user.pw_name
    assert line[2].split() == sorted(f"cap_{cap}" for cap in caps)


def test_supervisor_of_root(serve):
    gateway = serve()
    # Without routing's privilege: nobody works on the return path now.
    until(lambda: _sets(gateway.pid)["CapEff"] == SUPERVISOR - {"net_admin"}, "it to be lowered")
    sets = _sets(gateway.pid)
    assert sets["CapPrm"] == sets["CapBnd"] == SUPERVISOR
    assert sets["CapInh"] == sets["CapAmb"] == set()
    status = proc.status(gateway.pid)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_client_port_below_1024_is_kept(serve, target, session):
    serve()
    service = target()
    _, conn = session(service, header.v1(CLIENT4, 700))
    assert conn.peer == f"{CLIENT4}:700"


def test_started_as_a_user_with_ambient_capabilities(serve, target, session):
    gateway = serve(options={"prefix": AMBIENT}, settings={"workers": 2})
    for pid in gateway.workers():
        _assert_worker(pid, {"net_raw"}, DAEMON.pw_uid, DAEMON.pw_gid, bound={"net_raw"})
    sets = _sets(gateway.pid)
    assert sets == {key: {"net_raw"} for key in sets}
    _trip(target, session)


def test_started_as_a_user_without_capabilities_says_what_is_missing(net, directory):
    path = conf.write(directory, [conf.listener()])
    prefix = AMBIENT[:AMBIENT.index("--inh-caps")] + ["--"]
    done = daemon.run(["-c", path], directory, net.origin, prefix=prefix)
    assert done.returncode == 77
    assert re.fullmatch(r"mmproxy: can't spoof connections: .*CAP_NET_RAW: .*\n", done.stderr)


def test_root_that_may_not_switch_users_is_refused(net, directory):
    path = conf.write(directory, [conf.listener()])
    done = daemon.run(["-c", path], directory, net.origin,
                      prefix=["setpriv", "--bounding-set", "-setuid", "--"])
    assert done.returncode == 77
    assert "can't become the service user (CAP_SETUID, CAP_SETGID)" in done.stderr


def test_in_a_user_namespace(launch, net, directory):
    path = conf.write(directory, [conf.listener(listen="0.0.0.0:2222")], workers=1,
                      subnets="127.0.0.0/8\n")
    gateway = launch(net.origin, "-c", path, prefix=USERNS)
    gateway.wait_line(r"\[!\] this user namespace has no user \S+: workers stay user 0 of it")
    gateway.wait_listening("0.0.0.0:2222")
    worker = gateway.wait_workers(1)[0]
    _assert_worker(worker, {"net_raw", "net_bind_service"}, DAEMON.pw_uid, DAEMON.pw_gid,
                   owner=DAEMON.pw_uid)
    for command in ("link set lo up", "rule add from 127.0.0.0/8 iif lo lookup 100",
                    "route add local 0.0.0.0/0 dev lo table 100"):
        _run_inside(gateway.pid, "ip", *command.split())
    assert _run_inside(gateway.pid, "python3", "-c", SESSION) == "198.51.100.7 51234 hello\n"


def _run_inside(pid, *argv):
    """Runs a command as the root of a process's user namespace, which is an ordinary user's."""
    namespaces = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in ("user", "net")]
    user, net = (f"/proc/self/fd/{fd}" for fd in namespaces)
    enter = ["nsenter", f"--user={user}", f"--net={net}", "--preserve-credentials", "--"]
    try:
        return subprocess.run([*USERNS[:USERNS.index("unshare")], *enter, *argv], check=True,
                              pass_fds=namespaces, stdout=subprocess.PIPE, text=True,
                              timeout=DEADLINE).stdout
    finally:
        for fd in namespaces:
            os.close(fd)


@pytest.mark.parametrize("how", ("file", "option"))
def test_without_the_sandbox_the_rest_still_holds(net, launch, directory, target, session, how):
    path = conf.write(directory, [conf.listener()], workers=1, sandbox=how == "option")
    gateway = launch(net.origin, "-c", path, *(["-N"] if how == "option" else []))
    gateway.wait_listening(*conf.LISTEN)
    gateway.wait_line(r"\[!\] THE SANDBOX IS OFF .*")
    worker = gateway.wait_workers(1)[0]
    user = _service_user()
    _assert_worker(worker, {"net_raw", "net_bind_service"}, user.pw_uid, user.pw_gid, False)
    assert proc.status(gateway.pid)["Seccomp"] == "0"
    assert _sets(gateway.pid)["CapBnd"] == SUPERVISOR
    _trip(target, session)


def test_without_seccomp_it_does_not_start_unless_allowed(net, launch, directory):
    prefix = [sys.executable, "-c", NO_SECCOMP]
    path = conf.write(directory, [conf.listener()], workers=1)
    done = daemon.run(["-c", path], directory, net.origin, prefix=prefix)
    assert done.returncode == 71
    assert re.fullmatch(r"mmproxy: can't filter system calls \(seccomp\): .*; only sandbox = false "
                        r"runs without\n", done.stderr)
    path = conf.write(directory, [conf.listener()], workers=1, sandbox=False)
    launch(net.origin, "-c", path, prefix=prefix).wait_listening(*conf.LISTEN)


@pytest.mark.parametrize("prefix", ([], AMBIENT), ids=("root", "ambient"))
def test_reload_and_new_binary_keep_the_rights_that_they_need(serve, directory, target, session,
                                                              prefix):
    gateway = serve(options={"prefix": prefix})
    sets = _sets(gateway.pid)
    conf.write(directory, [conf.listener(), conf.listener(name="more", listen="0.0.0.0:2223")],
               workers=2, drain_timeout=0)
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(r"\[\+\] reloaded: .*")
    gateway.wait_workers(2)
    until(lambda: _sets(gateway.pid) == sets, "the return path to be left alone again")
    gateway.signal(signal.SIGUSR2)
    line = gateway.wait_line(r"\[\+\] upgraded: process ([0-9]+) serves, .*")
    new = int(line[1])
    try:
        until(lambda: _sets(new) == sets, "the new process to have the old one's rights")
        workers = until(lambda: len(w := proc.children(new)) == 2 and w, "workers, no preflight")
        for pid in workers:
            assert _sets(pid)["CapEff"] <= {"net_raw", "net_bind_service"}
            assert proc.status(pid)["Seccomp"] == "2"
        _trip(target, session)
        until(lambda: not gateway.is_running(), "the old process to drain")
    finally:
        os.kill(new, signal.SIGTERM)
        until(lambda: not proc.is_alive(new), "the new process to end")


# Forbidden. Number on x86-64, arguments, name.
HIJACKS = ((59, (0, 0, 0), "execve"), (41, (1, 2, 0), "socket"), (41, (17, 3, 0), "socket"),
           (54, (0, 1, 25), "setsockopt"), (50, (0, 1), "listen"), (46, (0, 0, 0), "sendmsg"),
           (9, (0, 4096, 7, 0x22), "mmap"), (9, (0, 4096, 3, 1, 2), "mmap"),
           (28, (0, 4096, 9), "madvise"), (275, (100, 0, 101, 8192, 1), "splice"),
           (275, (0, 0, 101, 0, 1), "splice"), (234, (1, 1, 9), "tgkill"), (272, (0,), "unshare"),
           (101, (0x4206, 1), "ptrace"), (2, (0, 0), "open"), (257, (0, 0, 0), "openat"))
# A build with sanitizers lets these through, for their reports.
SANITIZERS_NEED = ("open", "openat", "ptrace", "madvise")
WHERE = pytest.mark.skipif(not inject.IS_POSSIBLE, reason="knows the registers of x86-64 only")


@WHERE
@pytest.mark.parametrize("number, arguments, name", [
    pytest.param(*each, id=f"{each[2]}{each[1]}",
                 marks=[pytest.mark.release] if each[2] in SANITIZERS_NEED else []) for each in HIJACKS])
def test_hijacked_worker_ends_and_the_log_names_the_call(serve, target, session, number,
                                                         arguments, name):
    gateway = serve()
    gateway.may_lose_workers = True
    worker = gateway.workers()[0]
    inject.wait_blocked(worker)
    inject.call(worker, number, *arguments)
    gateway.wait_line(rf"\[!\] worker {worker} of generation 1 died: the jail forbids the system "
                      rf"call {name}")
    until(lambda: (w := gateway.workers()) and worker not in w, "a replacement")
    _trip(target, session)


@WHERE
def test_hijacked_supervisor_ends_and_the_workers_drain(net, serve, target, session):
    gateway = serve()
    peer, conn = session(target(), header.v1(CLIENT4, 51234))
    inject.wait_blocked(gateway.pid)
    inject.call(gateway.pid, 175, 0, 0, 0)
    gateway.wait_line(r"\[!\] mmproxy: the jail forbids the system call init_module")
    assert gateway.wait_exit() == -signal.SIGSYS
    peer.trip(conn)
    until(lambda: not net.origin.is_listening(2222), "the listeners to close")
