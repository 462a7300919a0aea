# SPDX-License-Identifier: BSD-2-Clause
"""The soak itself. tools/soak installs, builds, and runs it as root, isolated."""

import argparse
import pathlib
import resource
import sys
import tempfile
import threading
import time

from lib import attack_waves, conf, daemon, footprint, hostile
from lib.topology import ORIGIN4, ORIGIN6, Topology

import besieged
import datagrams
import deaths
import kills
import sessions
from changes import HEADER_TIMEOUT, Changes, usual_listeners
from world import World

# How many clients there are of each kind, and the seconds between two sessions of one of them:
# all together some 150 sessions a second.
LOAD = (
    (sessions.Short, 8, 0.08),
    (sessions.Long, 30, 1),
    (sessions.Bulk, 2, 1.5),
    (sessions.HalfClosedByClient, 2, 0.3),
    (sessions.HalfClosedByTarget, 2, 0.3),
    (sessions.ResetByClient, 2, 0.3),
    (sessions.ResetByTarget, 2, 0.3),
    (sessions.SlowReader, 3, 0.5),
    (sessions.SlowSender, 4, 0.5),
    (sessions.Stranger, 1, 0.3),
    (sessions.Extra, 3, 0.2),
    (datagrams.Datagrams, 9, 0.2),
)
HOSTILE_RATE = 20       # a second
HOSTILE_PATIENCE = 3 * HEADER_TIMEOUT
ATTACK_RATE = 500       # a second
PROGRESS_EVERY = 10     # seconds
RELOAD_EVERY, KILL_EVERY, UPGRADE_EVERY = 15, 50, 60
HUNG = 120              # seconds after which a session that has not ended is a failure
# An allocator keeps what the busiest moment took, by chance: of a worker the sessions, of the
# supervisor the generations that drain.
WORKER_GROWTH, SUPERVISOR_GROWTH = 512 << 10, 128 << 10
WARM_RELOADS = 20  # times every kind of them


class Soak:
    """
    Four phases, each of which ends at rest. Upgrades first; then only reloads and kills, for one
    supervisor to be compared with itself; then neither, for workers to be.
    """

    def __init__(self, minutes, directory):
        self.seconds = 60 * minutes
        self.minutes = minutes
        self.world = World(directory, usual_listeners())
        self.ledger = self.world.ledger
        self.changes = Changes(self.world)
        self.hostile = {name: {} for name in hostile.KINDS}
        self._told = time.monotonic()
        self._seconds_done = 0  # without the rests
        self._phase = ""

    def run(self):
        """Returns whether all was well; what it waited for in vain ends it, with a report."""
        try:
            before, after = self._run_phases()
        except AssertionError as error:
            self.ledger.note(str(error))
            before, after = [], []
        return self._report(before, after)

    def _run_phases(self):
        """Returns the figures to be compared."""
        self._run_phase("reloads, kills and upgrades", 0.25,
                        [(RELOAD_EVERY, self.changes.reload), (KILL_EVERY, self.changes.kill),
                         (UPGRADE_EVERY, self.changes.upgrade)])
        for _ in range(WARM_RELOADS):
            self.changes.reload_in_every_way()
        supervisor = self.world.figures_when_idle()[:1]
        self._run_phase("reloads and kills", 0.35,
                        [(RELOAD_EVERY, self.changes.reload), (KILL_EVERY, self.changes.kill)])
        self.changes.be_usual()
        self.world.figures_when_idle()
        self._run_phase("warm-up", 0.1, [], factor=4)
        before = self.world.figures_when_idle()
        self._run_phase("steady", 0.3, [])
        after = self.world.figures_when_idle()
        return supervisor + before[1:], after

    # --- a phase

    def _run_phase(self, name, part, actions, factor=1):
        """factor: so many times more hostile connections than usual."""
        self._phase = name
        began, end = time.monotonic(), time.monotonic() + part * self.seconds
        self.world.over.clear()
        # In a short soak too each of them comes once, and not together.
        due = [[time.monotonic() + min(every, part * self.seconds * number / (1 + len(actions))),
                every, act] for number, (every, act) in enumerate(actions, 1)]
        attack = hostile.Attack(self.world.net.lb, (ORIGIN4, ORIGIN6), conf.PORT,
                                rate=HOSTILE_RATE * factor, patience=HOSTILE_PATIENCE)
        clients = [threading.Thread(target=self._be_client, args=(kind, pause, number / count),
                                    daemon=True)
                   for kind, count, pause in LOAD for number in range(count)]
        for client in clients:
            client.start()
        while (now := time.monotonic()) < end:
            for each in due:
                if each[0] <= now:
                    self._act(each[2])
                    each[0] += each[1]
            self._tell_progress(now - began)
            self.world.over.wait(0.1)
        self._seconds_done += now - began
        self._end(clients, attack)

    def _act(self, act):
        try:
            act()
        except AssertionError as error:
            self.ledger.note(f"{act.__name__}: {error}")

    def _be_client(self, kind, pause, part):
        over = self.world.over
        over.wait(part * pause)
        while not over.is_set():
            if kind is not sessions.Extra or self.world.extra % 2:
                self.world.run_session(kind)
            over.wait(pause)

    def _end(self, clients, attack):
        self.world.over.set()
        attack.stop()
        deadline = time.monotonic() + HUNG
        for client in clients:
            client.join(max(0, deadline - time.monotonic()))
        hung = sum(client.is_alive() for client in clients)
        if hung:
            self.ledger.note(f"{hung} clients have sessions that do not end")
        outcomes = attack.outcomes()
        for text in hostile.failures(outcomes):
            self.ledger.note(text)
        for name, ended in outcomes.items():
            for outcome, number in ended.items():
                self.hostile[name][outcome] = self.hostile[name].get(outcome, 0) + number

    def _tell_progress(self, seconds):
        now = time.monotonic()
        if now - self._told < PROGRESS_EVERY:
            return
        self._told = now
        print(f"{_clock(self._seconds_done + seconds)} of {_clock(self.seconds)}  {self.ledger.total()} "
              f"sessions, {len(self.ledger.failures)} failures, {self.changes.reloads} reloads, "
              f"{self.changes.kills} kills, {self.changes.upgrades} upgrades ({self._phase})",
              flush=True)

    # --- the end

    def _report(self, before, after):
        for line in self.changes.unexpected():
            self.ledger.note(f"the log says: {line}")
        grown = (footprint.growth(before[:1], after[:1], SUPERVISOR_GROWTH)
                 + footprint.growth(before[1:], after[1:], WORKER_GROWTH))
        asked_back = self.world.resets_asked_back()
        if self.ledger.late > asked_back:
            self.ledger.note(f"{self.ledger.late} resets were late, {asked_back} by the kernel's doing")
        for old, new in zip(before, after):
            if old.pid != new.pid:
                self.ledger.note(f"{new.name} is process {new.pid}, it was {old.pid}")
        print("\nsessions             seen through   cut by a kill or with their listener")
        for kind, _, _ in LOAD:
            name = kind.__name__
            print(f"  {name:18} {self.ledger.done[name]:12} {self.ledger.cut[name]:12}")
        print("hostile connections")
        for name, ended in self.hostile.items():
            print(f"  {name:18} {sum(ended.values()):12}: {attack_waves.listed(ended)}")
        print(f"{self.changes.reloads} reloads, {self.changes.upgrades} upgrades, "
              f"{self.changes.kills} workers killed, with "
              f"{self.changes.sessions_killed} ends of sessions; {self.ledger.late} resets noticed by "
              f"keepalive (kernels did not act on {asked_back} at once); {self.ledger.lost} datagrams "
              "lost with a killed worker")
        print("at rest after the first phases", *before, "at rest at the end", *after, sep="\n")
        show("failures", self.ledger.failures)
        show("growth", grown)
        total = self.ledger.total() + hostile.total(self.hostile)
        print(f"soak: {self.minutes:g} min, {total} sessions, {len(self.ledger.failures)} failures, "
              f"{len(grown)} growth")
        return not self.ledger.failures and not grown

    def close(self):
        self.world.close()


def show(title, lines, most=10):
    if lines:
        print(f"{title}:")
    for line in lines[:most]:
        print(f"  {line}")
    if len(lines) > most:
        print(f"  ... and {len(lines) - most} more")


def _clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def run_soak(minutes, directory):
    soak = Soak(minutes, directory)
    try:
        return soak.run()
    finally:
        soak.close()


def run_attack(count, directory):
    """Only hostile connections, and good clients among them."""
    net = Topology()
    net.return_path_loopback()
    path = conf.write(directory, [conf.listener(**attack_waves.LISTENER)], workers=attack_waves.WORKERS)
    gateway = daemon.Daemon(net.origin, ["-c", path], directory, env=footprint.COMPACT_HEAP)
    try:
        gateway.wait_listening(*conf.LISTEN)
        failures = attack_waves.run(net, gateway, count, ATTACK_RATE)
    finally:
        gateway.close()
        net.close()
    grown = [text for text in failures if text.startswith(attack_waves.GROWN)]
    show("failures and growth", failures)
    print(f"soak: {count} hostile connections, {len(failures) - len(grown)} failures, "
          f"{len(grown)} growth")
    return not failures


def run_siege(count, directory):
    failures = besieged.run(count, directory)
    show("failures and growth", failures)
    print(f"soak: {count} hostile clients of the sockets for operators, {len(failures)} failures "
          "and growth")
    return not failures


def run_kills(count, directory):
    failures = kills.run(count, directory)
    show("failures", failures)
    print(f"soak: {count} workers killed while they counted, {len(failures)} failures")
    return not failures


def run_deaths(count, directory):
    failures = deaths.run(count, directory)
    show("failures", failures)
    print(f"soak: {count} deaths of supervisors and workers, {len(failures)} failures")
    return not failures


def main():
    parser = argparse.ArgumentParser(prog="tools/soak", description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=30,
                        help="how long sessions are made (%(default)g)")
    parser.add_argument("--hostile", metavar="N", type=int,
                        help="only N hostile connections, and good clients among them")
    parser.add_argument("--besieged", metavar="N", type=int,
                        help="only N hostile clients of metrics and control socket, and good "
                        "sessions meanwhile")
    parser.add_argument("--kills", metavar="N", type=int,
                        help="only N kills of workers while they count sessions")
    parser.add_argument("--deaths", metavar="N", type=int,
                        help="only N kills of supervisors and workers, in reloads and upgrades")
    args = parser.parse_args()
    if args.minutes <= 0 or any(
            number is not None and number < 1 for number in (args.besieged, args.kills, args.deaths)) or (args.hostile is not None and args.hostile < 100):
        parser.error("minutes are more than none, hostile connections 100 at least, kills 1")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="mmproxy-soak-") as name:
        directory = pathlib.Path(name)
        directory.chmod(0o1777)
        is_well = (run_attack(args.hostile, directory) if args.hostile is not None
                   else run_siege(args.besieged, directory) if args.besieged is not None
                   else run_kills(args.kills, directory) if args.kills is not None
                   else run_deaths(args.deaths, directory) if args.deaths is not None
                   else run_soak(args.minutes, directory))
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
