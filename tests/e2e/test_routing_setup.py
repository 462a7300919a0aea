# SPDX-License-Identifier: BSD-2-Clause
"""
Every return path, for both families and both kinds of target: with what --rules prints, and
managed, a real session works; afterwards everything is as it was.
"""

import subprocess

import pytest

from lib import conf, header, routing
from lib.conn import connect
from lib.target import EchoTarget
from lib.topology import CLIENT_OF, LOOPBACK_OF, ORIGIN_OF
from lib.wait import until

pytestmark = pytest.mark.release

PLACES = {"loopback": LOOPBACK_OF, "veth": ORIGIN_OF}

CASES = [(method, version, place)
         for method in ("loopback", "fwmark", "connmark") for version in (4, 6)
         for place in PLACES if (method, place) != ("loopback", "veth")]


class Case:
    """One service at the place, a configuration for it, and somebody who reaches it directly."""

    def __init__(self, net, directory, method, version, place):
        self.origin, self.net, self.version = net.origin, net, version
        self.address = PLACES[place][version]
        self.echo = EchoTarget(net.origin, self.address, conf.SERVICE_PORT)
        keys = {"target_v4": None, "target_v6": None, "return_path": method}
        host = f"[{self.address}]" if version == 6 else self.address
        keys[f"target_v{version}"] = f"{host}:{conf.SERVICE_PORT}"
        self.listener = conf.listener(**keys)
        self.config = conf.write(directory, [self.listener], workers=1)
        self.direct_from = net.origin if place == "loopback" else net.lb

    def direct(self):
        """A direct, unproxied connection works."""
        connection = connect(self.direct_from, self.address, conf.SERVICE_PORT)
        routing.talk(connection, self.echo)
        return connection

    @staticmethod
    def still_works(connection):
        connection.send(b"still here")
        assert connection.recv(10) == b"still here"

    def proxied(self):
        """A session through mmproxy works, and the service sees the client."""
        peer = connect(self.net.lb, ORIGIN_OF[4], conf.PORT)
        peer.send(header.v2(CLIENT_OF[self.version], 51234) + b"hello")
        assert peer.recv(5) == b"hello"
        assert (CLIENT_OF[self.version], 51234) in self.echo.sources
        return peer

    def refused(self):
        """A closed port is refused, not silent."""
        with pytest.raises(ConnectionRefusedError):
            routing.spoofed(self.origin, CLIENT_OF[self.version], self.address, 9)

    def close(self):
        self.echo.close()


@pytest.fixture(params=CASES, ids=lambda case: "{}-ipv{}-{}".format(*case))
def case(request, plain_net, directory):
    made = Case(plain_net, directory, *request.param)
    routing.create_mangle(plain_net.origin)
    yield made
    made.close()


def test_what_rules_prints_works_and_undo_takes_it_down(case, launch, directory):
    before = routing.snapshot(case.origin)
    opened = case.direct()
    assert routing.run(case.origin, "verify", case.config, directory).status == 1
    routing.shell(case.origin, routing.run(case.origin, "rules", case.config, directory).text)

    report = routing.run(case.origin, "verify", case.config, directory)
    assert report.status == 0 and report.items and not report.failed(), report.text
    check = routing.run(case.origin, "check", case.config, directory)
    assert check.status == 0 and all(line.startswith("[+] OK. ") for line in check.lines)
    gateway = launch(case.origin, "-c", case.config)
    gateway.wait_listening(*conf.LISTEN)
    case.proxied().close()
    case.direct().close()
    case.refused()
    gateway.stop()

    undo = routing.run(case.origin, "rules", case.config, directory, "--rules=undo")
    routing.shell(case.origin, undo.text)
    assert routing.snapshot(case.origin) == before
    case.still_works(opened)
    case.direct().close()


def test_managed_sets_up_and_leaves_nothing_behind(case, launch, directory):
    before = routing.snapshot(case.origin)
    opened = case.direct()
    managed = routing.Managed(case.origin, _managed(case, directory), directory)
    try:
        assert "ready" in managed.lines
        gateway = launch(case.origin, "-c", conf.write(directory, [case.listener], workers=1))
        gateway.wait_listening(*conf.LISTEN)
        case.proxied().close()
        case.direct().close()
        case.refused()
        report = routing.run(case.origin, "verify", case.config, directory)
        assert report.status == 0, report.text
        gateway.stop()
    finally:
        managed.stop()
    assert routing.snapshot(case.origin) == before
    assert not list((directory / "run").iterdir())
    case.still_works(opened)
    case.direct().close()


def _managed(case, directory):
    (directory / "managed").mkdir(exist_ok=True)
    return conf.write(directory / "managed", [case.listener], routing="managed")


# systemd-networkd with a file system of its own: no bus, no udev, its file and nothing else.
NETWORKD = """
mount -t tmpfs none /run && mount -t tmpfs none /etc/systemd && mount -t sysfs -o ro none /sys
mkdir -p /etc/systemd/network /run/systemd/netif/links
chown -R systemd-network:systemd-network /run/systemd/netif
cat > /etc/systemd/network/50-mmproxy.network
exec /usr/lib/systemd/systemd-networkd
"""


@pytest.mark.parametrize("method", ["loopback", "fwmark"])
def test_systemd_networkd_takes_its_form(method, plain_net, directory):
    origin = plain_net.origin
    config = conf.write(directory, [conf.listener(return_path=method)])
    text = routing.run(origin, "rules", config, directory, "--rules=networkd").text
    for line in text.splitlines():
        if line.startswith("# net."):
            origin.run("sysctl", "-w", line[2:].replace(" ", ""))
    networkd = subprocess.Popen(origin.argv("unshare", "-m", "sh", "-e", "-c", NETWORKD),
                                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
    try:
        networkd.stdin.write(text.encode())
        networkd.stdin.close()
        until(lambda: routing.run(origin, "verify", config, directory).status == 0,
              lambda: routing.run(origin, "verify", config, directory).text)
    finally:
        networkd.kill()
        networkd.wait()
