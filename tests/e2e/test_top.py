# SPDX-License-Identifier: BSD-2-Clause
"""mmproxyctl top in a terminal: it draws, scrolls, resizes, and leaves the terminal as it was."""

import signal

import pytest

from lib import conf
from lib.ctl import Ctl
from lib.terminal import Terminal

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


def test_narrow_terminal_shows_states_instead_of_rates(net, launch, directory):
    launch(net.origin, "-c", conf.write(directory, [
        conf.listener(name="x" * 63), conf.listener(name="quiet", listen="0.0.0.0:2323")],
        workers=1)).settle()
    ctl = Ctl(directory)
    ctl.ask("drain", "quiet")
    screen = Terminal([ctl.program, "-s", ctl.socket, "top"], rows=10, columns=40)
    screen.wait(rb"STATE")
    screen.wait(rb"quiet")
    screen.wait(rb"drained")
    screen.resize(24, 80)
    screen.wait(rb"REFUSED/s")
    screen.type(b"q")
    assert screen.wait_exit() == 0
    screen.close()


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
