# SPDX-License-Identifier: BSD-2-Clause
"""Workers that are killed while they count: whatever they held must be free again."""

import random
import time

from lib import conf, proc
from lib.chatter import Chatter
from lib.conn import connect
from lib.daemon import Daemon
from lib.header import v1
from lib.target import EchoTarget
from lib.topology import CLIENT4, LOOPBACK_OF, ORIGIN4, Topology
from lib.wait import until

# Each limit is one session or two, so that a single count that is left shows.
LIMITS = {"max_sessions": 1, "max_sessions_per_client": 1, "max_pending": 1}
CLIENTS = 8
TOLD_EVERY = 50


def run(count, directory):
    """count kills at random moments under load. returns: what went wrong."""
    net = Topology()
    net.return_path_loopback()
    service = EchoTarget(net.origin, LOOPBACK_OF[4], conf.SERVICE_PORT)
    path = conf.write(directory, [conf.listener(**LIMITS)], workers=1)
    gateway = Daemon(net.origin, ["-c", path], directory)
    gateway.may_lose_workers = True
    try:
        gateway.wait_listening(*conf.LISTEN)
        clients = Chatter(net.lb, ORIGIN4, [conf.PORT], count=CLIENTS, may_break=True)
        for number in range(1, count + 1):
            _kill(gateway)
            if number % TOLD_EVERY == 0:
                print(f"{number} of {count} kills, {clients.sessions} sessions seen through",
                      flush=True)
        failures = clients.stop()
        print(f"{clients.sessions} sessions seen through, {clients.broken} refused or cut off")
        return failures + _what_is_left(net)
    finally:
        gateway.close()
        service.close()
        net.close()


def _kill(gateway):
    workers = until(gateway.workers, "a worker")
    time.sleep(random.random() * 0.3)
    proc.kill(workers[0])
    until(lambda: (now := gateway.workers()) and now != workers, "another worker")


def _what_is_left(net):
    """With a count that is left, max_sessions = 1 lets nobody in any more."""
    def is_served():
        peer = connect(net.lb, ORIGIN4, conf.PORT)
        try:
            peer.send(v1(CLIENT4, 20001) + b"x")
            return peer.recv(1) == b"x"
        except OSError:
            return False
        finally:
            peer.close()
    try:
        until(is_served, "a session")
    except AssertionError as error:
        return [f"nobody is let in any more: {error}"]
    return []
