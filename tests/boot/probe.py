# SPDX-License-Identifier: BSD-2-Clause
"""Sessions through the installed mmproxy to greeter.py, and a probe every 10 ms."""

import itertools
import socket
import threading
import time

PORT = 2222
EVERY_S = 0.01
_clients = itertools.count(1)


class Session:
    """A client of its own address, through to the service, which greets it first."""

    def __init__(self, balancer="127.0.0.1", deadline=30):
        n = next(_clients)
        self.client = f"198.51.{100 + n // 250 % 100}.{n % 250 + 1}"
        self._sock = socket.create_connection(("127.0.0.1", PORT), deadline, (balancer, 0))
        self._sock.settimeout(deadline)
        self._sock.sendall(f"PROXY TCP4 {self.client} 203.0.113.80 50000 22\r\n".encode())
        assert self._sock.recv(64).startswith(b"SSH-")

    def lives(self):
        """A byte goes there and back."""
        self._sock.sendall(b"x")
        return self._sock.recv(1) == b"x"

    def is_over(self):
        """Waits for its end."""
        try:
            while self._sock.recv(4096):
                pass
        except ConnectionError:
            pass
        return True

    def close(self):
        self._sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def is_refused():
    try:
        socket.create_connection(("127.0.0.1", PORT), 30).close()
    except ConnectionRefusedError:
        return True
    return False


class Probes:
    """with Probes() as probes: new sessions all the time; probes.worst_s, probes.failed."""

    def __init__(self):
        self.worst_s, self.served, self.failed = 0, 0, []
        self._stop = threading.Event()
        self._threads = []
        self._ticker = threading.Thread(target=self._tick)

    def _tick(self):
        while not self._stop.wait(EVERY_S):
            thread = threading.Thread(target=self._probe)
            self._threads.append(thread)
            thread.start()

    def _probe(self):
        began = time.monotonic()
        try:
            Session().close()
        except (OSError, AssertionError) as error:
            self.failed.append(repr(error))
            return
        self.served += 1
        self.worst_s = max(self.worst_s, time.monotonic() - began)

    def __enter__(self):
        self._ticker.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._ticker.join()
        for thread in self._threads:
            thread.join()

    def told(self):
        return f"{self.served} new sessions, the slowest took {self.worst_s * 1000:.0f} ms"
