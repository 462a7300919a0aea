# SPDX-License-Identifier: BSD-2-Clause
"""
The examples of docs/containers.md beside the mail server: their files and commands as they are, with the
engines that they are for. Images are made here (lib/mail_container.py, lib/mmproxy_image.py), and have the
names that the examples give them.
"""

import contextlib
import re

import pytest

from lib import container_world, daemon, engine, guide, header, mmproxy_image
from lib.conn import connect
from lib.container_world import BALANCER, HOST
from lib.topology import CLIENT_OF
from lib.wait import until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("examples")]  # one process, one world

PORTS = {"smtp": 2525, "submission": 2587, "imaps": 2993}
MAILCOW = """
services:
  postfix-mailcow:
    image: mailserver
    networks: { mailcow-network: { ipv4_address: 172.22.1.253, aliases: [postfix] } }
  dovecot-mailcow:
    image: mailserver
    networks: { mailcow-network: { ipv4_address: 172.22.1.250, aliases: [dovecot] } }
networks:
  mailcow-network:
    driver: bridge
    enable_ipv6: true
    ipam:
      config: [ { subnet: 172.22.1.0/24 }, { subnet: "fd4d:6169:6c63:6f77::/64" } ]
"""


def commands(title, first=None):
    """The commands of a section; first: those of its block that begins so."""
    blocks = guide.section("containers.md", title)["sh"]
    return next(block for block in blocks if not first or block.startswith(first))


def make_world(tmp_path_factory, kind, **programs):
    with contextlib.closing(container_world.World(tmp_path_factory.mktemp("examples"), kind,
                                                  **programs)) as world:
        yield world


@pytest.fixture(scope="module")
def podman(tmp_path_factory):
    for world in make_world(tmp_path_factory, engine.Podman):
        mmproxy_image.load(world)
        yield world


@pytest.fixture(scope="module")
def docker(tmp_path_factory):
    yield from make_world(tmp_path_factory, engine.Docker, docker_compose=[
        "env", f"DOCKER_HOST=unix://{engine.ROOT}/docker.sock", "/usr/bin/docker-compose"])


@pytest.fixture
def rootless(tmp_path_factory):
    yield from make_world(tmp_path_factory, engine.RootlessPodman)


def greet(world, version, port=2525):
    """A session whose header names that client; returns it behind Postfix's greeting."""
    peer = connect(world.net.lb, HOST, port, source=BALANCER)
    peer.send(header.v2(CLIENT_OF[version], 51234))
    assert peer.recv(4) == b"220 "
    return peer


def noop(peer):
    """Does the session go on?"""
    while not peer.recv(1) == b"\n":
        pass
    peer.send(b"NOOP\r\n")
    assert peer.recv(4) == b"250 "


def wait_client(world, container, seen):
    until(lambda: f"connect from unknown[{seen}]" in world.logs(container), lambda: world.logs(container))


def mapped(gateway, version):
    """How the container sees that client of the listener smtp."""
    found = gateway.wait_line(
        rf"\[\+\] smtp: .* connected, proxy protocol source \[?{re.escape(CLIENT_OF[version])}\]?:51234"
        r"(?: as (\S+))?, local .*")
    return found[1] or CLIENT_OF[version]


def test_compose_file_for_docker_mailserver(docker):
    docker.engine("tag", "mailserver", "ghcr.io/docker-mailserver/docker-mailserver:latest")
    enter, up, check = commands("docker-compose").splitlines()
    folder = daemon.ROOT / enter.removeprefix("cd ")
    docker.host(up, folder=folder)
    docker.wait_mail("mailserver")
    docker.host(check, folder=folder)
    with docker.serving(folder / "mmproxy.conf", PORTS, len(PORTS)) as gateway:
        for version in (4, 6):
            greet(docker, version).close()
            wait_client(docker, "mailserver", mapped(gateway, version))


def test_override_for_mailcow(docker):
    """What stands for mailcow's own file has its network and its two servers."""
    docker.write("srv/mailcow/docker-compose.yml", MAILCOW)
    example = daemon.ROOT / "docs/examples/mailcow"
    docker.run("cp", example / "docker-compose.override.yml", "/srv/mailcow")
    docker.host("docker-compose up --detach", folder="/srv/mailcow")
    for name in ("postfix", "dovecot"):
        docker.wait_mail(f"mailcow_{name}-mailcow_1")
    docker.host(f"mmproxy --check --config {example}/mmproxy.conf")
    with docker.serving(example / "mmproxy.conf", PORTS, 2 * len(PORTS)):
        for version in (4, 6):
            greet(docker, version).close()
            wait_client(docker, "mailcow_postfix-mailcow_1", CLIENT_OF[version])


def test_container_of_rootless_podman(rootless):
    run, link = (commands("Rootless podman", first) for first in ("podman", "ln"))
    pid = rootless.host(run).split()[-1]
    rootless.host(f"PID={pid}; {link}")
    rootless.wait_mail("mail")
    with rootless.serving(daemon.ROOT / "docs/examples/rootless/mmproxy.conf", {"smtp": 2525}, 2):
        for version in (4, 6):
            greet(rootless, version).close()
            wait_client(rootless, "mail", CLIENT_OF[version])


def test_pod_of_kubernetes(podman, request):
    """podman has no kubelet's probes: the command of the readiness probe is run by hand."""
    play, probe = commands("Kubernetes").splitlines()
    podman.allow_pods()
    request.addfinalizer(lambda: podman.engine("pod", "rm", "--force", "--all"))
    podman.host(play, folder=daemon.ROOT)
    podman.wait_mail("mail-server")
    until(lambda: "smtp" in podman.host(probe, status=None), lambda: podman.logs("mail-mmproxy"))
    podman.host(probe)
    # The targets are checked after the return path.
    until(lambda: "Target server" in podman.logs("mail-mmproxy"), lambda: podman.logs("mail-mmproxy"))
    assert "CHECK FAILED" not in podman.logs("mail-mmproxy")
    for version in (4, 6):
        greet(podman, version).close()
        wait_client(podman, "mail-server", CLIENT_OF[version])


class Image:
    """The section about mmproxy's own image, step by step."""

    def __init__(self, world):
        self.world = world
        section = guide.section("containers.md", "mmproxy in a container")
        _, self.test, self.start, self.reload, self.renew = section["sh"]
        self.config = section["conf"][0]

    def write(self, text):
        self.world.write("srv/mmproxy/mmproxy.conf", text)

    def session(self, version=4):
        """Its address is in the server's log."""
        peer = greet(self.world, version)
        wait_client(self.world, "mail", CLIENT_OF[version])
        return peer

    def close(self):
        """Those in another's network go before it."""
        for name in ("mmproxy", "mmproxy-old", "mail"):
            self.world.engine("rm", "--force", "--time", "0", "--ignore", name)


@pytest.fixture
def image(podman):
    with contextlib.closing(Image(podman)) as made:
        yield made


def test_image_runs_reloads_and_is_renewed(image):
    world = image.world
    image.write(image.config.replace("smtp", "no name"))
    assert '"name"' in world.host(image.test, status=78)
    image.write(image.config)
    world.host(image.test)
    world.host(image.start)
    world.wait_mail("mail")
    world.wait_answer(2525)
    peers = [image.session(version) for version in (4, 6)]

    # A mistake changes nothing; the file is a new one, as editors leave it.
    image.write(image.config.replace("target_v4", "targte_v4"))
    assert "targte_v4" in world.host(image.reload, status=78)
    image.write(image.config.replace("0.0.0.0:2525", "0.0.0.0:2525\", \"0.0.0.0:2526"
                                     ).replace('listen = "0.0.0.0:2525", "0.0.0.0:2526"',
                                               'listen = [ "0.0.0.0:2525", "0.0.0.0:2526" ]'))
    assert "generation 2 serves" in world.host(image.reload)
    until(lambda: "Listening on 0.0.0.0:2526 (smtp)" in world.logs("mmproxy"), lambda: world.logs("mmproxy"))
    for peer in peers:
        noop(peer)
    for peer in peers[1:]:
        peer.close()

    # A new version: the old container's session goes on while the new one serves.
    *steps, wait, remove = image.renew.rstrip().split("\n")
    old = image.session()
    world.host("\n".join(steps))
    world.wait_answer(2525)
    new = image.session()
    noop(old)
    noop(new)
    for peer in (old, peers[0]):
        peer.close()
    assert world.host(wait).strip() == "0"
    world.host(remove)
    noop(new)
    new.close()
    world.engine("kill", "--signal", "TERM", "mmproxy")
    assert world.engine("wait", "mmproxy").strip() == "0"
