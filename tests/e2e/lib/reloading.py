# SPDX-License-Identifier: BSD-2-Clause
"""Reloads of a running daemon: a new configuration, SIGHUP, and how it went."""

import re
import signal

from lib import conf, proc
from lib.wait import until

# Anything around it: as JSON too.
RELOADED = r".*\[\+\] reloaded: generation [0-9]+ serves, generation [0-9]+ drains.*"
UNCHANGED = r"\[\+\] reloaded: nothing has changed, generation [0-9]+ still serves"
FAILED = r"\[!\] reload failed: generation [0-9]+ keeps its configuration"


def drained(generation):
    return re.escape(f"[ ] generation {generation} has drained")


class Reloader:
    """Rewrites the configuration in directory and has gateway read it."""

    def __init__(self, gateway, directory):
        self.gateway, self.directory = gateway, directory

    def write(self, listeners, workers=1, **settings):
        return conf.write(self.directory, listeners, workers=workers, **settings)

    def hup(self, outcome=RELOADED):
        """SIGHUP; returns the line that tells of the outcome when the targets have been tried."""
        line = self.hup_only(outcome)
        self.wait_checked()
        return line

    def hup_only(self, outcome=RELOADED):
        """The same, at once."""
        count = len(self.gateway.find(outcome)) + 1
        self.gateway.signal(signal.SIGHUP)
        return self.gateway.wait_line(outcome, count)[0]

    def wait_checked(self):
        """The checks have knocked at the targets, and the test does not get to see it."""
        until(lambda: self.gateway.workers() == self.gateway.children(),
              lambda: f"the checks to end, {self.gateway.children()} run\n{self.gateway.text()}")
        for target in self.gateway.namespace.targets:
            target.forget()

    def reload(self, listeners, workers=1, **settings):
        """To a configuration that is good and new; waits until nothing of the old one is left."""
        self.write(listeners, workers, **settings)
        self.hup()
        self.wait_settled(workers)

    def wait_settled(self, workers=1):
        """One generation is left."""
        self.gateway.wait_workers(workers)
        until(lambda: not proc.zombies(self.gateway.pid), "zombies to be reaped")


def client_sessions(dial):
    """
    What the fixture session makes, where checks may knock at the service at any time: who is
    not the client that the header names is sent away.
    """
    made = []

    def make(service, head, version=4, **options):
        client = head.split()[2].decode()
        peer = dial(version, **options)
        peer.send(head)
        while (conn := service.accept()).peer_address != client:
            conn.close()
        made.append(conn)
        return peer, conn

    yield make
    for each in made:
        each.close()
