# SPDX-License-Identifier: BSD-2-Clause
"""A terminal, and what a program writes on it."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios

from lib.wait import DEADLINE, until

RESTORED = b"\x1b[?1049l"  # back to the screen before


class Terminal:
    """
    One with a program in it. Of a line that changes, curses writes what is different: a pattern is to
    be of a line that is new as a whole.
    """

    def __init__(self, argv, rows=24, columns=80, env=None):
        self._leader, self._follower = pty.openpty()
        self._resize(rows, columns)
        self.before = termios.tcgetattr(self._follower)
        self.text = b""
        os.set_blocking(self._leader, False)
        self.process = subprocess.Popen(
            argv, stdin=self._follower, stdout=self._follower, stderr=self._follower,
            env={"TERM": "xterm", "PATH": "/usr/bin:/bin"} | (env or {}), start_new_session=True,
            # A shell that runs the tests in the background has it ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def _resize(self, rows, columns):
        fcntl.ioctl(self._leader, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows, columns):
        self._resize(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def _read(self):
        try:
            self.text += os.read(self._leader, 65536)
        except (BlockingIOError, OSError):
            pass

    def wait(self, pattern):
        """Until it has written that; forgets what came before."""
        def found():
            self._read()
            return re.search(pattern, self.text)
        match = until(found, lambda: f"{pattern} on the screen: {self.text[-2000:]}")
        self.text = self.text[match.end():]

    def type(self, keys):
        os.write(self._leader, keys)

    def wait_exit(self):
        status = self.process.wait(DEADLINE)
        self._read()
        return status

    def is_as_before(self):
        return termios.tcgetattr(self._follower) == self.before and RESTORED in self.text

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._leader)
        os.close(self._follower)
