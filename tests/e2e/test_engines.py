# SPDX-License-Identifier: BSD-2-Clause
"""Services in containers of real engines, with a published port that goes on working."""

import socket

import pytest

from lib import conf, daemon, header, mail, routing, udp
from lib.conn import RST, connect
from lib.engine import Podman
from lib.topology import CLIENT_OF, LB_OF, ORIGIN_OF, Topology
from lib.wait import DEADLINE, until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("published")]  # one process, one world

BOX_OF = {4: "10.77.0.2", 6: "fd77::2"}
STREAM, NETNS, DATAGRAM, PUBLISHED = 2525, 2526, 5300, 8025


class World:
    """The origin with podman on it and a container on a bridge network."""

    def __init__(self, directory):
        self.directory = directory
        self.net = Topology()
        routing.create_mangle(self.net.origin)
        for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.net.origin.sysctl(name, 1)
        self.podman = Podman(self.net.origin)
        self.podman("network", "create", "--disable-dns", "--subnet", "10.77.0.0/24", "--ipv6",
                    "--subnet", "fd77::/64", "testing")
        self.start_box()

    def start_box(self):
        self.podman.start("box", "--network", "testing", "--ip", BOX_OF[4], "--ip6", BOX_OF[6],
                          "--publish", f"{PUBLISHED}:25")

    def box_path(self):
        return self.podman.inspect("box")["NetworkSettings"]["SandboxKey"]

    def close(self):
        self.podman.close()
        self.net.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("engine"))
    yield made
    made.close()


@pytest.fixture
def gateway(world, directory):
    """To the container's own address, and into its namespace by name."""
    routed = {"target_v4": f"{BOX_OF[4]}:25", "target_v6": f"[{BOX_OF[6]}]:25"}
    listeners = [
        conf.listener(name="mail", listen=[f"0.0.0.0:{STREAM}"], **routed),
        conf.listener(name="dns", listen=[f"0.0.0.0:{DATAGRAM}"], protocol="udp",
                      target_v4=f"{BOX_OF[4]}:53", target_v6=f"[{BOX_OF[6]}]:53"),
        conf.listener(name="inside", listen=[f"0.0.0.0:{NETNS}"], target_v4="127.0.0.1:25",
                      target_v6="[::1]:25", netns=world.box_path().rpartition("/")[2]),
    ]
    path = conf.write(directory, listeners, workers=1, routing="managed", drain_timeout=0)
    started = daemon.Daemon(world.net.origin, ("-c", path), directory, prefix=world.podman.prefix,
                            env={"RUNTIME_DIRECTORY": str(directory / "run")})
    started.wait_listening(f"0.0.0.0:{STREAM}", name="mail")
    yield started
    started.close()


def greeting(peer):
    """The address that the service says it sees."""
    line = b""
    while not line.endswith(b"\n"):
        line += peer.recv(1)
    return line.decode().split()[0]


def published(world):
    peer = connect(world.net.lb, ORIGIN_OF[4], PUBLISHED)
    seen = greeting(peer)
    peer.close()
    return seen


@pytest.mark.parametrize("port", (STREAM, NETNS), ids=("routed", "netns"))
@pytest.mark.parametrize("version", (4, 6))
def test_the_service_sees_the_client_and_published_ports_work(version, port, world, gateway):
    peer = connect(world.net.lb, ORIGIN_OF[4], port)
    peer.send(header.v2(CLIENT_OF[version], 51234))
    assert greeting(peer) == CLIENT_OF[version]
    peer.send(b"hello")
    assert peer.recv(5) == b"hello"
    assert published(world) == LB_OF[4]
    peer.close()


@pytest.mark.parametrize("version", (4, 6))
def test_datagrams(version, world, gateway):
    peer = world.net.lb.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.settimeout(DEADLINE)
    peer.sendto(udp.v2(CLIENT_OF[version], 51234) + b"hello", (ORIGIN_OF[4], DATAGRAM))
    assert peer.recv(100) == f"{CLIENT_OF[version]} 51234\n".encode()
    peer.close()


def smtp(peer, *commands):
    """The last answer to these commands."""
    with peer.sock.makefile("rwb") as stream:
        answer = stream.readline()
        for command in commands:
            stream.write(command.encode() + b"\r\n")
            stream.flush()
            answer = stream.readline()
    return answer.decode()


RELAY = ("HELO client.example.net", "MAIL FROM:<sender@example.net>", "RCPT TO:<x@example.com>")
LOCAL = (*RELAY[:2], f"RCPT TO:<{mail.USER}@{mail.DOMAIN}>")


def test_a_mail_server_that_trusts_the_bridge_is_no_open_relay(world, launch, directory):
    """Its container has no IPv6. Published by another proxy it would relay for everybody."""
    world.podman.start_postfix("mta", directory, ["10.77.0.0/24"], "--network", "testing",
                               "--ip", "10.77.0.25")
    until(lambda: accepts(world.net.origin, "10.77.0.25", 25), "Postfix to serve")
    listener = conf.listener(name="smtp", listen=["0.0.0.0:2527"], target_v4="10.77.0.25:25",
                             target_v6=None)
    gateway = launch(world.net.origin, "-c", conf.write(directory, [listener], workers=1,
                                                        routing="managed", drain_timeout=0),
                     env={"RUNTIME_DIRECTORY": str(directory / "run")})
    gateway.wait_listening("0.0.0.0:2527", name="smtp")
    for commands, code in ((RELAY, "554"), (LOCAL, "250")):
        peer = connect(world.net.lb, ORIGIN_OF[4], 2527)
        peer.send(header.v2(CLIENT_OF[4], 51234))
        assert smtp(peer, *commands).startswith(code)
        peer.close()
    log = directory / "mail.log"
    until(lambda: f"reject: RCPT from unknown[{CLIENT_OF[4]}]: 554" in log.read_text(), log.read_text)
    peer = connect(world.net.lb, ORIGIN_OF[4], 2527)
    peer.send(header.v2(CLIENT_OF[6], 51234))
    peer.expect_end(RST)
    # The test can fail: a client with the bridge's address is trusted.
    neighbour = connect(world.net.origin, "10.77.0.25", 25)
    assert smtp(neighbour, *RELAY).startswith("250")
    neighbour.close()
    gateway.stop()


def accepts(namespace, address, port):
    try:
        connect(namespace, address, port).close()
    except OSError:
        return False
    return True


def test_nothing_is_left_behind(world, gateway):
    assert "table inet mmproxy" in world.net.origin.run("nft", "list", "tables")
    gateway.stop()
    assert "mmproxy" not in world.net.origin.run("nft", "list", "tables")
    assert "lookup 100" not in world.net.origin.run("ip", "rule")
    assert published(world) == LB_OF[4]
