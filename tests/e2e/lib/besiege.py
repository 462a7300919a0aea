# SPDX-License-Identifier: BSD-2-Clause
"""
Hostile clients of the exporter's port and of the control socket: slow, huge, garbage, deaf, and many at
once. A program of its own, which imports nothing of the tests: soak and benchmark start it. It
prints how they ended as JSON, kind -> outcome -> number, after --count of them or on SIGTERM.
"""

import argparse
import collections
import errno
import json
import os
import random
import select
import signal
import socket
import sys
import time

HUGE, DRIP_EVERY, PATIENCE = 10 << 20, 0.1, 1.5  # bytes, seconds, seconds
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


class Kind:
    """first is what is sent at once, drip what is sent byte by byte behind it."""

    def __init__(self, first, drip=b"", is_deaf=False, is_reset=False):
        self.first, self.drip, self.is_deaf, self.is_reset = first, drip, is_deaf, is_reset


HTTP = {
    "http: silent": Kind(b""),
    "http: slow head": Kind(b"GET / HTTP/1.1\r\n", drip=b"X-Slow: " + b"a" * 100),
    "http: huge header": Kind(b"GET / HTTP/1.1\r\nX: " + b"a" * (1 << 20)),
    "http: many headers": Kind(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50000),
    "http: garbage": Kind(random.Random(1).randbytes(1 << 16)),
    "http: pipelined": Kind(GET * 500),
    "http: deaf": Kind(GET * 2, is_deaf=True),
    "http: reset": Kind(GET, is_reset=True),
    "http: post": Kind(b"POST / HTTP/1.1\r\nContent-Length: 10485760\r\n\r\n" + bytes(HUGE)),
    "http: paths": Kind(b"GET /../../etc/passwd%00?x=1 HTTP/1.1\r\nHost: x\r\nRange: bytes=5-2\r\n\r\n"),
}
CONTROL = {
    "control: silent": Kind(b""),
    "control: slow line": Kind(b"stat", drip=b"us" + b" " * 100),
    "control: huge line": Kind(b"sessions listener=" + b"a" * HUGE),
    "control: no newline": Kind(b"status"),
    "control: zeros": Kind(bytes(5000) + b"\n"),
    "control: invalid UTF-8": Kind(b"drain \xff\xfe\xc0\x80\n"),
    "control: garbage": Kind(random.Random(2).randbytes(1 << 16)),
    "control: deaf": Kind(b"sessions\n", is_deaf=True),
    "control: leaves": Kind(b"sessions\n", is_reset=True),
    "control: metrics": Kind(b"metrics\n", is_deaf=True),
}


class Visitor:
    def __init__(self, name, kind, family, address):
        self.name, self.kind = name, kind
        self.left, self.drip = kind.first, kind.drip
        self.since = self.dripped = time.monotonic()
        self.outcome = None
        self.sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if kind.is_deaf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        error = self.sock.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            self.end(errno.errorcode[error])

    def events(self):
        wanted = 0 if self.kind.is_deaf else select.EPOLLIN
        return wanted | (select.EPOLLOUT if self.left else 0)

    def turn(self, events):
        try:
            if self.left and events & select.EPOLLOUT:
                self.left = self.left[self.sock.send(self.left[:1 << 18]):]
                if self.kind.is_reset and not self.left:
                    self.end("left")
                    return
            if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                if not self.sock.recv(1 << 16):
                    self.end("closed")
        except BlockingIOError:
            pass
        except OSError as error:
            self.end(errno.errorcode[error.errno])

    def look_at_the_clock(self, now):
        if now - self.since > PATIENCE:
            self.end("stayed")
        elif self.drip and not self.left and now - self.dripped > DRIP_EVERY:
            self.left, self.drip, self.dripped = self.drip[:1], self.drip[1:], now

    def end(self, outcome):
        self.outcome = outcome
        self.sock.close()


class Siege:
    def __init__(self, args):
        self.args, self.made, self.is_over = args, 0, False
        self.outcomes = collections.defaultdict(collections.Counter)
        self.visitors = {}
        self.epoll = select.epoll()
        host, _, port = args.http.rpartition(":")
        self.turns = [(name, kind, socket.AF_INET, (host, int(port))) for name, kind in HTTP.items()]
        self.turns += [(name, kind, socket.AF_UNIX, args.control) for name, kind in CONTROL.items()]

    def run(self):
        began = time.monotonic()
        while not (self.is_over or self.made == self.args.count) or self.visitors:
            now = time.monotonic()
            while (not self.is_over and self.made < self.args.count
                   and self.made < (now - began) * self.args.rate
                   and len(self.visitors) < self.args.most):
                self._add()
            for fd, events in self.epoll.poll(0.02):
                self._turn(fd, lambda visitor, events=events: visitor.turn(events))
            for fd in list(self.visitors):
                self._turn(fd, lambda visitor: visitor.look_at_the_clock(time.monotonic()))

    def _add(self):
        visitor = Visitor(*self.turns[self.made % len(self.turns)])
        self.made += 1
        if visitor.outcome:
            self.outcomes[visitor.name][visitor.outcome] += 1
            return
        self.visitors[visitor.sock.fileno()] = visitor
        self.epoll.register(visitor.sock.fileno(), visitor.events())

    def _turn(self, fd, act):
        visitor = self.visitors[fd]
        act(visitor)  # a closed socket is in no epoll set
        if visitor.outcome:
            del self.visitors[fd]
            self.outcomes[visitor.name][visitor.outcome] += 1
        else:
            self.epoll.modify(fd, visitor.events())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", metavar="ADDR:PORT", required=True)
    parser.add_argument("--control", metavar="PATH", required=True)
    parser.add_argument("--rate", type=float, default=200, help="a second (%(default)g)")
    parser.add_argument("--count", type=int, default=sys.maxsize)
    parser.add_argument("--most", type=int, default=1000, help="at once (%(default)s)")
    siege = Siege(parser.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: setattr(siege, "is_over", True))
    os.nice(5)
    siege.run()
    print(json.dumps(siege.outcomes))


if __name__ == "__main__":
    main()
