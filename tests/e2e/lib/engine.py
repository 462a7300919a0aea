# SPDX-License-Identifier: BSD-2-Clause
"""
Real podman in a network namespace of a test: its files are in a mount namespace of its own. The
image has no programs: containers get /usr of this machine.
"""

import json
import subprocess

from lib import mail, proc
from lib.wait import DEADLINE, until

CONF = """
[network]
network_backend = "netavark"
network_config_dir = "/run/engine/networks"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
tmp_dir = "/run/engine/tmp"
"""

HOLD = """set -e
mount --make-rprivate /
mount -t tmpfs run /run
mkdir -p /run/netns /run/lock /run/engine
mount -t tmpfs cache /var/cache
mount -t tmpfs shm /dev/shm
umount /sys/fs/cgroup/unified 2>/dev/null || true
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


class Podman:
    """Rootful. Its containers and networks go with it."""

    def __init__(self, namespace, directory):
        self.namespace = namespace
        self._holder = subprocess.Popen(namespace.argv("unshare", "--mount", "sh", "-c", HOLD),
                                        stdout=subprocess.PIPE)
        assert self._holder.stdout.readline() == b"ready\n"
        tree = directory / "tree"
        for name in ("usr", "etc", "proc", "sys", "dev", "tmp", "run", "var"):
            (tree / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (tree / name).symlink_to(f"usr/{name}")
        (tree / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
        subprocess.run(["tar", "-C", tree, "-cf", directory / "image.tar", "."], check=True)
        self._conf = directory / "containers.conf"
        self._conf.write_text(CONF)
        self("import", directory / "image.tar", "service")

    @property
    def prefix(self):
        """What a program is started through that is to see the files of this engine."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--"]

    def __call__(self, *arguments, status=0):
        done = subprocess.run(
            self.namespace.argv(*self.prefix, "podman", "--root", "/run/engine/root", "--runroot",
                                "/run/engine/runroot", "--storage-driver", "vfs", *arguments),
            capture_output=True, text=True, timeout=DEADLINE, check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
                 "CONTAINERS_CONF": str(self._conf)})
        assert done.returncode == status, (arguments, done.stderr)
        return done.stdout

    def start(self, name, *options, program=SERVICE):
        """A container that runs a Python program, and has said that it is ready."""
        self("run", "--detach", "--name", name, "--cgroups=disabled", "--volume", "/usr:/usr:ro",
             *options, "service", "/usr/bin/python3", "-c", program)
        until(lambda: "ready" in self("logs", name), f"container {name} to serve")

    def start_postfix(self, name, directory, mynetworks, *options):
        """A container with a mail server that listens on port 25."""
        mounts = mail.write_postfix(self.namespace, directory, mynetworks, interfaces="all")
        mounts |= {path: path for path in ("/etc/passwd", "/etc/group", "/etc/services", directory)}
        volumes = [f"--volume={source}:{target}" for source, target in mounts.items()]
        self("run", "--detach", "--name", name, "--cgroups=disabled", "--volume", "/usr:/usr:ro",
             *volumes, *options, "service", "/usr/sbin/postfix", "start-fg")

    def inspect(self, name):
        return json.loads(self("inspect", name))[0]

    def close(self):
        names = self("ps", "--all", "--quiet").split()
        monitors = [self.inspect(name)["State"]["ConmonPid"] for name in names]
        self("rm", "--force", "--all", "--time", "0")
        until(lambda: not any(map(proc.is_alive, monitors)), "the monitors to end")
        proc.kill(self._holder.pid)
        self._holder.wait()
        self._holder.stdout.close()
