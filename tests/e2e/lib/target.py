# SPDX-License-Identifier: BSD-2-Clause
"""The services behind the gateway: listening sockets in the origin's namespace."""

import contextlib
import select
import socket
import threading

from lib.conn import Conn, family_of
from lib.wait import DEADLINE, until


# Whom the checks of targets impersonate.
CHECKERS = ("192.0.2.1", "2001:db8::1", "240.0.0.0", "64:ff9b::c000:201")


def _is_check(sock, source, address):
    """Targets that failed are checked again at any time: no test is to take that for a session."""
    if source[0] in CHECKERS:
        return True
    if source[0] != address:
        return False
    # The conventional connection of a check ends without a byte; a local client has to say something.
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    waiting.poll(1000 * DEADLINE)
    try:
        return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except ConnectionResetError:
        return True
    except BlockingIOError:
        return False


class Target:
    """A service whose connections the test takes and drives by hand."""

    def __init__(self, namespace, address, port, backlog=1024, receive_buffer=None):
        self.address, self.port = address, port
        self.sock = namespace.socket(family_of(address))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.sock.family == socket.AF_INET6:
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.bind((address, port))
        self.sock.listen(backlog)
        self._targets = namespace.targets
        self._targets.append(self)

    def accept(self):
        self.sock.settimeout(DEADLINE)
        while True:
            sock, source = self.sock.accept()
            if not _is_check(sock, source, self.address):
                return Conn(sock, source)
            sock.close()

    def has_waiting(self):
        """Is there a connection to accept, right now?"""
        return bool(select.select([self.sock], [], [], 0)[0])

    def is_untouched(self):
        """Nobody has connected that was not accepted yet; drops who has."""
        dropped = self.forget()
        if dropped:
            print("target reached from", dropped)
        return not dropped

    def take(self):
        """A connection that waits, or None."""
        self.sock.setblocking(False)
        while self.has_waiting():
            sock, source = self.sock.accept()
            if not _is_check(sock, source, self.address):
                return Conn(sock, source)
            sock.close()
        return None

    def forget(self):
        """Drops the connections that wait; returns where they came from."""
        sources = []
        while conn := self.take():
            sources.append(conn.peer)
            conn.close()
        return sources

    def close(self):
        if self not in self._targets:
            return
        self._targets.remove(self)
        self.sock.close()


class EchoTarget(Target):
    """A service that sends back what it gets, each connection in a thread of its own."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.sources = []
        self.open = 0
        self._lock = threading.Lock()
        self._conns = set()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            select.select([self.sock], [], [])
            with self._lock:
                try:
                    sock, source = self.sock.accept()
                except OSError:
                    return
                if not _is_check(sock, source, self.address):
                    self.sources.append(source[:2])
                self._conns.add(sock)
                self.open += 1
            threading.Thread(target=self._echo, args=(sock,), daemon=True).start()

    def _echo(self, sock):
        try:
            while data := sock.recv(65536):
                sock.sendall(data)
        except OSError:
            pass
        with self._lock:
            self._conns.discard(sock)
            self.open -= 1
        sock.close()

    def forget(self):
        """Forgets where those connections came from that are there already."""
        until(lambda: not self.has_waiting(), "connections to be taken")
        with self._lock:
            self.sources.clear()

    def close(self):
        if self not in self._targets:
            return
        self._targets.remove(self)
        # Wakes the thread, which a mere close would not.
        self.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.sock.close()
        with self._lock:
            for sock in self._conns:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
