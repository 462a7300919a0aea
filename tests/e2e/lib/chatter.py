# SPDX-License-Identifier: BSD-2-Clause
"""Clients that connect, talk and verify without pause, each in a thread of its own."""

import itertools
import random
import threading

from lib import header
from lib.conn import FIN, connect

# Every session has a client of its own: an address and a port that nobody had before.
_CLIENTS = itertools.count()


def next_client():
    number = next(_CLIENTS)
    return f"198.51.{100 + number // 40000 % 100}.9", 20000 + number % 40000


class Chatter:
    """
    count clients that talk to an echo service behind the gateway's ports, in turn. failures
    has what went wrong; where may_break, sessions that are cut off do not count as that, but
    wrong bytes do, and so does an end that looks complete and is not.
    """

    def __init__(self, namespace, address, ports, count=16, may_break=False):
        self.failures = []
        self.sessions = 0
        self.broken = 0
        self._namespace, self._address, self._ports = namespace, address, ports
        self._may_break = may_break
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True)
                         for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, number):
        generator = random.Random(number)
        for turn in itertools.count(number):
            if self._over.is_set():
                return
            self._take_down(self._session(generator, self._ports[turn % len(self._ports)]))

    def _session(self, generator, port):
        """returns: None where all went well, else what went wrong, as (is break, text)."""
        sent = received = 0
        try:
            conn = connect(self._namespace, self._address, port)
            try:
                conn.send(header.v1(*next_client()))
                for _ in range(generator.randrange(1, 5)):
                    data = generator.randbytes(generator.randrange(1, 20000))
                    conn.send(data)
                    sent += len(data)
                    if (answer := conn.recv(len(data))) != data:
                        return False, f"port {port}: {len(answer)} wrong bytes"
                    received += len(data)
                conn.finish()
                rest, how = conn.end()
            finally:
                conn.close()
        except (OSError, AssertionError) as error:
            # A FIN in the middle is no break: it tells the client that this was all.
            is_break = isinstance(error, OSError) and not isinstance(error, TimeoutError)
            return is_break, f"port {port}: {error!r} after {received} of {sent} bytes"
        if rest or how != FIN:
            return how != FIN and not rest, f"port {port}: ended with {how}, {len(rest)} bytes more"
        return None

    def _take_down(self, trouble):
        with self._lock:
            self.sessions += trouble is None
            if trouble is not None and trouble[0] and self._may_break:
                self.broken += 1
            elif trouble is not None:
                self.failures.append(trouble[1])

    def stop(self):
        """Ends them and returns the failures."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.failures
