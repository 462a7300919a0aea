# SPDX-License-Identifier: BSD-2-Clause
"""What is measured over UDP. A gateway of the same name is started for UDP instead of TCP."""

from lib import run
from lib.modes import LATENCIES, Figure, Mode, Timed

IDLE_SESSIONS = 10_000
GATEWAYS = ("direct", "mmproxy", "go-mmproxy")  # of Debian's others, none takes a header over UDP

RATE = Figure("rate", "k trips/s", 1, True)
ARRIVED = Figure("rate", "k datagrams/s", 1, True)
PER_CPU = Figure("per_cpu", "k datagrams/CPU s", 1, True)
LOST = Figure("lost", "lost of a million", 0, is_compared=False)


class Datagrams(Timed):
    """trip: datagrams that the gateway passes on for an operation."""

    def __init__(self, name, title, figures, work, clients, size, trip):
        super().__init__(name, title, figures, work, clients, GATEWAYS, protocol="udp")
        self.options = {"size": size}
        self.trip = trip

    def per_unit(self, raw):
        passed = raw["operations"] * self.trip
        return {"rate": raw["operations"] / raw["seconds"] / 1e3,
                "per_cpu": passed / raw["cpu"] / 1e3 if raw["cpu"] else 0,
                "lost": raw["lost"] / (raw["operations"] + raw["lost"]) * 1e6}

    def without_gateway(self, figures):
        del figures["per_cpu"]


class Echo(Datagrams):
    def __init__(self, size, clients):
        super().__init__(f"udp-echo-{size}-{clients}", f"UDP ping-pong of {size:,} bytes, "
                         f"{clients:,} client{'s' if clients > 1 else ''}",
                         (RATE, PER_CPU, *LATENCIES, LOST), "udp-echo", clients, size, 2)


class Flood(Datagrams):
    def __init__(self, size):
        super().__init__(f"udp-flood-{size}", f"UDP one way, {size:,} bytes, 32 clients",
                         (ARRIVED, PER_CPU, LOST), "udp-flood", 32, size, 1)


class Idle(Mode):
    gateways = GATEWAYS[1:]
    is_steady = True

    def __init__(self):
        super().__init__("udp-idle", f"Memory of {IDLE_SESSIONS:,} idle UDP sessions",
                         (Figure("user", "user space, bytes a session", 0),
                          Figure("descriptors", "descriptors a session", 2, is_compared=False)))

    def measure(self, bench, gateway):
        raw = run.silent(bench.tools, gateway, "udp-hold", IDLE_SESSIONS, protocol="udp")
        return {key: raw[key] / IDLE_SESSIONS for key in ("user", "descriptors")}


MODES = [
    *(Echo(size, clients) for size in (64, 1200) for clients in (1, 32, 1000)),
    Flood(64),
    Flood(1200),
    Idle(),
]
