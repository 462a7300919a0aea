# SPDX-License-Identifier: BSD-2-Clause
"""Real DNS servers, the real load balancer in front of them, and questions."""

import socket
import struct

from lib.conn import family_of
from lib.services import Service
from lib.wait import DEADLINE

ADDRESS = "192.0.2.80"  # of every name that ends in .test


class Resolver(Service):
    """A DNS server that tells who asks."""

    def __init__(self, namespace, argv, port, output):
        self.log = output
        super().__init__(namespace, argv, [port], output)


class Dnsmasq(Resolver):
    """Bound to each of the addresses."""

    def __init__(self, namespace, directory, addresses, port):
        path = directory / f"dnsmasq-{port}.conf"
        path.write_text("\n".join((
            f"port={port}", "bind-interfaces", f"listen-address={','.join(addresses)}",
            "no-resolv", "no-hosts", f"address=/test/{ADDRESS}", "log-queries", "log-facility=-",
            "user=root", "group=root", "pid-file=", "")))
        super().__init__(namespace, ["dnsmasq", "-k", "-C", path], port, path.with_suffix(".log"))

    @staticmethod
    def line(name, client):
        return f"query[A] {name} from {client}\n"


class Unbound(Resolver):
    """Bound to all addresses; its replies leave from the address that the route chooses."""

    def __init__(self, namespace, directory, port):
        path = directory / "unbound.conf"
        path.write_text(f"""
server:
    interface: 0.0.0.0
    interface: ::0
    port: {port}
    access-control: 0.0.0.0/0 allow
    access-control: ::0/0 allow
    local-zone: "test." redirect
    local-data: "test. A {ADDRESS}"
    log-queries: yes
    use-syslog: no
    logfile: ""
    chroot: ""
    username: ""
    directory: "{directory}"
    pidfile: ""
    do-daemonize: no
    module-config: "iterator"
remote-control:
    control-enable: no
""")
        super().__init__(namespace, ["unbound", "-d", "-c", path], port, path.with_suffix(".log"))

    @staticmethod
    def line(name, client):
        return f" {client} {name}. A IN\n"


def dnsdist(namespace, directory, fronts, servers):
    """fronts: its own addresses; servers: {port there: address and port of the gateway}."""
    # No limit on waiting connections: dnsdist 1.7 may count one as taken before it counts it as
    # waiting. Then the number wraps, and dnsdist drops the next connection as one too many.
    lines = ['setSecurityPollSuffix("")', 'setACL({ "0.0.0.0/0", "::/0" })',
             "setMaxTCPQueuedConnections(0)",
             f"setUDPTimeout({DEADLINE:.0f})", f"setTCPRecvTimeout({DEADLINE:.0f})"]
    lines += [f'addLocal("{front}:{port}")' for port in servers for front in fronts]
    for port, server in servers.items():
        lines += [f'newServer({{ address = "{server}", pool = "{port}", useProxyProtocol = true }})'
                  ":setUp()", f'addAction(DSTPortRule({port}), PoolAction("{port}"))']
    path = directory / "dnsdist.conf"
    path.write_text("\n".join(lines) + "\n")
    return Service(namespace, ["dnsdist", "--supervised", "--disable-syslog", "-C", path],
                   list(servers), directory / "dnsdist.log")


def ask(namespace, kind, server, port, name):
    """One question, over UDP or TCP; whether the answer is right."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = struct.pack("!HHHHHH", 0x6d6d, 0x100, 1, 0, 0, 0) + labels + b"\0\0\x01\0\x01"
    is_stream = kind == socket.SOCK_STREAM
    with namespace.socket(family_of(server), kind) as sock:
        sock.settimeout(DEADLINE)
        sock.connect((server, port))
        sock.sendall((struct.pack("!H", len(question)) if is_stream else b"") + question)
        answer = b""
        while not answer.endswith(socket.inet_aton(ADDRESS)):
            piece = sock.recv(4096)
            answer += piece
            if not piece or not is_stream:
                break
    return answer.endswith(socket.inet_aton(ADDRESS))
