# SPDX-License-Identifier: BSD-2-Clause
"""
What somebody who took a worker over gets: each row of the table in docs/threat-model.md, done by
a real worker from the outside. Calls that end it at once are in test_jail.py.
"""

import ctypes
import errno
import os
import pty
import signal
import socket
import struct
import sys

import pytest

from lib import conf, header, inject, proc
from lib.conn import RST
from lib.reloading import RELOADED, client_sessions
from lib.topology import CLIENT4
from lib.wait import DEADLINE, until

pytestmark = pytest.mark.skipif(not inject.IS_POSSIBLE, reason="knows x86-64's registers only")

WRITE, SOCKET, CONNECT, SENDTO, RECVFROM, SHUTDOWN, BIND, SETSOCKOPT = 1, 41, 42, 44, 45, 48, 49, 54
EPOLL_CTL, ACCEPT4, PIPE2 = 233, 288, 293
EPOLL_CTL_DEL = 2
IP_TRANSPARENT = 19
TCP_TYPE = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
DIED = r"\[!\] worker [0-9]+ of generation 1 died: .*"

# Starts the rest of its arguments with the terminal of its first as input, and as descriptor 9.
ON_TERMINAL = """
import os, sys
terminal = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
os.dup2(terminal, 0)
os.dup2(terminal, 9)
os.execvp(sys.argv[2], sys.argv[2:])
"""


# No newer kernel can be assumed: Landlock knows ports since Linux 6.7.
PORTS_ARE_LIMITED = ctypes.CDLL(None).syscall(444, 0, 0, 1) >= 4


@pytest.fixture
def session(dial):
    yield from client_sessions(dial)


@pytest.fixture
def hijacked(serve):
    """hijacked(...) as serve: (gateway, its only worker, which waits for orders)."""
    def start(**options):
        gateway = serve(**options)
        worker = gateway.workers()[0]
        inject.wait_blocked(worker)
        return gateway, worker
    return start


def _address(host, port):
    return struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), socket.inet_aton(host))


def _tcp_socket(worker):
    return inject.result(worker, SOCKET, socket.AF_INET, TCP_TYPE, socket.IPPROTO_TCP)


def _descriptors(pid, family):
    """Numbers of the process's sockets of one family."""
    found = []
    pidfd = os.pidfd_open(pid)
    for number in map(int, os.listdir(f"/proc/{pid}/fd")):
        if os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
            with proc.copy(pidfd, number) as sock:
                found += [number] if sock.family == family else []
    os.close(pidfd)
    return sorted(found)


def _stop_watching(worker, fd):
    """From now on its loop does not hear of this descriptor."""
    loop, = (int(number) for number in os.listdir(f"/proc/{worker}/fd")
             if "eventpoll" in os.readlink(f"/proc/{worker}/fd/{number}"))
    assert inject.result(worker, EPOLL_CTL, loop, EPOLL_CTL_DEL, fd, 0) == 0


def _kinds(pid):
    """What its descriptors are, and how often."""
    kinds = {}
    pidfd = os.pidfd_open(pid)
    for number in map(int, os.listdir(f"/proc/{pid}/fd")):
        kind = os.readlink(f"/proc/{pid}/fd/{number}").partition(":[")[0]
        if kind == "socket":
            with proc.copy(pidfd, number) as sock:
                kind = sock.family.name
        kinds[kind] = kinds.get(kind, 0) + 1
    os.close(pidfd)
    return kinds


def test_worker_holds_exactly_what_it_needs(serve):
    gateway = serve()
    assert _kinds(gateway.workers()[0]) == {
        # Input and output, which are empty; standard error, and the log's own of it; the leash.
        "pipe": 5,
        "anon_inode": 1,  # the loop's epoll set
        "AF_NETLINK": 2, "AF_UNIX": 1,
        "AF_INET": 1, "AF_INET6": 1}


def test_nothing_of_the_terminal_and_shell_that_started_it_reaches_a_worker(serve):
    master, terminal = pty.openpty()
    gateway = serve(options={
        "prefix": [sys.executable, "-c", ON_TERMINAL, os.ttyname(terminal)],
        "env": {"AWS_SECRET_ACCESS_KEY": "hunter2"}})
    name = os.ttyname(terminal)
    os.close(terminal)
    worker = gateway.workers()[0]
    assert name in proc.descriptors(gateway.pid)
    assert name not in proc.descriptors(worker)
    with open(f"/proc/{worker}/environ", "rb") as file:
        assert not file.read().strip(b"\0")
    with open(f"/proc/{gateway.pid}/environ", "rb") as file:
        assert b"hunter2" in file.read()
    os.close(master)


def test_unix_sockets_that_a_worker_was_given_reach_no_file(net, launch, directory):
    """Each of them: the control channel, and what stands for the instance where it manages routing."""
    gateway = launch(net.origin, "-c", conf.write(directory, [conf.listener()], workers=1,
                                                  routing="managed"))
    gateway.may_lose_workers = True
    gateway.wait_listening(*conf.LISTEN)
    worker = gateway.workers()[0]
    name = struct.pack("=H", socket.AF_UNIX) + os.fsencode(directory / "name") + b"\0"
    user = proc.status(worker)["Uid"]
    for place in range(len(_descriptors(worker, socket.AF_UNIX))):
        until(lambda: proc.status(worker)["Uid"] == user, "it to be in its jail")
        inject.wait_blocked(worker)
        fd = _descriptors(worker, socket.AF_UNIX)[place]
        inject.call(worker, CONNECT if place % 2 else BIND, fd, inject.DATA, len(name), data=name)
        gateway.wait_line(rf"\[!\] worker {worker} .* died: the jail forbids the system call .*")
        dead = worker
        worker, = until(lambda: dead not in (w := gateway.workers()) and w, "a replacement")
    assert not (directory / "name").exists()


def test_control_channel_takes_nothing_unasked(hijacked, target, session):
    """Each byte would cost the supervisor time."""
    gateway, worker = hijacked()
    gateway.may_lose_workers = True
    channel = _descriptors(worker, socket.AF_UNIX)[0]
    inject.call(worker, SENDTO, channel, inject.DATA, 1, 0, 0, 0, data=b"A")
    gateway.wait_line(rf"\[!\] worker {worker} is killed: it sent a message that nothing asked for")
    gateway.wait_line(DIED)
    until(lambda: (w := gateway.workers()) and worker not in w, "a replacement")
    peer, conn = session(target(), header.v1(CLIENT4, 51234))
    peer.trip(conn)


@pytest.mark.parametrize("kept, port, outcome", (
    ("preserve", 22, 0),
    ("any", 22, -errno.EACCES),
    ("any", 5432, -errno.EACCES if PORTS_ARE_LIMITED else 0)))
def test_bind_alone_takes_a_port(hijacked, net, kept, port, outcome):
    """A service that starts later finds it in use."""
    gateway, worker = hijacked(client_port=kept)
    fd = _tcp_socket(worker)
    address = _address("0.0.0.0", port)
    assert inject.result(worker, BIND, fd, inject.DATA, 16, data=address) == outcome
    service = f"import socket; socket.create_server(('0.0.0.0', {port})); print('it starts')"
    start = ["sh", "-c", f"{sys.executable} -c \"{service}\" 2>&1 || true"]
    assert ("it starts" in net.origin.run(*start)) == (outcome != 0)
    gateway.stop()
    assert "it starts" in net.origin.run(*start)


def test_connection_to_any_service_from_any_address(hijacked, net):
    """From 203.0.113.9 to a service that no listener has as its target."""
    _, worker = hijacked()
    service = net.origin.call(socket.create_server, ("127.0.0.1", 5432))
    service.settimeout(DEADLINE)
    fd = _tcp_socket(worker)
    on = struct.pack("=i", 1)
    assert inject.result(worker, SETSOCKOPT, fd, socket.IPPROTO_IP, IP_TRANSPARENT, inject.DATA, 4,
                         data=on) == 0
    assert inject.result(worker, BIND, fd, inject.DATA, 16, data=_address("203.0.113.9", 0)) == 0
    assert inject.result(worker, CONNECT, fd, inject.DATA, 16,
                         data=_address("127.0.0.1", 5432)) == -errno.EINPROGRESS
    conn, address = service.accept()
    assert address[0] == "203.0.113.9"
    conn.close()
    service.close()


def _shared_memory(worker, rights):
    """Where memory is that it shares with other processes, with these rights."""
    with open(f"/proc/{worker}/maps", encoding="ascii") as file:
        fields = [line.split() for line in file]
    return [int(each[0].partition("-")[0], 16) for each in fields if each[1] == rights]


def test_shared_memory_of_others_cannot_be_written(serve, directory):
    """Not after a reload either, when the results of checks are in such memory, too."""
    gateway = serve()
    old = gateway.workers()
    conf.write(directory, [conf.listener()], workers=1, drain_timeout=1)
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(RELOADED)
    worker, = until(lambda: not set(w := gateway.wait_workers(1)) & set(old) and w, "a new worker")
    inject.wait_blocked(worker)
    own, others = _shared_memory(worker, "rw-s"), _shared_memory(worker, "r--s")
    # Its counters, its answers to the supervisor, its part of what UDP peers have said.
    assert len(own) == 3 and others
    flags = os.O_NONBLOCK | os.O_CLOEXEC
    for place in others:  # where pipe2 has the kernel write two numbers
        assert inject.result(worker, PIPE2, inject.DATA, flags) == 0
        assert inject.result(worker, PIPE2, place, flags) == -errno.EFAULT


def test_listening_socket_that_is_shut_down_listens_again_after_a_reload(
        hijacked, net, directory, target, session):
    gateway, worker = hijacked()
    for family in (socket.AF_INET, socket.AF_INET6):
        listening, = _descriptors(worker, family)
        assert inject.result(worker, SHUTDOWN, listening, socket.SHUT_RD) == 0
    until(lambda: not net.origin.is_listening(conf.PORT), "the port to be closed")
    conf.write(directory, [conf.listener()], workers=2)
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(RELOADED)
    peer, conn = session(target(), header.v1(CLIENT4, 51234))
    peer.trip(conn)


def test_rtnetlink_sockets_change_nothing(hijacked, net):
    _, worker = hijacked()
    before = net.origin.run("ip", "address")
    index = net.origin.run(sys.executable, "-c",
                           "import socket; print(socket.if_nametoindex('eth0'))")
    body = struct.pack("=BBBBI", socket.AF_INET, 24, 0, 0, int(index))
    body += struct.pack("=HH4s", 8, 2, socket.inet_aton("10.99.0.2"))
    message = struct.pack("=IHHII", 16 + len(body), 21, 5, 1, 0) + body  # RTM_DELADDR, with ACK
    fd = _descriptors(worker, socket.AF_NETLINK)[1]
    assert inject.result(worker, SENDTO, fd, inject.DATA, len(message), 0, 0, 0,
                         data=message) == len(message)
    assert net.origin.run("ip", "address") == before


def test_log_takes_false_lines(hijacked):
    gateway, worker = hijacked()
    assert inject.result(worker, WRITE, 2, inject.DATA, 6, data=b"false\n") == 6
    gateway.wait_line("false")


@pytest.mark.parametrize("log", ("syslog", "stderr"))
def test_datagrams_to_any_unix_socket_with_a_log_of_datagrams_alone(net, launch, directory, log):
    """Also of a manager of services, which should hear the main process alone."""
    config = conf.write(directory, [conf.listener()], workers=1, log={"target": log})
    gateway = launch(net.origin, "-c", config)
    gateway.settle()
    worker, = gateway.wait_workers(1)
    inject.wait_blocked(worker)
    name = directory / "of-a-service"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(str(name))
        name.chmod(0o666)
        pidfd = os.pidfd_open(worker)
        kinds = {fd: proc.copy(pidfd, fd).type for fd in _descriptors(worker, socket.AF_UNIX)}
        os.close(pidfd)
        datagram = [fd for fd, kind in kinds.items() if kind == socket.SOCK_DGRAM]
        assert bool(datagram) == (log == "syslog"), kinds
        address = struct.pack("=H", socket.AF_UNIX) + os.fsencode(name) + b"\0"
        for fd in datagram:
            assert inject.result(worker, SENDTO, fd, inject.DATA, len(address), 0, inject.DATA,
                                 len(address), data=address) == len(address)
            assert service.recv(1000) == address


def test_connections_taken_away_and_those_left_to_others(hijacked, net, target, dial, session):
    """It gets what the load balancer sends there, and no other worker ever sees it."""
    gateway, worker = hijacked(settings={"workers": 2})
    listening, = _descriptors(worker, socket.AF_INET)
    others = [pid for pid in gateway.workers() if pid != worker]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    _stop_watching(worker, listening)
    taken = dial()
    taken.send(b"PROXY ")
    until(lambda: net.origin.ss("-ltn", "sport", f"= :{conf.PORT}")[0].split()[1] == "1",
          "the connection to wait")
    fd = inject.result(worker, ACCEPT4, listening, 0, 0, os.O_NONBLOCK | os.O_CLOEXEC)
    assert fd >= 0
    until(lambda: inject.result(worker, RECVFROM, fd, inject.DATA, 6, 0, 0, 0) == 6, "its bytes")
    for pid in others:
        os.kill(pid, signal.SIGCONT)
    peer, conn = session(target(), header.v1(CLIENT4, 51234))
    peer.trip(conn)


def test_orders_that_are_ignored_and_the_end_of_patience(hijacked, directory, target, session):
    """After a reload it serves on; a stop ends it."""
    gateway, worker = hijacked()
    service = target()
    peer, conn = session(service, header.v1(CLIENT4, 51234))
    _stop_watching(worker, _descriptors(worker, socket.AF_UNIX)[0])
    conf.write(directory, [conf.listener()], workers=1, drain_timeout=0)
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(RELOADED)
    peer.trip(conn)
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit() == 0
    assert not proc.is_alive(worker)
    peer.expect_end(RST)
