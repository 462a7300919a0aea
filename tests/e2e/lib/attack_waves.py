# SPDX-License-Identifier: BSD-2-Clause
"""
Good clients of a gateway that the same load balancer's hostile connections attack: are they
unharmed, and how long do they wait?
"""

import resource
import statistics
import time

from lib import conf, footprint, hostile
from lib.chatter import Chatter
from lib.target import EchoTarget
from lib.topology import LOOPBACK_OF, ORIGIN4, ORIGIN6
from lib.wait import DEADLINE, until

GOOD_CLIENTS = 50
GOOD_PATIENCE = 0.2  # a good client that is slower may be taken for a hostile one
PAUSE = 0.2  # between a good client's sessions: they are there, they are no load test
WORKERS = 2
WAVES, MOST_WAVES = 2, 6
GROWN = "more with every wave: "
# The listener that is attacked. What never reads is ended too, or it would never be over.
LISTENER = {"header_timeout": 1, "idle_timeout": 2, "max_pending": 150}
PATIENCE = DEADLINE  # seconds after which a hostile connection should have been ended, by far


def run(net, gateway, count, rate):
    """
    count hostile connections in waves, and further waves until one has left nothing: a worker's
    memory may reach a new height, by chance, and some of that is kept; but what leaks grows with
    every wave. Returns the failures; tells of every wave.
    """
    services, failures = echo_services(net.origin), []
    try:
        after = footprint.take(gateway.pid, gateway.workers())
        for number in range(1, MOST_WAVES + 1):
            wave = Wave(net, gateway, count // WAVES, rate)
            before, after = after, footprint.take(gateway.pid, gateway.workers())
            print(f"\nwave {number}: {wave}", *after, sep="\n", flush=True)
            failures += wave.failures
            grown = footprint.growth(before, after)
            if failures or (number >= WAVES and not grown):
                break
    finally:
        for service in services:
            service.close()
    return failures + [f"{GROWN}{each}" for each in grown]


def echo_services(namespace):
    return [EchoTarget(namespace, LOOPBACK_OF[version], conf.SERVICE_PORT) for version in (4, 6)]


class Wave:
    """What came of it. failures has what should not have."""

    def __init__(self, net, gateway, count, rate):
        _want_descriptors()
        # Many connections from few addresses: more ports for them than the usual half.
        net.lb.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
        chatter = Chatter(net.lb, ORIGIN4, [conf.PORT], count=GOOD_CLIENTS, pause=PAUSE,
                          patience=GOOD_PATIENCE)
        try:
            until(lambda: chatter.sessions >= count // 4 or chatter.failures,
                  "good clients to be served alone")
            self.alone = list(chatter.first_answers)
            lines, began = len(gateway.lines), time.monotonic()
            attack = hostile.Attack(net.lb, (ORIGIN4, ORIGIN6), conf.PORT, count=count, rate=rate,
                                    patience=PATIENCE)
            self.outcomes = attack.outcomes()
            self.under_attack = chatter.first_answers[len(self.alone):]
        finally:
            self.failures = chatter.stop()
        self.seconds = time.monotonic() - began
        self.sessions, self.slow = chatter.sessions, chatter.slow
        self.failures = self.failures + hostile.failures(self.outcomes)
        footprint.wait_idle(net.origin)
        self.lines = sum(line.startswith("[?]") for line in gateway.lines[lines:])
        if self.lines > self._lines_allowed():
            self.failures.append(f"{self.lines} log lines about hostile connections, more than "
                                 f"{self._lines_allowed():.0f}")

    def _lines_allowed(self):
        """For each worker and cause twenty at once, two a second, and how many were held back."""
        return WORKERS * 4 * (20 + 2 * self.seconds + 2 + self.seconds / 10)

    def __str__(self):
        alone, attacked = p99(self.alone), p99(self.under_attack)
        kinds = "\n".join(f"  {name:18} {sum(ended.values()):6}: {listed(ended)}"
                          for name, ended in self.outcomes.items())
        return (f"{hostile.total(self.outcomes)} hostile connections in {self.seconds:.1f} s\n"
                f"{kinds}\n"
                f"{GOOD_CLIENTS} good clients, {self.sessions} sessions, {self.slow} were slow, "
                f"{len(self.failures)} failures; from connect to the first answer\n"
                f"  alone              p50 {_ms(statistics.median(self.alone))}, p99 {_ms(alone)}"
                f" ({len(self.alone)} sessions)\n"
                f"  under attack       p50 {_ms(statistics.median(self.under_attack))}, "
                f"p99 {_ms(attacked)} ({len(self.under_attack)} sessions)\n"
                f"  factor             {attacked / alone:.1f}\n"
                f"{self.lines} log lines about them")


def p99(values):
    return statistics.quantiles(values, n=100)[98]


def _ms(seconds):
    return f"{1000 * seconds:.1f} ms"


def listed(ended):
    return ", ".join(f"{number} {outcome}" for outcome, number in sorted(ended.items()))


def _want_descriptors():
    """For services with a hostile connection's worth of them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
