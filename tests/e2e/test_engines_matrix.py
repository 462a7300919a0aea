# SPDX-License-Identifier: BSD-2-Clause
"""
The matrix: an engine, or a plain bridge, by the container's address or in its network namespace,
managed or manual; in each TCP and UDP, IPv4 and IPv6. And what only a real engine shows.
"""

import difflib
import re

import pytest

from lib import conf, daemon, header, proc, routing, udp
from lib.conn import RST, connect
from lib.engine import BOX_OF, ENGINES, HOST_OF, PUBLISHED_DATAGRAM, PUBLISHED_STREAM
from lib.topology import CLIENT_OF, LOOPBACK_OF, ORIGIN_OF, Topology
from lib.wait import until

pytestmark = pytest.mark.real

STREAM, DATAGRAM = 2525, 5300
CLOSED = r"\[!\] mail is closed: its network namespace does not exist \(netns .*\)"


class World:
    """The origin with an engine on it, and a container whose ports are published."""

    def __init__(self, engine):
        self.net = Topology()
        routing.create_mangle(self.net.origin)
        routing.stop_pacing(self.net.origin)
        for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.net.origin.sysctl(name, 1)
        self.engine = ENGINES[engine](self.net.origin)
        self.engine.create_network()
        self.engine.start_box()
        self.inside = self.engine.inside()
        routing.create_mangle(self.inside)
        routing.stop_pacing(self.inside)

    def state(self):
        """Lines of both sides, but for the seconds that an address from a router is still good for."""
        lines = []
        for side in (self.net.origin, self.inside):
            lines += [re.sub(" expires [0-9]+sec", "", line) for line in routing.snapshot(side)]
        return lines

    def changes(self, before):
        """The lines that have come (+) and gone (-) since then."""
        return [line for line in difflib.ndiff(before, self.state()) if line[0] in "+-"]

    def run(self, directory, *arguments):
        """mmproxy, to its end."""
        where = f"RUNTIME_DIRECTORY={directory / 'run'}"
        return daemon.run(arguments, directory, self.net.origin, prefix=("env", where))

    def close(self):
        self.inside.close()
        self.engine.close()
        self.net.close()


@pytest.fixture(scope="module")
def world(request):
    made = World(request.param)
    yield made
    made.close()


def group(engine):
    """One process runs all its tests, so that it is started once."""
    return pytest.mark.xdist_group(engine)


def each(*engines):
    return pytest.mark.parametrize("world", [pytest.param(name, marks=group(name)) for name in engines],
                                   indirect=True)


def ways():
    """By the container's address, where the host has a way to it; else inside alone."""
    for name, engine in ENGINES.items():
        for way in ("address", "netns") if engine.has_bridge else ("netns",):
            yield pytest.param(name, way, id=f"{name}-{way}", marks=group(name))


def write(world, directory, way="address", **settings):
    host, more = BOX_OF, {}
    if way == "netns":
        host, more = LOOPBACK_OF, {"netns": world.engine.netns()}
    listeners = [
        conf.listener(name="mail", listen=[f"0.0.0.0:{STREAM}"], target_v4=f"{host[4]}:25",
                      target_v6=f"[{host[6]}]:25", **more),
        conf.listener(name="dns", listen=[f"0.0.0.0:{DATAGRAM}"], protocol="udp",
                      target_v4=f"{host[4]}:53", target_v6=f"[{host[6]}]:53", **more)]
    return conf.write(directory, listeners, **({"workers": 1, "routing": "managed",
                                                "drain_timeout": 0} | settings))


@pytest.fixture
def serve(world, launch, directory):
    def start(config):
        gateway = launch(world.net.origin, "-c", config,
                         env={"RUNTIME_DIRECTORY": str(directory / "run")})
        gateway.wait_listening(f"0.0.0.0:{STREAM}", name="mail")
        return gateway
    return start


def greeting(peer):
    """The address that the service says it sees."""
    line = b""
    while not line.endswith(b"\n"):
        line += peer.recv(1)
    return line.decode().split()[0]


def dial(namespace, address, port):
    """A client of its own: the address that the service sees."""
    peer = connect(namespace, address, port)
    seen = greeting(peer)
    peer.close()
    return seen


def session(world, version, port=51234):
    peer = connect(world.net.lb, ORIGIN_OF[4], STREAM)
    peer.send(header.v2(CLIENT_OF[version], port))
    assert greeting(peer) == CLIENT_OF[version]
    return peer


def echoes(peer):
    peer.send(b"still here")
    return peer.recv(10) == b"still here"


def datagram(world, version):
    peer = udp.Balancer(world.net.lb, ORIGIN_OF[4], DATAGRAM)
    peer.sock.send(udp.v2(CLIENT_OF[version], 51234) + b"hello")
    assert peer.sock.recv(100) == f"{CLIENT_OF[version]} 51234\n".encode()
    peer.sock.close()


def published_datagram(world):
    """The address that the service sees."""
    peer = udp.Balancer(world.net.lb, ORIGIN_OF[4], PUBLISHED_DATAGRAM)
    peer.sock.send(b"hello")
    seen = peer.sock.recv(100).decode().split()[0]
    peer.sock.close()
    return seen


def all_work(world):
    """TCP and UDP, IPv4 and IPv6; published ports and direct access too."""
    for version in (4, 6):
        peer = session(world, version)
        assert echoes(peer)
        peer.close()
        datagram(world, version)
    others_work(world)


def others_work(world):
    seen_by = world.engine.published_sees[4]
    assert dial(world.net.lb, ORIGIN_OF[4], PUBLISHED_STREAM) == seen_by
    assert published_datagram(world) == seen_by
    for version in (4, 6):
        assert dial(world.inside, LOOPBACK_OF[version], 25) == LOOPBACK_OF[version]
        if world.engine.has_bridge:
            assert dial(world.net.origin, BOX_OF[version], 25) == HOST_OF[version]


@pytest.fixture
def prepare(world, directory):
    """prepare(way, form): the configuration, with the commands of --rules where it is manual."""
    undo = []

    def make(way, form):
        config = write(world, directory, way, routing=form)
        if form == "manual":
            assert world.run(directory, "--check", "-c", config).returncode == 1
            routing.shell(world.net.origin, world.run(directory, "--rules", "-c", config).stdout)
            undo.append(world.run(directory, "--rules=undo", "-c", config).stdout)
        done = world.run(directory, "--check", "-c", config)
        assert done.returncode == 0, done.stderr
        return config

    def clean():
        while undo:
            routing.shell(world.net.origin, undo.pop())

    make.clean = clean
    yield make
    clean()


@pytest.mark.parametrize("form", ("managed", "manual"))
@pytest.mark.parametrize("world, way", ways(), indirect=["world"])
def test_all_work_and_a_stop_leaves_nothing(world, way, form, prepare, serve):
    before = world.state()
    gateway = serve(prepare(way, form))
    all_work(world)
    gateway.stop()
    prepare.clean()
    assert not world.changes(before)
    others_work(world)


@pytest.mark.parametrize("form", ("managed", "manual"))
@pytest.mark.parametrize("world, way", ways(), indirect=["world"])
def test_after_a_kill_the_next_start_works_and_leaves_nothing(world, way, form, prepare, serve,
                                                              directory):
    before = world.state()
    config = prepare(way, form)
    kill(serve(config), lambda: (session(world, 4).close(), datagram(world, 6)))
    gateway = serve(config)
    all_work(world)
    gateway.stop()
    prepare.clean()
    assert not world.changes(before)
    others_work(world)
    assert not list((directory / "run").glob("*"))


def kill(gateway, use):
    """Every process of it."""
    use()
    gateway.may_lose_workers = True
    processes = [gateway.pid, *proc.children(gateway.pid)]
    for pid in processes:
        proc.kill(pid)
    gateway.wait_exit()
    until(lambda: not any(map(proc.is_alive, processes)), "its processes to end")


@each("podman", "rootless", "docker")
def test_a_container_that_is_started_again(world, serve, directory):
    """The link is what the guide has an administrator set."""
    options = ("--network", "testing") if world.engine.has_bridge else ()
    world.engine.start("again", *options)
    link = directory / "again.netns"
    link.symlink_to(world.engine.netns("again"))
    config = conf.write(directory, [conf.listener(
        name="mail", listen=[f"0.0.0.0:{STREAM}"], target_v4="127.0.0.1:25", target_v6="[::1]:25",
        netns=str(link))], workers=1, routing="managed", drain_timeout=0)
    gateway = serve(config)
    session(world, 4).close()
    world.engine.restart("again")
    gateway.wait_line(CLOSED)
    new = directory / "new"
    new.symlink_to(world.engine.netns("again"))
    new.rename(link)
    until(lambda: world.net.origin.is_listening(STREAM), "the port to be opened")
    for version in (4, 6):
        session(world, version).close()
    gateway.stop()
    assert not list((directory / "run").glob("*"))
    world.engine.remove("again")


@each("rootless")
def test_a_published_port_of_a_rootless_container_is_told_with_its_namespace(world, directory):
    text = advice(world, directory)
    path, = re.findall(r'is rootlessport, .* set netns = "(/proc/[0-9]+/ns/net)" in listener mail', text)
    assert path == world.engine.netns()


@each("docker")
def test_a_published_port_of_docker_is_told_with_the_container_s_address(world, directory):
    """And nobody is told to delete docker's rules: they are not in the way."""
    text = advice(world, directory)
    assert ("is docker-proxy, which replaces the client's address by its own. Use the container's "
            f'own address: target_v4 = "{BOX_OF[4]}:25" in listener mail.') in text
    assert "nft delete" not in text and text.count("FAILED") == 1


@each("podman")
def test_a_published_port_of_podman_is_told_with_the_container_s_address(world, directory):
    text = advice(world, directory)
    assert re.search(rf'is a published port of {BOX_OF[4]}:25: .* target_v4 = "{BOX_OF[4]}:25" in '
                     'listener mail', text)
    assert "XT target" not in text, "what libnftables writes to stderr is not for the reader"


def advice(world, directory):
    """What --check says of a published port as the target."""
    config = conf.write(directory, [conf.listener(
        name="mail", target_v4=f"127.0.0.1:{PUBLISHED_STREAM}", target_v6=None)],
        routing="managed", workers=1)
    done = world.run(directory, "--check", "-c", config)
    assert done.returncode == 1, done.stderr
    return done.stderr


@each("docker", "podman")
def test_a_client_in_the_containers_network_is_refused_with_its_reason(world, serve, directory):
    gateway = serve(write(world, directory))
    for number, client in enumerate(("10.77.0.77", "fd77::77"), 1):
        peer = connect(world.net.lb, ORIGIN_OF[4], STREAM)
        peer.send(header.v2(client, 51234))
        gateway.wait_line(r"\[\?\] mail: .* refused, proxy protocol source .*: the client is in the "
                          r"target's own network, so replies would not come back here", number)
        peer.expect_end(RST)


@each("docker")
def test_docker_s_forward_policy_is_no_cause_and_an_input_rule_is(world, directory):
    config = write(world, directory)
    # docker does this itself where it is the first to switch forwarding on.
    world.net.origin.run("iptables", "-P", "FORWARD", "DROP")
    rule = ("-s", f"{BOX_OF[4]}/32", "-p", "tcp", "-j", "DROP")
    world.net.origin.run("iptables", "-I", "INPUT", *rule)
    try:
        done = world.run(directory, "--check", "-c", config)
    finally:
        world.net.origin.run("iptables", "-D", "INPUT", *rule)
    assert done.returncode == 1
    failed = [line for line in done.stderr.splitlines() if line.startswith("[!]")]
    assert any("INPUT" in line and BOX_OF[4] in line for line in failed), done.stderr
    assert "FORWARD" not in done.stderr
    assert world.run(directory, "--check", "-c", config).returncode == 0
