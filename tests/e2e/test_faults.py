# SPDX-License-Identifier: BSD-2-Clause
"""
Every system call of a running gateway fails in every way that it can, one call at a time.

What a single session comes to is one of two: it works, or it is reset; it never hangs, and a
cut-off transfer never looks complete. Whatever failed, the processes live, the next session is
served, and nothing is left: no descriptor, and with max_sessions = 1 no session count either.
"""

import itertools
import os
import signal
import socket

import pytest

from lib import header, proc
from lib.conn import FIN, RST, connect
from lib.faults import SHIM, Faults
from lib.topology import CLIENT4, ORIGIN4
from lib.wait import until

PORTS = itertools.count(20000)
BULK = os.urandom(1 << 20)

# What the kernel may say, call by call; for clock_gettime(CLOCK_MONOTONIC), close and epoll_wait
# there is nothing but what a bug of ours would cause, and EINTR.
CALLS = {
    "accept4": ("EINTR", "EAGAIN", "ECONNABORTED", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM",
                "EPROTO", "ENETDOWN", "EHOSTUNREACH", "ENETUNREACH"),
    "recv": ("EINTR", "EAGAIN", "ECONNRESET", "ETIMEDOUT", "ENOMEM", "ENOBUFS", "EHOSTUNREACH"),
    "send": ("EINTR", "EAGAIN", "EPIPE", "ECONNRESET", "ETIMEDOUT", "ENOMEM", "ENOBUFS", "EPERM",
             "EHOSTUNREACH"),
    "splice": ("EINTR", "EAGAIN", "EPIPE", "ECONNRESET", "ETIMEDOUT", "ENOMEM", "EINVAL"),
    "pipe2": ("EMFILE", "ENFILE", "ENOMEM"),
    "fcntl": ("EPERM", "EBUSY", "ENOMEM"),
    "socket": ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EAFNOSUPPORT", "EACCES", "EPERM"),
    "setsockopt": ("ENOBUFS", "ENOMEM", "EPERM", "EINVAL", "ENOPROTOOPT"),
    "bind": ("EADDRINUSE", "EADDRNOTAVAIL", "EACCES", "EINVAL", "ENOMEM", "EPERM"),
    "connect": ("EADDRNOTAVAIL", "EADDRINUSE", "EAGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT",
                "ENETUNREACH", "EHOSTUNREACH", "EPERM", "EACCES", "ENOBUFS", "ENOMEM", "EINTR",
                "EINVAL"),
    "shutdown": ("ENOTCONN", "ENOBUFS", "ENOMEM"),
    "epoll_ctl_add": ("ENOMEM", "ENOSPC"),
    "epoll_wait": ("EINTR",),
    "malloc": ("ENOMEM",),
    "calloc": ("ENOMEM",),
    "realloc": ("ENOMEM",),
}


@pytest.fixture
def faults(directory):
    if not os.access(SHIM, os.R_OK):
        pytest.fail(f"no shim at {SHIM}: build it, or set MMPROXY_FAULTS_SHIM")
    return Faults(directory)


@pytest.fixture
def gateway(faults, serve, echo, net):
    """One worker, one session at a time, and the checks of the target behind it."""
    # Where a call fails for good, timeouts end the session: short ones, and who is late tries again.
    started = serve(options={"prefix": faults.prefix}, max_sessions=1, client_port="any",
                    header_timeout=5, connect_timeout=5)
    started.service = echo()
    # Where packets were dropped the kernel doubts an RST, and there is nobody left to confirm it to.
    started.service.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000)
    assert "libfaults" in open(f"/proc/{started.pid}/maps", encoding="ascii").read()
    until(lambda: serves(net), "a session")
    until(lambda: len(started.workers()) == 1, "the checks of the target to end")
    started.idle = idle_sockets(started, net)
    return started


def dial(net):
    return connect(net.lb, ORIGIN4, 2222)


def sockets(gateway, look=proc.descriptors):
    """Descriptors of the worker; idle pipes are its stock and no leak."""
    return [sum(not name.startswith("pipe:") for name in look(pid))
            for pid in gateway.workers()]


def idle_sockets(gateway, net):
    """The same when the last session has ended and the worker has closed all of it."""
    until(lambda: is_idle(net), "the last session to end")
    return sockets(gateway, proc.resting_descriptors)


def is_idle(net):
    return not net.origin.ss("-tn", "state", "established")


def swallow(peer):
    """returns: what arrives, and how it ends; a reset while sending counts."""
    try:
        return peer.end()
    except OSError:
        return b"", RST


def small(net):
    """A header in two pieces, some bytes each way, then the client's end of file."""
    peer = dial(net)
    head = header.v1(CLIENT4, next(PORTS))
    try:
        peer.send(head[:20])
        until(lambda: net.is_read(peer) or not peer.is_quiet(), "the half of a header to be read")
        peer.send(head[20:] + b"hello")
        if peer.recv(5) == b"hello":
            peer.send(b"world")
            peer.finish()
    except (OSError, AssertionError):
        peer.close()
        return b"", RST
    data, how = swallow(peer)
    peer.close()
    assert how == RST or data == b"world", (data, how)
    return data, how


def bulk(net):
    """Header and payload at once, then so much that it is spliced both ways."""
    peer = dial(net)
    received, how = bytearray(), None
    try:
        peer.send(header.v2(CLIENT4, next(PORTS)) + BULK[:1000])
        for start in range(1000, len(BULK), 200_000):
            piece = BULK[start:start + 200_000]
            peer.send(piece)
            received += peer.recv(len(piece))
        peer.finish()
    except (OSError, AssertionError):
        how = RST
    if how is None:
        data, how = swallow(peer)
        received += data
    peer.close()
    assert how == RST or received == BULK, (len(received), how)
    return bytes(received), how


def bad(net):
    """No header at all: it comes to nothing, whatever fails."""
    peer = dial(net)
    try:
        peer.send(b"GET / HTTP/1.0\r\n\r\n")
    except ConnectionError:
        pass
    data, how = swallow(peer)
    peer.close()
    assert not data
    return data, how


def serves(net):
    return small(net) == (b"world", FIN)


def settle(gateway, net, what):
    """The same processes, nothing left of the sessions, and the next one is served."""
    workers = gateway.workers()
    until(lambda: is_idle(net) and sockets(gateway) == gateway.idle,
          lambda: f"{sockets(gateway)} descriptors, {gateway.idle} before, after {what}:\n"
          + "\n".join(net.origin.ss("-tnp")) + gateway.text())
    until(lambda: serves(net), lambda: f"a session after {what}\n{gateway.text()}")
    assert gateway.workers() == workers, f"after {what}\n{gateway.text()}"
    until(lambda: is_idle(net) and sockets(gateway) == gateway.idle,
          lambda: f"the session after {what} to end")


def walk(gateway, faults, net, call, error):
    """Has the first call fail, then the second, until there are no more of them."""
    for traffic in (small, bulk, bad):
        for skip in itertools.count():
            faults.arm(call, error, skip)
            traffic(net)
            until(lambda: is_idle(net) and sockets(gateway) == gateway.idle,
                  lambda: f"{traffic.__name__} to end, {call} number {skip} failing with {error}\n"
                  + "\n".join(net.origin.ss("-tnp")) + gateway.text())
            if faults.disarm() == 0 or skip > 40:
                break
            settle(gateway, net, f"{call} number {skip} failing with {error} in {traffic.__name__}")


@pytest.mark.parametrize("call", CALLS)
def test_any_call_fails_once(gateway, faults, net, call):
    worker = gateway.workers()
    for error in CALLS[call]:
        walk(gateway, faults, net, call, error)
    assert gateway.workers() == worker


LASTING = {
    "accept4": "EMFILE",
    "epoll_ctl_add": "ENOSPC",
    "malloc": "ENOMEM",
    "calloc": "ENOMEM",
    "recv": "ENOMEM",
    "send": "ENOBUFS",
    "socket": "ENFILE",
    "connect": "EADDRNOTAVAIL",
}


@pytest.mark.parametrize("call", LASTING)
def test_a_call_that_keeps_failing_costs_no_time(gateway, faults, net, call):
    worker, = gateway.workers()
    faults.arm(call, LASTING[call], count=0)
    peers = [dial(net) for _ in range(10)]
    for peer in peers:
        try:
            peer.send(header.v1(CLIENT4, next(PORTS)) + b"hello")
        except ConnectionError:
            pass
    proc.expect_calm(worker)
    assert faults.disarm() > 0
    for peer in peers:
        peer.close()
    settle(gateway, net, f"{call} failing with {LASTING[call]} for a while")


def test_streams_are_copied_where_there_is_no_pipe(gateway, faults, net):
    faults.arm("pipe2", "EMFILE", count=0)
    for _ in range(5):
        assert bulk(net) == (BULK, FIN)
    # Nor is it asked for one again and again.
    assert 0 < faults.disarm() < 5
    settle(gateway, net, "no pipes")


def test_a_listener_that_epoll_refuses_for_a_while_is_heard_again(gateway, faults, net):
    """The worker was deaf from then on."""
    worker, = gateway.workers()
    faults.arm("accept4", "EMFILE", count=0)
    waiting = [dial(net) for _ in range(3)]
    gateway.wait_line(".*accepting no connections.*")
    with proc.stopped(worker):
        faults.arm("epoll_ctl_add", "ENOSPC", count=3)
    until(lambda: faults.failed == 3, "the listeners to be refused")
    for peer in waiting:
        peer.close()
    settle(gateway, net, "epoll refusing the listeners")


def test_a_draining_worker_hears_its_sessions_though_epoll_refuses_sockets(gateway, faults, net):
    """It made its epoll set anew then; what was refused was never heard of again."""
    worker, = gateway.workers()
    peer = dial(net)
    peer.send(header.v1(CLIENT4, next(PORTS)) + b"hello")
    assert peer.recv(5) == b"hello"
    before = len(proc.descriptors(worker))
    faults.arm("epoll_ctl_add", "ENOMEM", count=0, pid=worker)
    gateway.signal(signal.SIGTERM)
    until(lambda: len(proc.descriptors(worker)) < before, "the worker to close its listeners")
    peer.send(b"again")
    assert peer.recv(5) == b"again"
    faults.disarm()
    peer.close()
    assert gateway.wait_exit() == 0


FIRST_STEPS = {
    "epoll_ctl_add": "ENOMEM",
    "send": "ENOBUFS",
    "recv": "ENOMEM",
    "malloc": "ENOMEM",
    "calloc": "ENOMEM",
    "socket": "EMFILE",
    "bind": "EADDRINUSE",
    "sendto": "ENOBUFS",
    "recvmsg": "ENOBUFS",
}


@pytest.mark.parametrize("call", FIRST_STEPS)
def test_a_worker_s_first_steps_fail(gateway, faults, net, call):
    """A worker that can't be heard, or hear, would stay for ever and serve nobody."""
    gateway.may_lose_workers = True
    idle = None
    for skip in range(2):
        worker, = gateway.workers()
        faults.arm(call, FIRST_STEPS[call], skip)
        proc.kill(worker)
        # Where it is not a call of the start it is one of the first session.
        until(lambda: faults.failed or (is_another(gateway, worker) and serves(net)), call)
        faults.disarm()
        until(lambda: is_another(gateway, worker), "a replacement")
        until(lambda: serves(net), lambda: f"a session, {call} {skip}\n{gateway.text()}")
        idle = idle or idle_sockets(gateway, net)
        until(lambda: is_idle(net) and sockets(gateway) == idle,
              lambda: f"{sockets(gateway)} descriptors, {idle} before")


def is_another(gateway, worker):
    """Has this one been replaced?"""
    return len(gateway.workers()) == 1 and worker not in gateway.workers()


def test_no_memory_for_the_event_loop_s_arrays(net, faults, serve, echo):
    """The worker was aborted where an array of its loop could not grow."""
    gateway = serve(options={"prefix": faults.prefix})
    gateway.service = echo()
    assert serves(net)
    worker = gateway.wait_workers(1)
    faults.arm("realloc", "ENOMEM", count=0)
    peers = [dial(net) for _ in range(300)]
    for peer in peers:
        peer.send(header.v2(CLIENT4, next(PORTS)) + b"hello")
    # All of them at once, for the array of what has happened.
    for peer in peers:
        assert peer.recv(5) == b"hello"
    for peer in peers:
        peer.close()
    until(lambda: is_idle(net), "the sessions to end")
    faults.disarm()
    assert gateway.workers() == worker
    assert serves(net)


def test_addresses_that_could_not_be_read_again_are_read_later(gateway, faults, net):
    """A header must not name an address that has become this host's own."""
    for number, (call, skip) in enumerate((("sendto", 0), ("recv", 1), ("calloc", 0),
                                           ("realloc", 0))):
        address = f"198.51.100.{100 + number}"
        faults.arm(call, "ENOBUFS" if number < 2 else "ENOMEM", skip)
        net.origin.ip(f"address add {address}/32 dev lo")
        until(lambda: faults.failed, f"{call} to fail")
        faults.disarm()
        until(lambda: names(net, address) == (b"", RST), f"{address} to be known, {call} failing")
    until(lambda: serves(net), "a session")


def names(net, address):
    """A session of a client with that address."""
    peer = dial(net)
    try:
        peer.send(header.v1(address, next(PORTS)) + b"world")
        peer.finish()
        return swallow(peer)
    except OSError:
        return b"", RST
    finally:
        peer.close()


def accept_client(service):
    """Past the gateway's own checks of the target."""
    while (conn := service.accept()).peer_address != CLIENT4:
        conn.close()
    return conn


def test_a_reset_is_heard_on_a_socket_that_is_not_read(net, faults, serve, target):
    """Nobody reads from a client that has ended; and the kernel may not say what has failed."""
    serve(options={"prefix": faults.prefix})
    service = target()
    for call, error in (("none", "ENOBUFS"), ("getsockopt", "ENOBUFS")):
        peer = dial(net)
        peer.send(header.v1(CLIENT4, next(PORTS)) + b"hello")
        conn = accept_client(service)
        assert conn.recv(5) == b"hello"
        faults.arm(call, error)
        peer.finish()
        conn.expect_end(FIN)
        conn.reset()
        peer.expect_end(RST)
        faults.disarm()
        peer.close()
        until(lambda: is_idle(net), "the session to end")
