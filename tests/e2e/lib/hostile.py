# SPDX-License-Identifier: BSD-2-Clause
"""
Connections that mean harm, many at once, from a process of their own: what they cost must not
slow down those whose service is measured.

As a program it makes them, and prints how they ended as JSON: kind -> outcome -> number. On
SIGTERM it makes no more of them.
"""

import argparse
import collections
import errno
import heapq
import json
import os
import pathlib
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time

from lib import header
from lib.conn import family_of

CLIENT_PORT = 30000
GARBAGE = 65536
UNREAD = 262144
LINGER_RESET = struct.pack("ii", 1, 0)


def _client(number):
    """Networks of their own, so that nobody takes them for good clients."""
    return f"203.0.{number // 200 % 100}.{number % 200 + 1}", CLIENT_PORT + number % 30000


def _v1(number, _):
    return header.v1(*_client(number))


def _lying(number, generator):
    """Version 2 headers whose length is not that of what follows."""
    body = header.v2(*_client(number))[16:]
    announced, sent = generator.choice((
        (4, body),                               # too short for the addresses
        (65535, body),                           # much is announced, little comes
        (65535, body + bytes(60000)),            # nearly all of it comes
        (len(body) + 40, body + b"\x03" * 80),   # not what a TLV may look like
    ))
    return header.SIGNATURE + struct.pack("!BBH", 0x21, 0x11, announced) + sent


class Kind:
    """first(number, generator) is what is sent at once; then every second a byte of drip."""

    def __init__(self, first, drip=None, is_reset=False, is_deaf=False):
        self.first, self.drip, self.is_reset, self.is_deaf = first, drip, is_reset, is_deaf


KINDS = {
    "empty": Kind(lambda *_: b""),
    "half a header": Kind(lambda number, generator: _v1(number, None)[:generator.randrange(1, 30)]),
    "a byte a second": Kind(lambda *_: b"P", drip=_v1),
    "garbage": Kind(lambda _, generator: generator.randbytes(GARBAGE)),
    "lying v2": Kind(_lying),
    "header, then RST": Kind(_v1, is_reset=True),
    "never reading": Kind(lambda number, _: _v1(number, None) + bytes(UNREAD), is_deaf=True),
}
# These say no whole header; whoever does not end them within header_timeout has a leak.
WITHOUT_HEADER = ("empty", "half a header", "a byte a second", "garbage", "lying v2")


class Visitor:
    """One such connection, never blocking."""

    def __init__(self, name, number, address, generator):
        self.name, self.kind = name, KINDS[name]
        self.sock = socket.socket(family_of(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.left = self.kind.first(number, generator)
        self.drip = self.kind.drip(number, generator)[1:] if self.kind.drip else b""
        self.began = time.monotonic()
        if self.kind.is_deaf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def events(self):
        if self.left:
            return select.EPOLLOUT
        return 0 if self.kind.is_deaf else select.EPOLLIN

    def run(self, events):
        """returns: how it ended, or None."""
        try:
            if self.left and events & select.EPOLLOUT:
                self.left = self.left[self.sock.send(self.left):]
                if self.kind.is_reset and not self.left:
                    return self.leave("left")
            if not self.kind.is_deaf and events & select.EPOLLIN:
                return self.leave("was told something" if self.sock.recv(65536) else "FIN")
            error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
        except BlockingIOError:
            return None
        except OSError as error:
            is_reset = error.errno in (errno.ECONNRESET, errno.EPIPE)
            return self.leave("RST" if is_reset else errno.errorcode[error.errno])
        return self.leave("RST") if events & select.EPOLLHUP else None

    def drop(self):
        """One more byte of the header."""
        if not self.left:
            self.left, self.drip = self.drip[:1], self.drip[1:]

    def leave(self, outcome):
        """Without a trace: ports in TIME_WAIT are for good clients."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        self.sock.close()
        return outcome


class HostilePeers:
    """All of them; due has (time, tie-breaker, descriptor) of those that wait for a moment."""

    def __init__(self, args):
        self.args = args
        self.epoll = select.epoll()
        self.visitors = {}
        self.due = []
        self.outcomes = {name: collections.Counter() for name in KINDS}
        self.generator = random.Random(args.seed)
        self.made = 0
        self.is_over = False

    def run(self):
        last, owed = time.monotonic(), 0.0
        while self.visitors or not self._is_complete():
            now = time.monotonic()
            # Who was kept waiting does not make up for all of it at once.
            owed = min(owed + (now - last) * self.args.rate, max(1, self.args.rate / 20))
            last = now
            while owed >= 1 and len(self.visitors) < self.args.most and not self._is_complete():
                self._add()
                owed -= 1
            for fd, events in self.epoll.poll(0.01):
                self._turn(fd, events)
            self._look_at_the_clock()

    def _is_complete(self):
        return self.is_over or self.made == self.args.count

    def _add(self):
        name = list(KINDS)[self.made % len(KINDS)]
        address = self.generator.choice(self.args.addresses)
        visitor = Visitor(name, self.made, address, self.generator)
        self.made += 1
        error = visitor.sock.connect_ex((address, self.args.port))
        if error not in (0, errno.EINPROGRESS):
            self.outcomes[name][visitor.leave(errno.errorcode[error])] += 1
            return
        fd = visitor.sock.fileno()
        self.visitors[fd] = visitor
        self.epoll.register(fd, visitor.events())
        first = 1 if visitor.drip else self.args.patience
        heapq.heappush(self.due, (visitor.began + first, self.made, fd, visitor))

    def _turn(self, fd, events):
        visitor = self.visitors[fd]
        outcome = visitor.run(events)  # a closed socket is in no epoll set
        if outcome:
            del self.visitors[fd]
            self.outcomes[visitor.name][outcome] += 1
        else:
            self.epoll.modify(fd, visitor.events())

    def _look_at_the_clock(self):
        now = time.monotonic()
        while self.due and self.due[0][0] <= now:
            _, tie, fd, visitor = heapq.heappop(self.due)
            if self.visitors.get(fd) is not visitor:
                continue
            if now - visitor.began >= self.args.patience:
                del self.visitors[fd]
                self.outcomes[visitor.name][visitor.leave("stayed")] += 1
                continue
            visitor.drop()
            self.epoll.modify(fd, visitor.events())
            heapq.heappush(self.due, (now + 1, tie, fd, visitor))


class Attack:
    """The program, running in a namespace against addresses and port."""

    def __init__(self, namespace, addresses, port, **options):
        more = [f"--{key}={value}" for key, value in options.items()]
        self._process = subprocess.Popen(
            namespace.argv(sys.executable, "-B", "-m", "lib.hostile", f"--port={port}", *more,
                           *addresses),
            stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).resolve().parents[1])})

    def is_running(self):
        return self._process.poll() is None

    def stop(self):
        """No more of them."""
        self._process.terminate()

    def outcomes(self):
        """Once the last has ended: kind -> outcome -> number."""
        text, _ = self._process.communicate()
        assert self._process.returncode == 0, f"exit status {self._process.returncode}"
        return json.loads(text)

    def close(self):
        self._process.kill()
        self._process.wait()


def failures(outcomes):
    """Whoever was not treated as it should be, one line each."""
    wrong = []
    for name, ended in outcomes.items():
        welcome = {"RST", "FIN"} if name in WITHOUT_HEADER else {"RST", "FIN", "left", "stayed"}
        wrong += [f"{number} hostile connections ({name}): {outcome}"
                  for outcome, number in ended.items() if outcome not in welcome]
    return wrong


def total(outcomes):
    return sum(sum(ended.values()) for ended in outcomes.values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("addresses", nargs="+")
    parser.add_argument("--port", type=int)
    parser.add_argument("--count", type=int, default=sys.maxsize)
    parser.add_argument("--rate", type=float, help="a second")
    parser.add_argument("--most", type=int, default=4000, help="at once")
    parser.add_argument("--patience", type=float, help="seconds until one goes by itself")
    parser.add_argument("--seed", type=int, default=1)
    peers = HostilePeers(parser.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: setattr(peers, "is_over", True))
    peers.run()
    print(json.dumps(peers.outcomes))


if __name__ == "__main__":
    main()
