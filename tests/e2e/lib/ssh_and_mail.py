# SPDX-License-Identifier: BSD-2-Clause
"""
Three services on one host: sshd, Postfix and Dovecot behind one mmproxy with one
configuration file, HAProxy in front of it, clients at several addresses in front of that.

Each listener has its own subnets file, mark and table. Each port of HAProxy leads to the
origin over one link, IPv4 or IPv6, and takes clients of both families.
"""

import subprocess

from lib import conf, mail, mapped, services
from lib.topology import (CLIENT4, CLIENT6, FRONT4, FRONT6, LB4, LB6, ORIGIN4, ORIGIN6, ORIGIN_OF,
                          Topology)
from lib.wait import DEADLINE

OTHER4, OTHER6 = "198.51.100.8", "2001:db8::8"
CLIENTS = {4: (CLIENT4, OTHER4), 6: (CLIENT6, OTHER6)}
FRONT = {4: FRONT4, 6: FRONT6}

# What HAProxy sends to whom: service -> (mmproxy's port, kind of header).
SERVICES = {"ssh": (2222, "send-proxy"), "smtp": (2525, "send-proxy-v2"),
            "imap": (2143, "send-proxy-v2"), "submission": (2587, "send-proxy-v2")}
# HAProxy's ports: (service, link's family) -> port.
PORT = {("ssh", 4): 22, ("ssh", 6): 1022, ("smtp", 4): 25, ("smtp", 6): 1025,
        ("imap", 4): 143, ("imap", 6): 1143, ("submission", 4): 587, ("submission", 6): 1587}

LISTENERS = {
    "ssh": {"target_v4": "127.0.0.1:22", "target_v6": "[::1]:22", "mark": 101, "table": 201},
    "smtp": {"target_v4": "127.0.0.1:25", "target_v6": "[::1]:25", "mark": 102, "table": 202,
             "return_path": "fwmark"},
    # Not on loopback: what every other host may reach directly, too.
    "imap": {"target_v4": f"{ORIGIN4}:143", "target_v6": f"[{ORIGIN6}]:143", "mark": 0x67,
             "table": 203},
    "submission": {"target_v4": "127.0.0.1:587", "target_v6": "[::1]:587", "mark": 104,
                   "table": 204},
}


PROTOCOLS = {4: "ipv4", 6: "ipv6"}


def listener(name):
    port = SERVICES[name][0]
    return LISTENERS[name] | {"name": name, "listen": [f"0.0.0.0:{port}", f"[::]:{port}"],
                              "allowed_subnets": f"{name}.subnets", "header_timeout": 60}


def _frontends():
    back = {4: ORIGIN4, 6: f"[{ORIGIN6}]"}
    return "".join(f"""
listen {service}_{link}
    bind {FRONT4}:{port}
    bind [{FRONT6}]:{port}
    server origin {back[link]}:{SERVICES[service][0]} {SERVICES[service][1]}
""" for (service, link), port in PORT.items())


class World:
    """
    Everything but mmproxy is started here.

    family: the services have that one alone, and clients of the other are mapped.
    """

    def __init__(self, directory, family=None):
        self.directory = directory
        self.family = family
        self._started = []
        self.net = Topology(with_client=True)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        self.net.client.ip(f"address add {OTHER4}/24 dev eth0",
                           f"address add {OTHER6}/64 dev eth0 nodad")
        origin, directory, keep = self.net.origin, self.directory, self._started.append
        families = [self.family] if self.family else [4, 6]
        keep(services.sshd(origin, directory, [("127.0.0.1", "[::1]")[each == 6] for each in families]))
        # The load balancer is trusted to relay, as many configurations have it.
        keep(mail.postfix(origin, directory, ["127.0.0.0/8", "[::1]/128", LB4, f"[{LB6}]/128"],
                          PROTOCOLS.get(self.family, "all")))
        keep(mail.dovecot(origin, directory, [ORIGIN_OF[each] for each in families]))
        keep(services.haproxy(self.net.lb, directory, _frontends(), list(PORT.values())))

    def configure(self, *names, subnets=None):
        """Writes mmproxy.conf for these services; subnets: {name: text of its file}."""
        for name in names:
            text = (subnets or {}).get(name, f"{LB4}\n{LB6}\n")
            (self.directory / f"{name}.subnets").write_text(text)
        path = self.directory / "mmproxy.conf"
        path.write_text(conf.render([self._listener(name) for name in names], routing="managed",
                                    workers=2))
        return path

    def _listener(self, name):
        keys = listener(name)
        if self.family == 4:
            del keys["target_v6"]
            return keys | {"map_v6": mapped.POOL, "map_key": str(mapped.write_key(self.directory))}
        if self.family == 6:
            del keys["target_v4"]
            return keys | {"map_v4": mapped.PREFIX}
        return keys

    def log(self, name):
        return (self.directory / name).read_text(errors="replace")

    def smtp(self, source, link=4, service="smtp"):
        return mail.Smtp(self.net.client, self._front(source), PORT[service, link], source)

    def imap(self, source, link=4):
        return mail.Imap(self.net.client, self._front(source), PORT["imap", link], source)

    def ssh(self, source, link=4, user="root", command="true"):
        """Runs ssh to its end: an object with returncode and stdout."""
        return subprocess.run(self._ssh_argv(source, link, user, command), capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, timeout=DEADLINE, check=False)

    def open_ssh(self, source, link=4):
        """A session that sends back every line."""
        return OpenSsh(self._ssh_argv(source, link, "root", "cat"))

    def _ssh_argv(self, source, link, user, command):
        return self.net.client.argv(
            "ssh", "-F", "none", "-b", source, "-p", PORT["ssh", link], "-l", user,
            "-i", self.directory / "client_key", "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes",
            "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", f"ConnectTimeout={DEADLINE:.0f}",
            self._front(source), command)

    @staticmethod
    def _front(source):
        return FRONT[6 if ":" in source else 4]

    def close(self):
        for service in reversed(self._started):
            service.stop()
        self.net.close()


class OpenSsh:
    """A logged in ssh whose far end is cat."""

    def __init__(self, argv):
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         bufsize=0)
        self.trip("hello")

    def send(self, word):
        self._process.stdin.write(f"{word}\n".encode())

    def trip(self, word):
        self.send(word)
        assert self._process.stdout.readline() == f"{word}\n".encode()

    @property
    def output(self):
        return self._process.stdout

    def finish(self):
        """Ends the session in good order."""
        self._process.stdin.close()
        assert self._process.wait(DEADLINE) == 0

    def close(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
