# SPDX-License-Identifier: BSD-2-Clause
"""
Real container engines in a network namespace of a test: podman, podman of a user without privileges,
and docker, as Debian has them. Their files are in a mount namespace of their own. The image has no
programs: containers get /usr of this machine.
"""

import json
import os
import pathlib
import shutil
import subprocess

from lib import mail, netns, proc
from lib.topology import LB_OF
from lib.wait import DEADLINE, until

BOX_OF = {4: "10.77.0.2", 6: "fd77::2"}
HOST_OF = {4: "10.77.0.1", 6: "fd77::1"}
NETWORK_OF = {4: "10.77.0.0/24", 6: "fd77::/64"}
STREAM_PORT, DATAGRAM_PORT = 25, 53
PUBLISHED_STREAM, PUBLISHED_DATAGRAM = 8025, 8053
PUBLISH = ("--publish", f"{PUBLISHED_STREAM}:{STREAM_PORT}",
           "--publish", f"{PUBLISHED_DATAGRAM}:{DATAGRAM_PORT}/udp")

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ROOT = "/run/engine"

PODMAN_CONF = """
[containers]
cgroups = "disabled"
dns_servers = ["127.0.0.1"]
[network]
network_backend = "netavark"
network_config_dir = "/run/engine/networks"
[engine]
cgroup_manager = "cgroupfs"
runtime = "crun"
events_logger = "none"
"""

# What engines write to belongs to this mount namespace alone, /etc with users of a test too.
HOLD = """set -e
mount --make-rprivate /
mount -t tmpfs run /run
mkdir -p /run/netns /run/lock /run/engine/image
for name in /var/cache /dev/shm /opt; do
    [ ! -d $name ] || mount -t tmpfs private $name
done
cp -a /etc /run/engine/etc
mount --bind /run/engine/etc /etc
mkdir /run/engine/net
mknod -m 666 /run/engine/net/tun c 10 200
[ ! -d /dev/net ] || mount --bind /run/engine/net /dev/net
umount /sys/fs/cgroup/unified 2>/dev/null || true
cd /run/engine/image
mkdir usr etc proc sys dev tmp run var
for name in bin sbin lib lib64; do ln -s usr/$name $name; done
echo 'root:x:0:0::/:/bin/sh' >etc/passwd
tar -cf ../image.tar .
echo ready
exec sleep infinity
"""

# Tells each client who it is to this service, and then sends back what it gets.
SERVICE = """
import selectors, socket, threading

def stream(connection, peer):
    connection.sendall((peer[0] + ' ' + str(peer[1]) + '\\n').encode())
    while (data := connection.recv(4096)):
        connection.sendall(data)

def accept(listening):
    while True:
        threading.Thread(target=stream, args=listening.accept()).start()

def answer(receiving):
    while True:
        data, peer = receiving.recvfrom(4096)
        receiving.sendto((peer[0] + ' ' + str(peer[1]) + '\\n').encode(), peer)

for family, address in ((socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::')):
    for kind, serve, port in ((socket.SOCK_STREAM, accept, 25), (socket.SOCK_DGRAM, answer, 53)):
        made = socket.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        if kind == socket.SOCK_STREAM:
            made.listen()
        threading.Thread(target=serve, args=(made,)).start()
print('ready', flush=True)
"""
PROGRAM = ("/usr/bin/python3", "-c", SERVICE)


class Engine:
    """Its containers and networks go with it."""

    has_bridge = True       # its containers have the addresses BOX_OF, which the host can reach
    published_sees = LB_OF  # the client that a service sees behind a published port

    def __init__(self, namespace):
        self.namespace = namespace
        self._holder = subprocess.Popen(namespace.argv("unshare", "--mount", "sh", "-c", HOLD),
                                        stdout=subprocess.PIPE)
        assert self._holder.stdout.readline() == b"ready\n"
        # A bridge's new IPv6 address would be in doubt for a second or two.
        for name in ("all", "default"):
            namespace.sysctl(f"net.ipv6.conf.{name}.accept_dad", 0)
        self.prepare()
        with open(self.file("image.tar"), "rb") as image:
            self("import", "-", "service", stdin=image)

    def prepare(self):
        """Before the first command."""

    def file(self, name):
        """A file of the engine, as this process sees it."""
        return pathlib.Path(f"/proc/{self._holder.pid}/root{ROOT}") / name

    @property
    def prefix(self):
        """What a program is started through that is to see the files of this engine."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--"]

    @property
    def words(self):
        """The words that stand for "podman" or "docker", where prefix leads to."""
        raise NotImplementedError

    def __call__(self, *arguments, stdin=subprocess.DEVNULL):
        # What it starts may keep its stderr: a file, since the end of a pipe would never come.
        errors = self.file("errors")
        with open(errors, "w+b") as stream:
            done = subprocess.run(
                self.namespace.argv(*self.prefix, *self.words, *arguments),
                stdin=stdin, stdout=subprocess.PIPE, stderr=stream, timeout=DEADLINE, check=False)
        assert done.returncode == 0, (arguments, errors.read_text())
        return done.stdout.decode()

    def create_network(self):
        self("network", "create", "--subnet", NETWORK_OF[4], "--ipv6", "--subnet", NETWORK_OF[6],
             "testing")

    def start(self, name, *options, program=PROGRAM, volumes=("/usr",)):
        """A container that runs a program, and has said that it is ready."""
        self("run", "--detach", "--name", name,
             *(f"--volume={each}:{each}:ro" for each in volumes), *options, "service", *program)
        if program is PROGRAM:
            self.wait_ready(name)

    def wait_ready(self, name, times=1):
        until(lambda: self("logs", name).count("ready") >= times, f"container {name} to serve")

    def start_box(self):
        """The container "box", whose ports are published."""
        self.start("box", "--network", "testing", "--ip", BOX_OF[4], "--ip6", BOX_OF[6], *PUBLISH)

    def start_postfix(self, name, directory, mynetworks, *options):
        """A container with a mail server that listens on port 25."""
        mounts = mail.write_postfix(self.namespace, directory, mynetworks, interfaces="all")
        mounts |= {path: path for path in ("/etc/passwd", "/etc/group", "/etc/services", directory)}
        volumes = [f"--volume={source}:{target}" for source, target in mounts.items()]
        self.start(name, *volumes, *options, program=("/usr/sbin/postfix", "start-fg"))

    def restart(self, name):
        self("restart", "--time", "0", name)
        self.wait_ready(name, 2)

    def remove(self, *names):
        self("rm", "--force", *names)

    def inspect(self, name):
        return json.loads(self("inspect", name))[0]

    def netns(self, name="box"):
        """The path of a container's network namespace, for every process of this machine."""
        return f"/proc/{self.inspect(name)['State']['Pid']}/ns/net"

    def inside(self, name="box"):
        """The network namespace of a container; close() is due."""
        return netns.Existing(self.netns(name))

    def end(self):
        """All containers, and every process of the engine."""
        raise NotImplementedError

    def close(self):
        self.end()
        proc.kill(self._holder.pid)
        self._holder.wait()
        self._holder.stdout.close()


class Podman(Engine):
    """Of root: containers on a bridge."""

    def prepare(self):
        self.file("containers.conf").write_text(PODMAN_CONF)

    @property
    def words(self):
        return ["env", "-i", f"PATH={PATH}", "HOME=/root", f"CONTAINERS_CONF={ROOT}/containers.conf",
                "podman", "--root", f"{ROOT}/root", "--runroot", f"{ROOT}/runroot",
                "--tmpdir", f"{ROOT}/tmp", "--storage-driver", "vfs"]

    def create_network(self):
        self("network", "create", "--disable-dns", "--subnet", NETWORK_OF[4], "--ipv6",
             "--subnet", NETWORK_OF[6], "testing")

    def remove(self, *names):
        self("rm", "--force", "--time", "0", *names)

    def end(self):
        names = self("ps", "--all", "--quiet").split()
        monitors = [self.inspect(name)["State"]["ConmonPid"] for name in names]
        if names:
            self.remove(*names)
        until(lambda: not any(map(proc.is_alive, monitors)), "the monitors to end")


class RootlessPodman(Podman):
    """Of a user without privileges: slirp4netns is the containers' network, rootlessport publishes."""

    USER, UID, FIRST_SUBID = "builder", 64321, 200000
    has_bridge = False
    published_sees = {4: "10.0.2.100"}

    def prepare(self):
        self.file("containers.conf").write_text(PODMAN_CONF)
        etc = self.file("etc")
        for name, line in (("passwd", f"{self.USER}:x:{self.UID}:{self.UID}::{ROOT}/home:/bin/sh"),
                           ("group", f"{self.USER}:x:{self.UID}:"),
                           ("subuid", f"{self.USER}:{self.FIRST_SUBID}:65536"),
                           ("subgid", f"{self.USER}:{self.FIRST_SUBID}:65536")):
            with open(etc / name, "a", encoding="ascii") as file:
                file.write(f"{line}\n")
        for name in ("home", "user", "networks"):
            self.file(name).mkdir(mode=0o700)
            os.chown(self.file(name), self.UID, self.UID)

    @property
    def words(self):
        return ["env", "-i", f"--chdir={ROOT}/home", f"PATH={PATH}", f"HOME={ROOT}/home",
                f"XDG_RUNTIME_DIR={ROOT}/user", f"CONTAINERS_CONF={ROOT}/containers.conf",
                "setpriv", f"--reuid={self.UID}", f"--regid={self.UID}", "--init-groups", "--",
                "podman", "--storage-driver", "vfs"]

    def create_network(self):
        """There is none to create."""

    def start_box(self):
        self.start("box", "--network", "slirp4netns:enable_ipv6=true", *PUBLISH)
        inside = self.inside()
        until(lambda: "default" in inside.run("ip", "-6", "route"), "slirp4netns to send its route")
        inside.close()

    def end(self):
        super().end()
        paused = int(self.file("user/libpod/tmp/pause.pid").read_text())
        proc.kill(paused)
        until(lambda: not proc.is_alive(paused), "the process that holds the namespaces to end")


class Docker(Engine):
    """dockerd and what it starts. Control groups are in no namespace: those that it makes go with it."""

    def prepare(self):
        run = os.stat("/proc/self/ns/net").st_ino  # as tools/isolate looks for them
        self._groups = f"mmproxy-test-{run}-{self._holder.pid}"
        with open(self.file("log"), "wb") as log:
            self._daemon = subprocess.Popen(
                self.namespace.argv(
                    *self.prefix, "env", "-i", f"PATH={PATH}", "HOME=/root", "dockerd",
                    "--host", f"unix://{ROOT}/docker.sock", "--data-root", f"{ROOT}/root",
                    "--exec-root", f"{ROOT}/exec", "--pidfile", f"{ROOT}/pid",
                    "--storage-driver", "vfs", "--bip", "172.30.0.1/24",
                    "--cgroup-parent", f"/{self._groups}"),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._serves, lambda: f"dockerd:\n{self.file('log').read_text()}")

    def _serves(self):
        assert self._daemon.poll() is None, self.file("log").read_text()
        done = subprocess.run([*self.prefix, *self.words, "version"], capture_output=True,
                              check=False)
        return done.returncode == 0

    @property
    def words(self):
        return ["env", "-i", f"HOME={ROOT}", "/usr/bin/docker",
                "--host", f"unix://{ROOT}/docker.sock"]

    def end(self):
        names = self("ps", "--all", "--quiet").split()
        if names:
            self.remove(*names)
        self._daemon.terminate()
        self._daemon.wait()
        mounted = pathlib.Path("/sys/fs/cgroup")
        # Version 2 is mounted there, version 1 below it, once for each controller.
        for hierarchy in (mounted, *mounted.iterdir()):
            for folder, _, _ in os.walk(hierarchy / self._groups, topdown=False):
                os.rmdir(folder)


class Bridge:
    """No engine: the same service in a namespace behind a bridge, published by rules as docker's are."""

    has_bridge = True
    published_sees = LB_OF
    prefix = ()

    def __init__(self, namespace):
        self.namespace = namespace
        self._box = self._process = None

    def create_network(self):
        self.namespace.ip("link add br0 type bridge", "link set br0 addrgenmode none up",
                          f"address add {HOST_OF[4]}/24 dev br0",
                          f"address add {HOST_OF[6]}/64 dev br0 nodad",
                          # A router asks for its neighbours from this one.
                          "address add fe80::1/64 dev br0 nodad")
        for version, tool in ((4, "iptables"), (6, "ip6tables")):
            address = BOX_OF[version] if version == 4 else f"[{BOX_OF[version]}]"
            for protocol, port, inner in (("tcp", PUBLISHED_STREAM, STREAM_PORT),
                                          ("udp", PUBLISHED_DATAGRAM, DATAGRAM_PORT)):
                self.namespace.run(tool, "-t", "nat", "-A", "PREROUTING", "-i", "eth0", "-p", protocol,
                                   "--dport", port, "-j", "DNAT", "--to-destination",
                                   f"{address}:{inner}")

    def start_box(self):
        self._box = netns.Namespace()
        netns.link(self.namespace, "box0", self._box, "eth0")
        self.namespace.ip("link set box0 master br0", "link set box0 addrgenmode none up")
        self._box.ip("link set lo up", f"address add {BOX_OF[4]}/24 dev eth0",
                     f"address add {BOX_OF[6]}/64 dev eth0 nodad",
                     "link set eth0 addrgenmode none up", f"route add default via {HOST_OF[4]}",
                     f"-6 route add default via {HOST_OF[6]}")
        netns.wait_link(self.namespace, "box0")
        netns.wait_link(self._box, "eth0")
        self._process = subprocess.Popen(self._box.argv(shutil.which("python3"), "-c", SERVICE),
                                         stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == b"ready\n"

    def netns(self):
        return f"/proc/{self._process.pid}/ns/net"

    def inside(self):
        return netns.Existing(self.netns())

    def close(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._box.close()


ENGINES = {"podman": Podman, "rootless": RootlessPodman, "docker": Docker, "bridge": Bridge}
