# SPDX-License-Identifier: BSD-2-Clause
"""mmproxyctl top in a terminal: it draws, scrolls, resizes, and leaves the terminal as it was."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios

import pytest

from lib import conf
from lib.ctl import Ctl
from lib.wait import DEADLINE, until

RESTORED = b"\x1b[?1049l"  # back to the screen before


class Terminal:
    """
    One with a program in it. Of a line that changes, curses writes what is different: a pattern is to
    be of a line that is new as a whole.
    """

    def __init__(self, argv, rows=24, columns=80):
        self._leader, self._follower = pty.openpty()
        self._resize(rows, columns)
        self.before = termios.tcgetattr(self._follower)
        self.text = b""
        os.set_blocking(self._leader, False)
        self.process = subprocess.Popen(
            argv, stdin=self._follower, stdout=self._follower, stderr=self._follower,
            env={"TERM": "xterm", "PATH": "/usr/bin:/bin"}, start_new_session=True,
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


@pytest.fixture
def top(net, launch, directory):
    """top(n): of a gateway with that many listeners; top(): of one that is there."""
    made = []

    def start(n=None):
        if n is not None:
            serve(n)
        ctl = Ctl(directory)
        made.append(Terminal([ctl.program, "-s", ctl.socket, "top"]))
        return made[-1]

    def serve(n):
        listeners = [conf.listener(name=f"service-{i}", listen=f"127.0.0.1:{3000 + i}")
                     for i in range(1, n + 1)]
        launch(net.origin, "-c", conf.write(directory, listeners, workers=1)).settle()

    yield start
    for each in made:
        each.close()


def test_top_draws_scrolls_and_resizes(top):
    screen = top(100)
    screen.wait(rb"all 100 listeners")
    screen.wait(rb"service-1\x1b")
    screen.wait(rb"1 to 18 of 100")
    screen.wait(rb"\x1b\[1;\d+H\d")  # how long the gateway has run: it refreshes
    screen.type(b"\x1bOF")  # End
    screen.wait(rb"83 to 100 of 100")
    screen.resize(3, 20)  # no room for any listener
    screen.wait(rb"q quits")
    screen.resize(60, 200)
    screen.wait(rb"47 to 100 of 100")
    screen.type(b"q")
    assert screen.wait_exit() == 0
    assert screen.is_as_before()


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_terminal_is_as_before_after_a_signal(top, number):
    screen = top(0)
    screen.wait(rb"LISTENER")
    assert not screen.is_as_before()
    screen.process.send_signal(number)
    assert screen.wait_exit() != 0
    assert screen.is_as_before()


def test_top_outlives_the_gateway(serve, top):
    gateway = serve()
    screen = top()
    screen.wait(rb"ssh\x1b")
    gateway.stop()
    screen.wait(rb"mmproxy does not answer")
    serve()
    screen.wait(rb"\x1b\[1;\d+H\d")  # the time that the second one has run for
    screen.type(b"q")
    assert screen.wait_exit() == 0
