# SPDX-License-Identifier: BSD-2-Clause
"""One TCP connection of a test, at either end of the gateway."""

import fcntl
import socket
import struct

from lib import proc
from lib.wait import DEADLINE, until

FIN, RST = "FIN", "RST"
SIOCOUTQ = 0x5411


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def endpoint(address, port):
    """As mmproxy writes it in its log."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def connect(namespace, address, port, source=None, source_port=0, receive_buffer=None):
    """Connects from inside the namespace."""
    sock = namespace.socket(family_of(address))
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if source or source_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((source or "", source_port))
    sock.settimeout(DEADLINE)
    is_reset = False
    try:
        sock.connect((address, port))
    except ConnectionResetError:
        # The connection was there, and reset before this side had a look at it.
        is_reset = True
    except OSError:
        sock.close()
        raise
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Conn(sock, (address, port), is_reset)


class Conn:
    """A connected socket whose every operation has a deadline."""

    def __init__(self, sock, peer, is_reset=False):
        self.sock = sock
        self.is_reset = is_reset
        self.sock.settimeout(DEADLINE)
        self.address, self.port = sock.getsockname()[:2]
        self.peer_address, self.peer_port = peer[:2]

    @property
    def local(self):
        return endpoint(self.address, self.port)

    @property
    def peer(self):
        return endpoint(self.peer_address, self.peer_port)

    def send(self, data):
        """As sendall, whose deadline would be one for all of it."""
        left = memoryview(data)
        while left:
            left = left[self.sock.send(left):]

    def recv(self, size):
        """Exactly size bytes; the connection must not end before."""
        data = bytearray()
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise AssertionError(f"FIN after {len(data)} of {size} bytes: {bytes(data[:80])}")
            data += piece
        return bytes(data)

    def end(self):
        """What still arrived, and how the other side ended it: (bytes, FIN or RST)."""
        data = bytearray()
        if self.is_reset:
            return b"", RST
        while True:
            try:
                piece = self.sock.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                return bytes(data), RST
            if not piece:
                return bytes(data), FIN
            data += piece

    def expect_end(self, how, data=b""):
        assert self.end() == (data, how)

    def is_quiet(self):
        """Nothing to read and not ended, right now."""
        if self.is_reset:
            return False
        self.sock.setblocking(False)
        try:
            self.sock.recv(1, socket.MSG_PEEK)
            return False
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self.sock.settimeout(DEADLINE)

    def fill(self, worker, quiet_for=0.3):
        """
        Sends until nobody has taken anything for a while in which the worker had nothing to do;
        returns how many bytes that were.
        """
        sent, piece, rest = 0, b"x" * 65536, None
        self.sock.settimeout(quiet_for)
        while True:
            before, rest = rest, proc.rest(worker)
            try:
                sent += self.sock.send(piece)
            except TimeoutError:
                if rest and rest == before == proc.rest(worker):
                    break
        self.sock.settimeout(DEADLINE)
        return sent

    def finish(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    def trip(self, other, data=b"ping"):
        """data there and its reverse back: the session between self and other works."""
        self.send(data)
        assert other.recv(len(data)) == data
        other.send(data[::-1])
        assert self.recv(len(data)) == data[::-1]


def is_acknowledged(conn):
    """Has the other side's kernel got everything that was sent?"""
    left = fcntl.ioctl(conn.sock, SIOCOUTQ, b"\0\0\0\0")
    return struct.unpack("i", left)[0] == 0


def send_byte_by_byte(conn, data):
    """Every byte in a segment of its own."""
    for byte in data:
        conn.send(bytes([byte]))
        until(lambda: is_acknowledged(conn), "a byte to be acknowledged")
