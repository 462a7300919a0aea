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
    """with Probes() as probes: a new session every 10 ms."""

    def __init__(self):
        self.failed = []
        self._served = []  # when each began and how long it took
        self._changed = threading.Condition()
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
        error = None
        try:
            Session().close()
        except (OSError, AssertionError) as caught:
            error = repr(caught)
        with self._changed:
            if error:
                self.failed.append(error)
            else:
                self._served.append((began, time.monotonic() - began))
            self._changed.notify_all()

    def wait_for_more(self, n=20):
        """Until n more sessions have been served."""
        with self._changed:
            goal = len(self._served) + n
            assert self._changed.wait_for(lambda: len(self._served) >= goal, 60), self.failed

    def __enter__(self):
        self._ticker.start()
        self.wait_for_more()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._ticker.join()
        for thread in self._threads:
            thread.join()

    def summary(self):
        """The worst delay: of a session that was served, and between two that began."""
        begins = sorted(began for began, _ in self._served)
        gap = max(after - before for before, after in zip(begins, begins[1:]))
        slowest = max(took for _, took in self._served)
        return (f"{len(self._served)} new sessions, the slowest took {slowest * 1000:.0f} ms; "
                f"{len(self.failed)} refused or reset, at most {gap * 1000:.0f} ms without one")
