# SPDX-License-Identifier: BSD-2-Clause
"""
Every figure equals what the test did, for every reason, while the service is reloaded, loses workers
and is upgraded.

MMPROXY_E2E_FIGURES: rounds of five reloads and a worker's death; an upgrade in every third. The
default is 2, and 10 is the long form.
"""

import itertools
import os
import signal
import threading

import pytest

from lib import causes, conf, exporter, proc, udp
from lib.causes import Causes, Ledger
from lib.conn import RST
from lib.ctl import Ctl
from lib.faults import Faults
from lib.upgrading import Upgradable
from lib.wait import together, until

ROUNDS = int(os.environ.get("MMPROXY_E2E_FIGURES", "2"))
RELOADS, UPGRADE_EVERY, HELD = 5, 3, 6
SETTINGS = {"metrics": exporter.ADDRESS, "workers": 2}


class Traffic:
    """Causes everything, all at once and again and again, until it is stopped."""

    def __init__(self, caused):
        self._caused, self._is_over, self._error = caused, threading.Event(), None
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            while not self._is_over.is_set():
                together(lambda cause: cause(), self._caused.all())
        except BaseException as error:  # to be raised where the test waits
            self._error = error

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()
        if self._error:
            raise self._error


class World:
    """The service, what was done to it, and sessions that last."""

    def __init__(self, net, launch, directory):
        self.net, self.directory = net, directory
        self.ctl = Ctl(directory)
        self.faults = Faults(directory)
        self.ledger = Ledger()
        self.causes = Causes(net, self.ledger)
        self.service = Upgradable(net, launch, directory, causes.listeners(), SETTINGS,
                                  outer=self.faults.prefix)
        self.service.gateway.may_lose_workers = True
        self.held = []
        self._keepalive = itertools.count(100)

    def reload(self, **keys):
        conf.write(self.directory, causes.listeners(keepalive=next(self._keepalive), **keys),
                   **SETTINGS)
        with self.causes.calm:
            self.ctl.ask("reload")

    def upgrade(self):
        with self.causes.calm:
            self.service.upgrade()
            until(lambda: self.ctl.run("status").returncode == 0, "the new process to answer")

    def reach_udp_limit(self):
        self.causes.udp_fill()
        pids = self.ctl.workers()
        for pid in pids:
            proc.stop(pid)
        self.reload(udp_limit=1)
        self.causes.udp_max_sessions()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def kill_worker(self):
        """One that serves; its sessions end."""
        victim = self.ctl.workers()[-1]
        peers = {each["peer"] for each in self.ctl.sessions() if each["id"].startswith(f"{victim}-")}
        proc.kill(victim)
        for conn in self.held:
            if conn.local in peers:
                conn.expect_end(RST)
        self.held = [conn for conn in self.held if conn.local not in peers]
        until(lambda: not proc.is_alive(victim) and len(self.ctl.workers()) == 2,
              "the worker to be replaced")

    def hold(self):
        """Some sessions last until a worker's death ends them."""
        while len(self.held) < HELD:
            self.held.append(self.causes.session())

    def use_held(self):
        for conn in self.held:
            conn.send(b"on")
            assert conn.recv(2) == b"on"
            self.ledger.add("ssh", bytes_in=2, bytes_out=2)

    def expect_equal(self):
        """Every figure of every listener; it may lag behind, but is never above."""
        differences = {}

        def is_equal():
            try:
                found = causes.figures(self.net.origin)
            except OSError:
                return False  # an exporter that has just been replaced
            differences.clear()
            for name in causes.PORTS:
                wanted, there = self.ledger.of(name), found[name]
                for key in wanted.keys() | there.keys():
                    assert there[key] <= wanted[key], (name, key, there[key], wanted[key])
                    if there[key] != wanted[key]:
                        differences[name, key] = there[key], wanted[key]
            return not differences

        until(is_equal, lambda: f"(there is, wanted) {differences}")

    def expect_sessions(self, names):
        def active():
            figures = exporter.Figures(self.net.origin)
            return {name: figures.get("sessions_active", listener=name) for name in names}

        wanted = {name: len(self.held) if name == "ssh" else 0 for name in names}
        until(lambda: active() == wanted, lambda: f"sessions {wanted}, there are {active()}")


@pytest.fixture
def world(net, launch, directory, echo, service):
    echo()
    service(kind=udp.Echo)
    causes.prepare(net.origin)
    made = World(net, launch, directory)
    yield made
    for conn in made.held:
        conn.close()
    made.service.close()


TCP = [each["name"] for each in causes.listeners() if each.get("protocol") != "udp"]
UDP = [each["name"] for each in causes.listeners() if each.get("protocol") == "udp"]


def test_every_figure_is_exact_over_reloads_deaths_and_upgrades(world):
    for round_number in range(ROUNDS):
        world.hold()
        with Traffic(world.causes):
            for _ in range(RELOADS):
                world.reload()
                world.use_held()
            if round_number % UPGRADE_EVERY == 0:
                world.upgrade()
        world.use_held()
        workers = world.ctl.workers()
        world.causes.no_resources(world.faults, workers)
        world.causes.udp_no_resources(world.faults, workers)
        world.expect_equal()
        world.kill_worker()
        world.use_held()
        world.expect_equal()
        world.expect_sessions(TCP)
    world.reach_udp_limit()
    world.expect_equal()
    for name in (*TCP, *UDP):
        shown = world.ctl.listener(name)
        wanted = world.ledger.of(name)
        assert {f"refused_{reason}": n for reason, n in shown["refused"].items()} == {
            key: n for key, n in wanted.items() if key.startswith("refused_")}
        assert [shown[key] for key in ("accepted", "served", "health_checks", "bytes_in",
                                       "bytes_out")] == [
            wanted[key] for key in ("accepted", "served", "health_checks", "bytes_in", "bytes_out")]
    samples = exporter.Figures(world.net.origin).samples
    reasons = {dict(labels)["reason"] for name, labels in samples if name == "mmproxy_refused_total"}
    assert world.ledger.reasons(TCP) == reasons - causes.NOT_TCP
    assert world.ledger.reasons(UDP) == reasons - causes.NOT_UDP
    for conn in world.held:
        conn.close()
    world.held.clear()
    for name in UDP:
        world.ctl.run("close", "--listener", name)
    world.expect_sessions(causes.PORTS)
