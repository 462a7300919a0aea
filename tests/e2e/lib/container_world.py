# SPDX-License-Identifier: BSD-2-Clause
"""
The world of docs/containers.md: a client, HAProxy at 192.0.2.10, and a host at 192.0.2.20 with a container
engine on it, where the document's commands run as they are written.
"""

import contextlib
import pathlib
import re

from lib import daemon, guide, lines, mail_container, routing
from lib.conn import connect
from lib.topology import FRONT_OF, Topology
from lib.wait import until

HOST, BALANCER = "192.0.2.20", "192.0.2.10"
# Empty ones of the world's own take their place.
PRIVATE = ("/srv", "/var/lib", "/var/tmp")


def _remove_groups():
    """Those of podman's pods: control groups are in no namespace. True where there are none."""
    try:
        groups = [each for each in pathlib.Path("/sys/fs/cgroup").glob("**/libpod_parent/**/")
                  if "unified" not in each.parts]
        for group in sorted(groups, reverse=True):
            group.rmdir()
    except OSError:  # what is in one may be on its way, and so may the group
        return False
    return not groups


class World:
    """Its files are seen through engine.prefix only."""

    def __init__(self, directory, kind, **programs):
        """kind: of engine; programs: more of them for the host's shell, as guide.Shell has them."""
        self.directory = directory
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self._start(kind, programs)
            undo.pop_all()

    def _start(self, kind, programs):
        self.net = Topology(with_client=True)
        self._stack.callback(self.net.close)
        self.net.lb.ip(f"address add {BALANCER}/24 dev back0")
        self.net.origin.ip(f"address add {HOST}/24 dev eth0")
        routing.create_mangle(self.net.origin)
        for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.net.origin.sysctl(name, 1)
        self.engine = kind(self.net.origin)
        self._stack.callback(until, _remove_groups, "podman's control groups to be empty")
        self._stack.callback(self.engine.close)
        for place in PRIVATE:
            self.run("mount", "-t", "tmpfs", "private", place)
        # It refuses at once; a name server that can't be reached would take its time.
        self.write("etc/resolv.conf", f"nameserver {BALANCER}\n")
        self.import_image(mail_container.build(self.directory), "mailserver", 'CMD ["start"]')
        self.host = guide.Shell(self.net.origin, self.directory, self.engine.prefix,
                                **{"podman": self.engine.words, "mmproxy": [daemon.BINARY]} | programs)
        hosts = self.directory / "hosts"
        hosts.write_text("".join(f"{FRONT_OF[version]} mail.example.org\n" for version in (4, 6)))
        self.outside = guide.Shell(self.net.client, self.directory, [
            "unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"])

    def import_image(self, archive, name, *changes):
        changes = ("ENV PATH=/usr/sbin:/usr/bin", *changes)
        options = [word for change in changes for word in ("--change", change)]
        with open(archive, "rb") as image:
            self.engine("import", *options, "-", name, stdin=image)

    def run(self, *argv):
        """On the host, with the engine's files."""
        return self.net.origin.run(*self.engine.prefix, *argv)

    def write(self, name, text):
        """A file of the host; returns its path there."""
        self.run("mkdir", "-p", f"/{pathlib.Path(name).parent}")
        source = self.directory / "file"
        source.write_text(text, encoding="utf-8")
        self.run("cp", source, f"/{name}")
        return f"/{name}"

    def allow_pods(self):
        """podman's pods need control groups: from now on it makes them. For one world at a time."""
        if pathlib.Path("/sys/fs/cgroup/unified").exists():
            self.run("mount", "-t", "tmpfs", "private", "/sys/fs/cgroup/unified")
        conf = self.engine.file("containers.conf")
        conf.write_text(conf.read_text().replace('cgroups = "disabled"', 'cgroups = "enabled"'))

    @contextlib.contextmanager
    def serving(self, config, ports, targets):
        """mmproxy on the host, its targets checked. ports: {listener: port}; targets: of all of them."""
        gateway = daemon.Daemon(self.net.origin, ("-c", config), self.directory, prefix=self.engine.prefix)
        with contextlib.closing(gateway):
            for name, port in ports.items():
                gateway.wait_line(re.escape(f"[+] Listening on 0.0.0.0:{port} ({name})"))
            gateway.wait_line(lines.REACHED, count=targets)
            yield gateway

    def wait_answer(self, port):
        """Waits until something on the host takes connections of the load balancer, and keeps them."""
        def answers():
            try:
                peer = connect(self.net.lb, HOST, port, source=BALANCER)
            except OSError:
                return False
            peer.close()
            return True
        until(answers, f"port {port} of the host")

    def logs(self, container):
        """What it has written, on both of its outputs."""
        return self.run(*self.engine.words, "logs", container)

    def wait_mail(self, container):
        """Until its servers serve."""
        for line in ("daemon started", "starting up for imap, lmtp"):
            until(lambda line=line: line in self.logs(container), lambda: self.logs(container))

    def close(self):
        self._stack.close()
