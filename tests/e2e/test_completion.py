# SPDX-License-Identifier: BSD-2-Clause
"""Tab in an interactive bash, with Debian's bash-completion: commands, options, listeners, files."""

import os
import pathlib

import pytest

from lib import conf, daemon
from lib.ctl import Ctl
from lib.terminal import Terminal

SYSTEM = pathlib.Path("/usr/share/bash-completion/bash_completion")
ALL = (b"status", b"sessions", b"close", b"reload", b"check", b"drain", b"resume", b"map",
       b"metrics", b"top")


@pytest.fixture
def shell(directory):
    ctl = Ctl(directory)
    folder = daemon.ROOT / "etc/bash-completion"
    start = directory / "bashrc"
    start.write_text(f"""
PS1='> '
{f"source {SYSTEM}" if SYSTEM.exists() else ""}
source {folder}/mmproxyctl
source {folder}/mmproxy
bind 'set enable-bracketed-paste off'
bind 'set bell-style none'
bind 'set completion-query-items 1000'
bind 'set page-completions off'
""")
    made = Terminal(["bash", "--noprofile", "--rcfile", start, "-i"], env={
        "PATH": f"{ctl.program.parent}:{os.environ['PATH']}", "HOME": str(directory),
        "INPUTRC": "/dev/null"})
    made.wait(rb"> ")
    yield made
    made.close()


def test_tab_completes_commands_options_and_listeners(net, launch, directory, shell):
    launch(net.origin, "-c", conf.write(directory, [
        conf.listener(name="imap"), conf.listener(name="submission", listen="0.0.0.0:2323")],
        workers=1)).settle()
    socket = bytes(Ctl(directory).socket)
    shell.type(b"mmproxyctl \t\t")
    shell.wait(rb"(?s)" + b"".join(rb"(?=.*\b" + word + rb"\b)" for word in ALL))
    shell.type(b"\x15mmproxyctl ses\t")
    shell.wait(rb"mmproxyctl sessions ")
    shell.type(b"--cl\t")
    shell.wait(rb"--client ")
    shell.type(b"\x15mmproxyctl -s " + socket[:-3] + b"\t")
    shell.wait(rb"control\.sock ")
    shell.type(b"drain sub\t")
    shell.wait(rb"drain submission ")
    shell.type(b"\x15mmproxyctl -s " + socket + b" check --listener i\t")
    shell.wait(rb"--listener imap ")
    shell.type(b"\x15mmproxyctl -s " + socket + b" drain imap; echo status $?\r")
    shell.wait(rb"status 0\r")
    shell.type(b"mmproxyctl -s /no/such resume \t\techo-ends\r")  # no instance, no words, no error
    shell.wait(rb"echo-ends")
    shell.type(b"mmproxy --che\t")
    shell.wait(rb"--check ")
