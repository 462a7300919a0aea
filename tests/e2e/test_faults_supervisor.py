# SPDX-License-Identifier: BSD-2-Clause
"""
Calls of the supervisor fail while it replaces a worker or reloads: what serves goes on serving,
and the next attempt works.
"""

import itertools
import os
import signal

import pytest

from lib import conf, header, proc
from lib.conn import FIN, connect
from lib.faults import SHIM, Faults
from lib.topology import CLIENT4, ORIGIN4
from lib.wait import until

PORTS = itertools.count(20000)
RELOADED = r".*\[\+\] reloaded.*"
REFUSED = r".*reload failed.*"

CALLS = {
    "fork": ("EAGAIN", "ENOMEM"),
    "socketpair": ("EMFILE", "ENFILE", "ENOBUFS"),
    "send": ("ENOBUFS", "EAGAIN"),
    "recv": ("EINTR", "ENOBUFS"),
    "epoll_ctl_add": ("ENOMEM", "ENOSPC"),
}
LOADING = CALLS | {
    "socket": ("EMFILE", "ENOBUFS"),
    "bind": ("EADDRINUSE", "EADDRNOTAVAIL"),
    "listen": ("EADDRINUSE",),
    "setsockopt": ("ENOBUFS",),
}


@pytest.fixture
def faults(directory):
    if not os.access(SHIM, os.R_OK):
        pytest.fail(f"no shim at {SHIM}: build it, or set MMPROXY_FAULTS_SHIM")
    return Faults(directory)


@pytest.fixture
def gateway(faults, serve, echo, net):
    started = serve(options={"prefix": faults.prefix}, client_port="any")
    started.service = echo()
    started.wait_workers(1)
    assert serves(net)
    return started


def serves(net, port=conf.PORT):
    peer = connect(net.lb, ORIGIN4, port)
    try:
        peer.send(header.v1(CLIENT4, next(PORTS)) + b"hello")
        peer.finish()
        return peer.end() == (b"hello", FIN)
    except OSError:
        return False
    finally:
        peer.close()


@pytest.mark.parametrize("call", CALLS)
def test_a_worker_is_replaced_although_a_call_fails(gateway, faults, net, call):
    gateway.may_lose_workers = True
    for error in CALLS[call]:
        worker, = gateway.wait_workers(1)
        faults.arm(call, error, pid=gateway.pid)
        proc.kill(worker)
        until(lambda: len(w := gateway.workers()) == 1 and worker not in w and serves(net),
              lambda: f"a replacement, {call} failing with {error}\n{gateway.text()}")
        faults.disarm()
        assert gateway.is_running()


@pytest.mark.parametrize("call", LOADING)
def test_a_reload_works_or_changes_nothing_whatever_fails(gateway, faults, net, directory, call):
    gateway.may_lose_workers = True
    ports = itertools.count(3000)
    for error, skip in itertools.product(LOADING[call], range(4)):
        port = next(ports)
        listeners = [conf.listener(client_port="any"),
                     conf.listener(name="more", listen=f"0.0.0.0:{port}", client_port="any")]
        conf.write(directory, listeners, workers=1)
        before = len(gateway.find(RELOADED)), len(gateway.find(REFUSED))
        faults.arm(call, error, skip, pid=gateway.pid)
        gateway.signal(signal.SIGHUP)
        until(lambda: (len(gateway.find(RELOADED)), len(gateway.find(REFUSED))) != before,
              lambda: f"an end of the reload, {call} number {skip} of {faults.seen} failing with "
              f"{error}\n"
              + gateway.text())
        faults.disarm()
        assert serves(net)

        # And now nothing fails.
        if len(gateway.find(REFUSED)) != before[1]:
            gateway.signal(signal.SIGHUP)
            gateway.wait_line(RELOADED, before[0] + 1)
        assert serves(net), gateway.text()
        assert serves(net, port), gateway.text()
        until(lambda: len(gateway.workers()) == 1,
              lambda: f"the old generation to end, {call} number {skip} failing with {error}\n"
              + gateway.text())
