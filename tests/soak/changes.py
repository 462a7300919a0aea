# SPDX-License-Identifier: BSD-2-Clause
"""What happens to the gateway while sessions run: reloads of every kind, kills, upgrades."""

import itertools
import random

from lib import conf
from lib.reloading import FAILED, RELOADED, UNCHANGED
from lib.topology import LB4, LB6

import datagrams
from sessions import EXTRA_PORT, KEEPALIVE
from world import WORKERS

HEADER_TIMEOUT = 15  # seconds: a good client of a busy machine needs less, a hostile one is gone soon
USUAL = {"header_timeout": HEADER_TIMEOUT, "keepalive": KEEPALIVE}
EXTRA = conf.listener(name="extra", listen=[f"0.0.0.0:{EXTRA_PORT}", f"[::]:{EXTRA_PORT}"])


def usual_listeners():
    return [conf.listener(**USUAL), *datagrams.listeners()]


class Changes:
    """One at a time, each to its end; counts them."""

    def __init__(self, world):
        self.world = world
        self.reloads = self.kills = self.upgrades = self.sessions_killed = 0
        self._generator = random.Random(3)
        self._numbers = itertools.count(1)
        self._has_extra = False
        self._is_usual = True
        kinds = (self.change, self.add_extra, self.change_nothing, self.change_subnets,
                 self.remove_extra, self.break_configuration)
        self._reloads = itertools.cycle(kinds)
        self._kinds = len(kinds)

    # --- reloads

    def reload(self):
        """The next kind of reload."""
        next(self._reloads)()

    def reload_in_every_way(self):
        for _ in range(self._kinds):
            self.reload()
        self.be_usual()

    def change(self):
        """Listener and number of workers."""
        self._load(workers=WORKERS + self.reloads % 2,
                   header_timeout=HEADER_TIMEOUT + self._generator.choice((-1, 0, 1)))

    def change_subnets(self):
        more = self._generator.randrange(1, 3000)
        lines = "\n".join(f"192.0.{n // 256}.{n % 256}" for n in range(0, 2 * more, 2))
        self._load(subnets=f"{LB4}\n{LB6}/128\n{lines}\n")

    def add_extra(self):
        self._has_extra = True
        self._load()
        self.world.extra += 1

    def remove_extra(self):
        if self._has_extra:
            self.world.extra += 1
            self._has_extra = False
        self._load()

    def change_nothing(self):
        self._hup(UNCHANGED)

    def break_configuration(self):
        """Two mistakes; what serves goes on, and a good file is there again."""
        good = (self.world.reloader.directory / "mmproxy.conf").read_text()
        (self.world.reloader.directory / "mmproxy.conf").write_text(
            good.replace("keepalive", "keepalife").replace("lb.subnets", "no.subnets", 1))
        self._hup(FAILED)
        (self.world.reloader.directory / "mmproxy.conf").write_text(good)

    def be_usual(self):
        """As at the start, whatever was loaded meanwhile."""
        if self._has_extra:
            self.remove_extra()
        if not self._is_usual:
            self.world.reloader.write(usual_listeners(), workers=WORKERS)
            self._hup(RELOADED)
            self._is_usual = True

    def _load(self, workers=WORKERS, subnets=None, **keys):
        # Longer than anybody is silent, and never the same twice.
        keys["idle_timeout"] = 600 + next(self._numbers)
        listeners = [conf.listener(**USUAL | keys), *datagrams.listeners()] + ([EXTRA] if self._has_extra else [])
        more = {"subnets": subnets} if subnets else {}
        self.world.reloader.write(listeners, workers=workers, **more)
        self._is_usual = False
        self._hup(RELOADED)

    def _hup(self, outcome):
        self.world.reloader.hup_only(outcome)
        self.reloads += 1

    # --- worse

    def kill(self):
        """Any worker, of those that serve or of those that drain."""
        workers = self.world.gateway.workers()
        pid = self._generator.choice(workers)
        victims = self.world.kill_worker(pid)
        if victims is not None:
            self.kills += 1
            self.sessions_killed += victims

    def upgrade(self):
        self.world.gateway.upgradable.replace()
        self.world.gateway.upgradable.upgrade()
        self.upgrades += 1

    def unexpected(self):
        """What the log says that nobody here has caused, one line each."""
        daemon = self.world.gateway.daemon
        expected = [f"worker {pid} of" for pid in self.world.gateway.killed]
        return [line for line in daemon.lines
                if line.startswith("[!]") and not any(words in line for words in expected)
                and "reload failed" not in line]
