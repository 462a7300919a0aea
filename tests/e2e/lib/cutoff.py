# SPDX-License-Identifier: BSD-2-Clause
"""
Sessions that one side resets in the middle of a transfer, many at a time, while the worker
stands still: so it finds everything at once, in the order in which the kernel reports it.
"""

import collections
import errno
import os
import select
import threading

from lib import proc
from lib.conn import FIN, RST

# Sessions of every kind; 1000 for a proof.
COUNT = int(os.environ.get("MMPROXY_E2E_CUTOFFS", "40"))
AT_ONCE = 20
FIRST_PORT = 20000


def read_end(conn):
    """Reads what still arrives; returns FIN, RST, or the name of any other error."""
    try:
        while conn.sock.recv(1 << 20):
            pass
    except OSError as error:
        return RST if error.errno == errno.ECONNRESET else errno.errorcode.get(error.errno, "?")
    return FIN


def is_broken(conn):
    """The kernel has seen a reset; nothing has been read."""
    poll = select.poll()
    poll.register(conn.sock, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


class Cutoffs:
    """Sessions that one side, the victim, leaves with a reset; the other side is the survivor."""

    def __init__(self, gateway, dial, service, head, failing):
        self._gateway, self._dial, self._service, self._head = gateway, dial, service, head
        self._is_victim_first = failing == "client"
        self._reason = f"{'client' if failing == 'client' else 'target'} reset"
        self._opened = 0
        (self.worker,) = gateway.workers()

    def open(self):
        """One session: (victim, survivor)."""
        peer = self._dial()
        self._opened += 1
        peer.send(self._head(FIRST_PORT + self._opened))
        conn = self._service.accept()
        return (peer, conn) if self._is_victim_first else (conn, peer)

    def run(self, prepare, cut, judge=read_end):
        """
        COUNT sessions: prepare(victim, survivor) each, then cut(victim, survivor) while the
        worker stands still. judge(survivor) says how it ended: in RST, each time.
        """
        ends = []
        for begin in range(0, COUNT, AT_ONCE):
            pairs = [self.open() for _ in range(min(AT_ONCE, COUNT - begin))]
            self._gateway.wait_line(r"\[\+\] .* connected, .*", self._opened)
            for pair in pairs:
                prepare(*pair)
            with proc.stopped(self.worker):
                for pair in pairs:
                    cut(*pair)
            for victim, survivor in pairs:
                ends.append(judge(survivor))
                victim.close()
                survivor.close()
        self.expect_resets(ends)

    def expect_resets(self, ends):
        counted = collections.Counter(ends)
        assert counted == {RST: COUNT}, dict(counted)
        # And the log names who did it, whatever the kernel reported first.
        self._gateway.wait_line(rf"\[-\] .* disconnected, .*, {self._reason}", COUNT)


def pump_bytes(sender, receiver, total):
    """total bytes through a session, so that it is spliced from now on."""
    def drain():
        left = total
        while left > 0:
            left -= len(receiver.sock.recv(min(left, 1 << 20)))
    thread = threading.Thread(target=drain)
    thread.start()
    sender.send(bytes(total))
    thread.join()
