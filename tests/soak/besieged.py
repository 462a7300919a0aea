# SPDX-License-Identifier: BSD-2-Clause
"""
Good sessions while hostile clients besiege the exporter's port and the control socket: sessions are
unharmed, and no process grows. In the end workers and exporters die under siege.
"""

import json
import pathlib
import statistics
import subprocess
import sys

from lib import attack_waves, conf, exporter, footprint, proc
from lib.attack_waves import GROWN, p99
from lib.chatter import Chatter
from lib.ctl import Ctl
from lib.daemon import Daemon
from lib.topology import ORIGIN4, Topology
from lib.wait import until

PROGRAM = pathlib.Path(__file__).resolve().parents[1] / "e2e/lib/besiege.py"
RATE = 200  # a second
CLIENTS, PAUSE = 20, 0.05
ALONE = 4000  # sessions without hostile clients, to compare with
WAVES, MOST_WAVES = 3, 6


def _processes(gateway):
    return [*footprint.take(gateway.pid, gateway.workers()),
            *(footprint.Figures("exporter", pid) for pid in gateway.exporters())]


def _siege(net, directory, count):
    return subprocess.Popen(net.origin.argv(
        sys.executable, "-B", PROGRAM, f"--http={exporter.ADDRESS}",
        f"--control={directory / 'control.sock'}", f"--rate={RATE}", f"--count={count}"),
        stdout=subprocess.PIPE, text=True)


def _ms(seconds):
    return f"{1000 * seconds:.2f} ms"


def _tell(number, outcomes, alone, besieged):
    print(f"\nwave {number}: {sum(sum(each.values()) for each in outcomes.values())} hostile clients")
    for name, ended in outcomes.items():
        print(f"  {name:24} {attack_waves.listed(ended)}")
    print("  good sessions, from connect to the first answer:")
    for name, values in (("alone", alone), ("besieged", besieged)):
        print(f"    {name:9} p50 {_ms(statistics.median(values))}, p99 {_ms(p99(values))} "
              f"({len(values)} sessions)", flush=True)


def _kill_some(gateway):
    """One of each kind."""
    exporters, workers = gateway.exporters(), gateway.workers()
    for pid in (exporters[0], workers[0]):
        proc.kill(pid)
    until(lambda: (now := gateway.exporters()) and now != exporters
          and len(found := gateway.workers()) == len(workers) and workers[0] not in found,
          "another exporter and another worker")


def _is_well(net, ctl):
    return (ctl.run("status").returncode == 0
            and exporter.get(net.origin, "/healthz")[0] == 200)


def _wave(net, gateway, ctl, number, count):
    """Returns what went wrong."""
    chatter = Chatter(net.lb, ORIGIN4, [conf.PORT], count=CLIENTS, pause=PAUSE, may_break=True)
    until(lambda: chatter.sessions >= ALONE or chatter.failures, "good clients to be served alone")
    alone, broken = list(chatter.first_answers), chatter.broken
    siege = _siege(net, ctl.socket.parent, count)
    text, _ = siege.communicate()
    besieged = chatter.first_answers[len(alone):]
    failures = [f"{chatter.broken - broken} good sessions were cut off"] if chatter.broken > broken else []
    failures += [] if siege.returncode == 0 else [f"besiege.py: exit status {siege.returncode}"]
    failures += chatter.stop()
    footprint.wait_idle(net.origin)
    until(lambda: _is_well(net, ctl), "both sockets to answer")
    _tell(number, json.loads(text), alone, besieged)
    return failures


def run(count, directory):
    """count hostile clients in waves, until one has left nothing. Returns what went wrong."""
    net = Topology()
    net.return_path_loopback()
    path = conf.write(directory, [conf.listener()], workers=2, metrics=exporter.ADDRESS)
    gateway = Daemon(net.origin, ["-c", path], directory, env=footprint.COMPACT_HEAP)
    gateway.may_lose_workers = True
    ctl, failures, grown = Ctl(directory), [], []
    services = attack_waves.echo_services(net.origin)
    try:
        gateway.wait_listening(*conf.LISTEN)
        until(lambda: _is_well(net, ctl), "both sockets to answer")
        after = _processes(gateway)
        for number in range(1, MOST_WAVES + 1):
            failures += _wave(net, gateway, ctl, number, count // WAVES)
            before, after = after, _processes(gateway)
            print(*after, sep="\n", flush=True)
            grown = footprint.growth(before, after)
            if failures or (number >= WAVES and not grown):
                break
        siege = _siege(net, directory, count // WAVES)
        while siege.poll() is None:
            _kill_some(gateway)
        siege.communicate()
        until(lambda: _is_well(net, ctl), "both sockets to answer after deaths under siege")
    finally:
        gateway.close()
        for service in services:
            service.close()
        net.close()
    return failures + [f"{GROWN}{each}" for each in grown]
