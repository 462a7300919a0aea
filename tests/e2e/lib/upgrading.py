# SPDX-License-Identifier: BSD-2-Clause
"""A daemon whose binary is replaced while it runs (SIGUSR2)."""

import os
import shlex
import shutil
import signal

from lib import conf, daemon, proc
from lib.wait import until


class Upgradable:
    """
    A daemon run from a copy of the binary that may be replaced, and all its successors. outer:
    what to start it through.
    """

    def __init__(self, net, launch, directory, listeners=None, settings=None, outer=(), **options):
        self.path = directory / "mmproxy"
        shutil.copy(daemon.BINARY, self.path)
        self.pids = []
        self.gateway = launch(net.origin, "-c", conf.write(
            directory, listeners or [conf.listener()], **{"workers": 2} | (settings or {})), prefix=[
                "sh", "-c", f"shift; exec {shlex.join([*outer, str(self.path)])} \"$@\"", "sh"], **options)
        self.gateway.wait_listening(*conf.LISTEN)
        self.gateway.wait_workers(2)
        self.pids.append(self.gateway.pid)

    @property
    def pid(self):
        return self.pids[-1]

    def signal(self, number):
        os.kill(self.pid, number)

    def replace(self, content=None):
        """As a package manager does: a new file, then a rename. content: not mmproxy's."""
        new = self.path.with_suffix(".new")
        if content is None:
            shutil.copy(daemon.BINARY, new)
        else:
            new.write_bytes(content)
            new.chmod(0o755)
        new.rename(self.path)

    def upgrade(self):
        """returns: the process that serves now."""
        self.signal(signal.SIGUSR2)
        return self.wait_upgraded()

    def wait_upgraded(self):
        self.pids.append(int(self.gateway.wait_line(daemon.UPGRADED, len(self.pids))[1]))
        return self.pid

    def wait_workers(self, count=2):
        until(lambda: len(proc.children(self.pid)) == count, f"{count} workers of {self.pid}")

    def wait_gone(self, pid):
        until(lambda: not proc.is_alive(pid), f"process {pid} to end\n{self.gateway.text()}")

    def close(self):
        """Whoever serves stops in an orderly way; so does who drains, now without delay."""
        for pid in self.pids:
            proc.cut_off(pid, self.gateway.text)
