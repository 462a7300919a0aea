# SPDX-License-Identifier: BSD-2-Clause
"""
The return path: the program that drives the routing layer, and what ip, iptables and nft
say about it.

MMPROXY_ROUTING_TOOL names the program (tests/tools/routing_tool beside the binary by default).
"""

import glob
import os
import pathlib
import re
import select
import signal
import socket
import subprocess

from lib import daemon
from lib.conn import Conn, family_of
from lib.wait import DEADLINE, until

TOOL = os.environ.get("MMPROXY_ROUTING_TOOL",
                      str(pathlib.Path(daemon.BINARY).parent / "tests/tools/routing_tool"))

VERIFIED, FAILED = "[+] VERIFIED", "[!] CHECK FAILED"
OWN_PROTOCOL = "77"
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75


def environment(directory):
    return daemon.environment(directory) | {"RUNTIME_DIRECTORY": str(directory / "run")}


class Result:
    """
    What a run of the tool gave; items maps each command of a report to its mark. commands: what a
    shell runs of it, in this order.
    """

    def __init__(self, status, text):
        self.status = status
        self.text = text
        self.lines = text.splitlines()
        marked = re.compile(r"(?:# )?(.*?) +# (\[[+!]\] .*)")
        self.items = {m[1]: m[2] for m in map(marked.fullmatch, self.lines) if m}

    @property
    def commands(self):
        programs = ("ip ", "iptables ", "ip6tables ", "iptables-legacy ", "ip6tables-legacy ",
                    "sysctl ", "nft ", "tc ", "nsenter ")
        return [line for line in self.lines
                if line.startswith(programs) and not line.endswith(VERIFIED)]

    def failed(self):
        return [command for command, mark in self.items.items() if mark != VERIFIED]


def run(namespace, action, config, directory, *options, prefix=(), env=None):
    """Runs the tool to its end."""
    status, output = namespace.try_out(*prefix, TOOL, action, "-c", config, *options,
                                       seconds=DEADLINE, env=environment(directory) | (env or {}))
    assert not daemon.sanitizer_reports(directory), daemon.sanitizer_reports(directory)
    assert status in (0, 1), f"{status}: {output}"
    return Result(status, output)


def shell(namespace, commands):
    """Pipes commands to a shell, each of which must succeed."""
    namespace.run("sh", "-e", input=commands)


def stop_pacing(namespace):
    """Where TCP paces by default, routes are printed and made with a word more."""
    namespace.sysctl("net.ipv4.tcp_congestion_control", "reno")


class Managed:
    """The tool that keeps a return path up."""

    def __init__(self, namespace, config, directory):
        self.directory = directory
        self._process = subprocess.Popen(
            namespace.argv(TOOL, "managed", "-c", config), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=environment(directory))
        self.lines = []
        self._buffer = b""
        self.wait_line("ready.*")

    def _read(self, seconds):
        ready = select.select([self._process.stdout], [], [], seconds)[0]
        data = os.read(self._process.stdout.fileno(), 65536) if ready else b""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self.lines += [line.decode() for line in lines]

    def wait_line(self, pattern, count=1):
        def found():
            self._read(0.01)
            return sum(bool(re.fullmatch(pattern, line)) for line in self.lines) >= count
        until(found, lambda: f"{count} lines like {pattern}, there are {self.lines}")

    def poll_lines(self):
        self._read(0)
        return self.lines

    def reload(self):
        ready = sum(line.startswith("ready") for line in self.lines)
        self._process.send_signal(signal.SIGHUP)
        self.wait_line("ready.*", ready + 1)

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def stop(self):
        if self._process.poll() is None:
            self._process.terminate()
            rest, _ = self._process.communicate(timeout=DEADLINE)
            self.lines += (self._buffer + rest).decode().splitlines()
            assert self._process.returncode == 0, self.lines
        reports = daemon.sanitizer_reports(self.directory)
        assert not reports, "\n".join(reports)


# --- witnesses


def sysctls(namespace):
    """Those that mmproxy may set, as lines."""
    def read():
        paths = ["/proc/sys/net/ipv4/tcp_fwmark_accept", "/proc/sys/net/ipv4/fwmark_reflect",
                 "/proc/sys/net/ipv6/fwmark_reflect",
                 *glob.glob("/proc/sys/net/ipv4/conf/*/route_localnet")]
        return [f"{path} {pathlib.Path(path).read_text(encoding='ascii').strip()}"
                for path in sorted(paths)]
    return namespace.call(read)


def snapshot(namespace):
    """
    Every line of the return path, as other programs see it; equal when nothing changed. Link-local
    addresses are not of it: the kernel makes them a second after an interface, when it likes.
    """
    text = [namespace.run("ip", *options) for options in
            (("-d", "rule"), ("-6", "-d", "rule"), ("-4", "-d", "route", "show", "table", "all"),
             ("-6", "-d", "route", "show", "table", "all"))]
    text.append(namespace.run("nft", "-s", "list", "ruleset"))
    lines = "".join(text).splitlines()
    return sysctls(namespace) + [line for line in lines if " fe80::" not in line]


def rules(namespace):
    """All rules but the kernel's own, both families."""
    lines = (namespace.run("ip", "-d", "rule") + namespace.run("ip", "-6", "-d", "rule"))
    return [line for line in lines.splitlines() if "proto kernel" not in line]


def own(namespace):
    """What bears mmproxy's protocol number: rules and routes."""
    routes = (namespace.run("ip", "-4", "-d", "route", "show", "table", "all", "proto", OWN_PROTOCOL)
              + namespace.run("ip", "-6", "-d", "route", "show", "table", "all",
                              "proto", OWN_PROTOCOL))
    return ([rule for rule in rules(namespace) if f"proto {OWN_PROTOCOL}" in rule]
            + [route for route in routes.splitlines() if route.strip()])


def create_mangle(namespace):
    """iptables leaves its empty table and chains behind: have them there from the beginning."""
    for tool in ("iptables-restore", "ip6tables-restore"):
        namespace.run(tool, input="*mangle\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n")


# --- a spoofed session, made as mmproxy makes it


def spoofed(namespace, source, address, port, mark=123, timeout=DEADLINE, source_port=0):
    """Connects from an address that is not the namespace's; the connection, or OSError."""
    sock = namespace.socket(family_of(address))
    if ":" in address:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    sock.settimeout(timeout)
    try:
        sock.bind((source, source_port))
        sock.connect((address, port))
    except OSError:
        sock.close()
        raise
    return Conn(sock, (address, port))


def ask_spoofed(namespace, source, address, port, mark=123, source_port=0):
    """A datagram from an address that is not the namespace's, and the answer to it."""
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        sock.settimeout(DEADLINE)
        sock.bind((source, source_port))
        sock.sendto(b"question", (address, port))
        assert sock.recv(100) == b"question"


def talk(connection, echo):
    """Bytes there and back; echo is the service, and must have seen where they came from."""
    connection.send(b"hello")
    assert connection.recv(5) == b"hello"
    assert (connection.address, connection.port) in echo.sources
