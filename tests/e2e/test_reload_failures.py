# SPDX-License-Identifier: BSD-2-Clause
"""Reloads that fail: a line for each mistake, the old configuration goes on, a good one works."""

import re
import signal
import socket

import pytest

from lib import conf, header, proc
from lib.chatter import next_client
from lib.reloading import FAILED, RELOADED, Reloader, client_sessions
from lib.stopped_child import stop_next_child
from lib.topology import ORIGIN4
from lib.wait import until

STILL_SERVES = "[!] reload failed: generation 1 keeps its configuration"
UNPRIVILEGED = 24680
START_TIMEOUT_S = 10
AMBIENT = "+net_raw,+net_admin,+net_bind_service"


@pytest.fixture
def session(dial):
    yield from client_sessions(dial)


@pytest.fixture
def failing(serve, directory, net, session, target):
    """failing(...) as serve; a gateway with a session, whose reloads are about to fail."""
    def start(**options):
        service, _ = target(), target(6)  # before the gateway, which checks again those that fail
        return Failing(serve(**options), directory, net, session, service)
    return start


class Failing(Reloader):
    def __init__(self, gateway, directory, net, session, service):
        super().__init__(gateway, directory)
        self._net, self._session, self._service = net, session, service
        self._workers = gateway.workers()
        self.held = self.new_session()
        gateway.wait_line(".* connected, .*")  # every line of the start is before it
        # To be found again after the failure.
        self._descriptors = proc.resting_descriptors(gateway.pid)

    def new_session(self, port=2222):
        return self._session(self._service, header.v1(*next_client()), port=port)

    def hold_worker(self):
        """SIGHUP; the first worker of the new generation, stopped."""
        return stop_next_child(self.gateway.pid, lambda: self.gateway.signal(signal.SIGHUP))

    def expect_lines(self, *wanted):
        """A reload that says exactly this, and that generation 1 goes on."""
        old = list(self.gateway.lines)
        self.gateway.signal(signal.SIGHUP)
        self.gateway.wait_line(FAILED)
        told = [line for line in self.gateway.lines[len(old):] if " connected, " not in line]
        assert told == [*wanted, STILL_SERVES]

    def expect_old_goes_on(self):
        """Nothing of the failure is left, and everything works as before."""
        # Children, not workers: one that was killed at once never came to be a worker.
        until(lambda: proc.children(self.gateway.pid) == self._workers,
              "the new workers to be gone")
        until(lambda: not proc.zombies(self.gateway.pid), "zombies to be reaped")
        now = proc.resting_descriptors(self.gateway.pid)
        assert len(now) == len(self._descriptors), f"{self._descriptors}\n{now}"
        assert not self._net.origin.is_listening(8080)
        self.held[0].trip(self.held[1])
        peer, conn = self.new_session()
        peer.trip(conn)

    def expect_good_one_works(self):
        self.write([conf.listener(), web()])
        self.hup(RELOADED)
        peer, conn = self.new_session(8080)
        peer.trip(conn)
        self.held[0].trip(self.held[1])

    def expect_survival(self):
        self.expect_old_goes_on()
        self.expect_good_one_works()


def web(**keys):
    return conf.listener(**({"name": "web", "listen": "0.0.0.0:8080"} | keys))


def test_syntax_error(failing):
    gateway = failing()
    path = gateway.write([conf.listener(), web()])
    path.write_text(path.read_text().replace('name = "web"', 'name == "web"'))
    line = 1 + path.read_text().split('name == "web"')[0].count("\n")
    gateway.expect_lines(f'{path}:{line}: the value of "name" is missing')
    gateway.expect_survival()


def test_missing_subnets_file(failing):
    gateway = failing()
    path = gateway.write([conf.listener(), web(allowed_subnets="none.subnets")])
    line = 1 + path.read_text().split("none.subnets")[0].count("\n")
    gateway.expect_lines(f"{path}:{line}: cannot read {path.parent}/none.subnets: "
                         "No such file or directory")
    gateway.expect_survival()


def test_every_mistake_has_a_line(failing, directory):
    gateway = failing()
    path = gateway.write([conf.listener(mark=0), web(name="ssh", target_v4="127.0.0.1")])
    (directory / "lb.subnets").write_text("10.0.0.1\n10.0.0.256\n")
    gateway.gateway.signal(signal.SIGHUP)
    gateway.gateway.wait_line(FAILED)
    mistakes = [line for line in gateway.gateway.lines if line.startswith(f"{directory}/")]
    assert len(mistakes) == len(set(mistakes)) >= 4
    assert all(re.match(r"/[^:]+:[0-9]+: .", line) for line in mistakes)
    assert any(line.startswith(f"{directory}/lb.subnets:2: ") for line in mistakes)
    assert sum(line.startswith(f"{path}:") for line in mistakes) >= 3
    gateway.expect_survival()


def test_configuration_file_is_gone(failing, directory):
    gateway = failing()
    path = directory / "mmproxy.conf"
    path.unlink()
    gateway.expect_lines(f"{path}: No such file or directory")
    gateway.expect_survival()


def test_user_that_does_not_exist(failing):
    gateway = failing()
    path = gateway.write([conf.listener(), web()], user="mmproxy-no-such-user")
    gateway.gateway.signal(signal.SIGHUP)
    gateway.gateway.wait_line(re.escape(f"{path}:") + "[0-9]+: .*mmproxy-no-such-user.*")
    gateway.gateway.wait_line(re.escape(STILL_SERVES))
    gateway.expect_survival()


def test_address_in_use(net, failing):
    gateway = failing()
    other = net.origin.socket(socket.AF_INET)
    other.bind((ORIGIN4, 3333))
    other.listen()
    gateway.write([conf.listener(), web(), web(name="taken", listen=f"{ORIGIN4}:3333")])
    gateway.expect_lines(f"mmproxy: can't listen on {ORIGIN4}:3333 (taken): "
                         "Address already in use")
    other.close()
    gateway.expect_survival()


def test_address_that_is_not_this_host_s(failing):
    gateway = failing()
    gateway.write([conf.listener(), web(), web(name="away", listen="192.0.2.1:3333")])
    gateway.expect_lines("mmproxy: can't listen on 192.0.2.1:3333 (away): "
                         "Cannot assign requested address")
    gateway.expect_survival()


def test_no_descriptors_for_another_worker(failing):
    gateway = failing()
    pid = gateway.gateway.pid
    gateway.write([conf.listener(keepalive=61)], workers=4)
    # Enough to read the files, not for the channels of four workers.
    limit = len(proc.resting_descriptors(pid)) + 3
    gateway.gateway.namespace.run("prlimit", f"--nofile={limit}:20000", f"--pid={pid}")
    gateway.gateway.signal(signal.SIGHUP)
    gateway.gateway.wait_line(re.escape(STILL_SERVES))
    gateway.gateway.wait_line(r"\[!\] generation 2 could not start: .+")
    gateway.gateway.namespace.run("prlimit", "--nofile=20000:20000", f"--pid={pid}")
    gateway.expect_survival()


def test_no_processes_for_another_worker(failing):
    """As a user whose processes are limited, which root's are not."""
    gateway = failing(settings={"user": "nobody", "sandbox": False}, options={"prefix": [
        "setpriv", f"--reuid={UNPRIVILEGED}", "--clear-groups", f"--inh-caps={AMBIENT}",
        f"--ambient-caps={AMBIENT}"]})
    pid = gateway.gateway.pid
    gateway.write([conf.listener(), web()], user="nobody", sandbox=False)
    as_user = ("setpriv", f"--reuid={UNPRIVILEGED}", "prlimit", f"--pid={pid}")
    gateway.gateway.namespace.run(*as_user, "--nproc=2:")
    gateway.expect_lines("[!] generation 2 could not start: Resource temporarily unavailable")
    gateway.gateway.namespace.run(*as_user, "--nproc=100:")
    gateway.expect_old_goes_on()
    gateway.write([conf.listener(), web()], user="nobody", sandbox=False)
    gateway.hup()
    peer, conn = gateway.new_session(8080)
    peer.trip(conn)


def test_worker_killed_at_its_start(failing):
    gateway = failing()
    gateway.gateway.may_lose_workers = True
    gateway.write([conf.listener(), web()], workers=2)
    worker = gateway.hold_worker()
    worker.kill()
    gateway.gateway.wait_line(re.escape(STILL_SERVES))
    assert gateway.gateway.find(re.escape(
        f"[!] worker {worker.pid} of generation 2 died: killed by signal 9 (Killed)"))
    assert gateway.gateway.find(re.escape("[!] generation 2 could not start: a worker died"))
    gateway.expect_survival()


def test_worker_not_ready_in_time(failing, clock):
    gateway = failing(options={"env": clock.environment})
    gateway.write([conf.listener(), web()], workers=2)
    clock.stop()
    gateway.hold_worker()
    clock.forward(START_TIMEOUT_S - 1)
    assert not gateway.gateway.find(re.escape(STILL_SERVES))
    clock.forward(1)
    clock.run()
    gateway.gateway.wait_line(re.escape(STILL_SERVES))
    assert gateway.gateway.find(re.escape(
        "[!] generation 2 could not start: its workers are not ready in time"))
    gateway.expect_survival()


def test_failures_in_a_row_leave_nothing(failing, net):
    gateway = failing()
    other = net.origin.socket(socket.AF_INET)
    other.bind((ORIGIN4, 3333))
    other.listen()
    for _ in range(20):
        gateway.write([conf.listener(), web(), web(name="taken", listen=f"{ORIGIN4}:3333")])
        gateway.hup(FAILED)
        (gateway.directory / "mmproxy.conf").write_text("nonsense")
        gateway.hup(FAILED)
    gateway.expect_survival()
    other.close()


def test_sighup_during_a_reload_that_fails(failing):
    """The remembered one takes effect."""
    gateway = failing()
    gateway.gateway.may_lose_workers = True
    gateway.write([conf.listener(), web()])
    worker = gateway.hold_worker()
    gateway.write([conf.listener(), web(listen="0.0.0.0:8081")])
    gateway.gateway.signal(signal.SIGHUP)
    worker.kill()
    gateway.gateway.wait_line(RELOADED)
    peer, conn = gateway.new_session(8081)
    peer.trip(conn)

