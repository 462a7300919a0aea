# SPDX-License-Identifier: BSD-2-Clause
"""The largest configuration that a file may ask for is served, and can be replaced by another."""

import pytest

from lib import conf, header
from lib.reloading import RELOADED, Reloader
from lib.topology import CLIENT4

pytestmark = pytest.mark.release

LISTENERS = 10000
FIRST_PORT = 10000


def listeners(name):
    return [conf.listener(name=f"{name}{number}", listen=f"0.0.0.0:{FIRST_PORT + number}",
                          target_v6=None)
            for number in range(LISTENERS)]


def is_served(dial, port):
    peer = dial(port=port)
    peer.send(header.v1(CLIENT4, 20000 + port % 1000) + b"x")
    return peer.recv(1) == b"x"


def test_ten_thousand_listeners_serve_and_all_get_other_names(net, launch, directory, dial, echo):
    """4,097 of them once passed the test of the configuration and failed to start."""
    echo()
    gateway = launch(net.origin, "-c", conf.write(directory, listeners("a"), workers=2),
                     prefix=["prlimit", "--nofile=20000:20000"])
    gateway.wait_workers(2)
    last = FIRST_PORT + LISTENERS - 1
    assert is_served(dial, FIRST_PORT) and is_served(dial, last)
    reloader = Reloader(gateway, directory)
    reloader.write(listeners("b"), workers=2)
    reloader.hup(RELOADED)
    assert is_served(dial, FIRST_PORT) and is_served(dial, last)


def test_more_than_512_workers_reload(net, launch, directory, dial, echo):
    echo()
    workers = 600
    gateway = launch(net.origin, "-c", conf.write(directory, [conf.listener()], workers=workers))
    gateway.wait_workers(workers)
    held = dial()
    held.send(header.v1(CLIENT4, 20001) + b"x")
    assert held.recv(1) == b"x"
    reloader = Reloader(gateway, directory)
    reloader.write([conf.listener(keepalive=61)], workers=workers)
    reloader.hup(RELOADED)
    assert is_served(dial, conf.PORT)
    held.send(b"y")
    assert held.recv(1) == b"y"
