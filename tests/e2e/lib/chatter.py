# SPDX-License-Identifier: BSD-2-Clause
"""Clients that connect, talk and verify without pause, each in a thread of its own."""

import itertools
import random
import threading
import time

from lib import header
from lib.conn import FIN, connect

# Every session has a client of its own: an address and a port that nobody had before.
_CLIENTS = itertools.count()


def next_client():
    number = next(_CLIENTS)
    return f"198.51.{100 + number // 40000 % 100}.9", 20000 + number % 40000


class WrongBytes(Exception):
    """Other bytes than were sent, or more of them."""


class WasSlow(Exception):
    """Cut off, but client or service had kept the gateway waiting."""


class Pace:
    """How long a session has kept the gateway waiting at most: from one step to the next."""

    def __init__(self):
        self._longest_s, self._last = 0, time.monotonic()

    def step(self):
        now = time.monotonic()
        self._longest_s, self._last = max(self._longest_s, now - self._last), now
        return self._longest_s


class Chatter:
    """
    count clients that talk to an echo service behind the gateway's ports, in turn. failures
    has what went wrong. Where may_break, sessions that are refused or cut off are only counted;
    wrong bytes never are. Where the gateway has little patience (seconds), so are those that kept
    it waiting for longer, as a busy machine makes them: slow. pause: seconds between a client's
    sessions. first_answers: seconds from each session's connect to its first echo.
    """

    def __init__(self, namespace, address, ports, count=16, may_break=False, pause=0,
                 patience=None):
        self.failures = []
        self.slow = 0
        self.first_answers = []
        self.sessions = 0
        self.broken = 0
        self._namespace, self._address, self._ports = namespace, address, ports
        self._may_break, self._pause, self._patience = may_break, pause, patience
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True)
                         for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, number):
        generator = random.Random(number)
        self._over.wait(generator.random() * self._pause)
        for turn in itertools.count(number):
            if self._over.is_set():
                return
            port, error = self._ports[turn % len(self._ports)], None
            try:
                self._session(generator, port)
            except (OSError, AssertionError, WrongBytes, WasSlow) as caught:
                error = caught
            self._take_down(port, error)
            self._over.wait(self._pause)

    def _session(self, generator, port):
        """A whole session; WrongBytes, or what cut it off."""
        began, is_answered, pace = time.monotonic(), False, Pace()
        conn = connect(self._namespace, self._address, port)
        try:
            conn.send(header.v1(*next_client()))
            pace.step()
            for _ in range(generator.randrange(1, 5)):
                data = generator.randbytes(generator.randrange(1, 20000))
                conn.send(data)
                pace.step()
                if conn.recv(len(data)) != data:
                    raise WrongBytes
                pace.step()
                if not is_answered:
                    self.first_answers.append(time.monotonic() - began)
                    is_answered = True
            conn.finish()
            rest, how = conn.end()
            if rest:
                raise WrongBytes
            assert how == FIN, f"ended with {how}"
        except (OSError, AssertionError) as error:
            if self._patience and pace.step() > self._patience:
                raise WasSlow from error
            raise
        finally:
            conn.close()

    def _take_down(self, port, error):
        with self._lock:
            if error is None:
                self.sessions += 1
            elif isinstance(error, WasSlow):
                self.slow += 1
            elif self._may_break and not isinstance(error, (WrongBytes, TimeoutError)):
                self.broken += 1
            else:
                self.failures.append(f"port {port}: {error!r}")

    def stop(self):
        """Ends them and returns the failures."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.failures
