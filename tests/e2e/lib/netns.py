# SPDX-License-Identifier: BSD-2-Clause
"""Network namespaces without a name: they vanish with the last process that holds them."""

import concurrent.futures
import ctypes
import functools
import itertools
import os
import socket
import subprocess

from lib.wait import until

CLONE_NEWNET = 0x40000000
# The congestion control of all namespaces; that of the host where it is empty. It must be one that
# the host allows (net.ipv4.tcp_allowed_congestion_control).
CONGESTION = os.environ.get("MMPROXY_TEST_CONGESTION")

_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """
    One network namespace. A thread of its own lives in it and makes the sockets; once made, a
    socket stays in the namespace whichever thread uses it.
    """

    def __init__(self):
        self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self._fd = self.call(self._enter)
        if CONGESTION:
            self.sysctl("net.ipv4.tcp_congestion_control", CONGESTION)
        self.targets = []  # the services of the test that live here

    def _enter(self):
        if _libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def path(self):
        """A path that other processes can open while this one lives."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def call(self, function, *args):
        """Runs function(*args) inside and returns what it returns."""
        return self._thread.submit(function, *args).result()

    def socket(self, family, kind=socket.SOCK_STREAM):
        return self.call(socket.socket, family, kind)

    def argv(self, *argv):
        """
        The command line that runs argv inside, in the very process that execs it; it does not
        outlive the tests.
        """
        return ["nsenter", f"--net={self.path}", "setpriv", "--pdeathsig", "KILL",
                "--", *map(str, argv)]

    def start(self, *argv, **options):
        """A process whose output is text. The thread inside starts it, so nothing has to enter."""
        return self.call(functools.partial(
            subprocess.Popen, [str(word) for word in argv], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, **options))

    def run(self, *argv, input=None, **options):
        """Runs a command to its end, which must be a success; returns what it printed."""
        process = self.start(*argv, stdin=subprocess.PIPE if input else None, **options)
        output, _ = process.communicate(input)
        if process.returncode != 0:
            raise AssertionError(f"{argv} exited {process.returncode}: {output}")
        return output

    def try_out(self, *argv, seconds, **options):
        """Runs a command to its end, for so long at the most; returns its status and what it printed."""
        with self.start(*argv, **options) as process:
            try:
                output, _ = process.communicate(timeout=seconds)
            except BaseException:
                process.kill()
                raise
        return process.returncode, output

    def ip(self, *commands):
        """Runs ip(8) commands, each without its leading "ip", -6 first or no option."""
        for is_v6, group in itertools.groupby(commands, lambda c: c.startswith("-6 ")):
            batch = "".join(command.removeprefix("-6 ") + "\n" for command in group)
            self.run("ip", *(["-6"] if is_v6 else []), "-batch", "-", input=batch)

    def sysctl(self, key, value):
        self.call(_write, "/proc/sys/" + key.replace(".", "/"), str(value))

    def ss(self, *arguments):
        """Lines of ss(8), which looks at this namespace's sockets."""
        return self.run("ss", "-H", *arguments).splitlines()

    def is_listening(self, port):
        """Does any TCP socket listen on that port?"""
        return bool(self.ss("-ltn", "sport", f"= :{port}"))

    def close(self):
        self._thread.shutdown()
        os.close(self._fd)


class Existing(Namespace):
    """One that another process made."""

    def __init__(self, path):
        self._there = path
        super().__init__()

    def _enter(self):
        fd = os.open(self._there, os.O_RDONLY | os.O_CLOEXEC)
        if _libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns({self._there})")
        return fd


def _write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def link(left, left_name, right, right_name):
    """Joins two namespaces with a veth pair."""
    left.ip(f"link add {left_name} type veth peer name {right_name} netns {right.path}")


def wait_link(namespace, name):
    """
    Up at both ends: before that IPv6 drops what it is given, and tries again in a second. The
    routes of its IPv6 addresses come later still, when the kernel likes.
    """
    until(lambda: "state UP" in namespace.run("ip", "link", "show", name), f"{name} to be up")
    until(lambda: namespace.call(_has_its_routes, name), f"{name} to have its routes")


def _has_its_routes(name):
    """Of every global address, and the one to all hosts, which the kernel makes in between."""
    addresses = {line[0] for line in _read_words("if_inet6") if (line[3], line[5]) == ("00", name)}
    there = {line[0] for line in _read_words("ipv6_route") if line[9] == name}
    return not addresses or there >= addresses | {f"ff{0:030}"}


def _read_words(name):
    """Of each line of a file in /proc about the network of this thread."""
    with open(f"/proc/thread-self/net/{name}", encoding="ascii") as file:
        return [line.split() for line in file]
