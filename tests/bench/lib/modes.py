# SPDX-License-Identifier: BSD-2-Clause
"""What is measured: each mode's work, its gateways, and its figures."""

import dataclasses

from lib import run, startup

IDLE_SESSIONS = 9000
IDLE_BYTES = 256 * 1024
ALL = ("direct", "mmproxy", "haproxy", "haproxy-splice", "haproxy-auto", "nginx")


@dataclasses.dataclass(frozen=True)
class Figure:
    key: str
    title: str
    digits: int
    more_is_better: bool = False
    is_compared: bool = True


CPU_GB = Figure("cpu", "gateway CPU s/GB", 3)
CPU_TRIP = Figure("cpu", "gateway CPU s/100 k", 3)
CPU_SESSION = Figure("cpu", "gateway CPU s/10 k", 3)
ALL_GB = Figure("all_cpu", "all CPU s/GB", 3)
ALL_TRIP = Figure("all_cpu", "all CPU s/100 k", 3)
ALL_SESSION = Figure("all_cpu", "all CPU s/10 k", 3)
SEGMENTS = Figure("segments", "TCP segments a session", 1, is_compared=False)
LATENCIES = tuple(Figure(key, f"{title} µs", 0, is_compared=key != "p50")
                  for key, title in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9")))


class Mode:
    """One table. measure() returns {key: value} of one run."""
    gateways = ALL
    is_steady = False  # hardly any noise: --docs takes one round

    def __init__(self, name, title, figures):
        self.name = name
        self.title = title
        self.figures = figures

    def measure(self, bench, gateway):
        raise NotImplementedError

    def finish_round(self, results):
        """results: {name: figures} of one round, to be changed in place."""


class Timed(Mode):
    """A work of the load generator for bench.seconds."""

    def __init__(self, name, title, figures, work, connections, gateways=ALL, beside=0, **setup):
        super().__init__(name, title, figures)
        self.gateways = gateways
        self.work = work
        self.connections = connections
        self.beside = beside
        self.setup = setup
        self.options = {}  # further ones of the client

    def measure(self, bench, gateway):
        raw = run.timed(bench.tools, gateway, self.work, self.setup, connections=self.connections,
                        beside=self.beside, seconds=bench.seconds, warm_up=bench.warm_up,
                        **self.options)
        figures = {f"p{n}": raw[f"p{n}_us"] for n in ("50", "99", "999")}
        figures["foreign"] = raw["foreign"] / raw["seconds"]
        figures.update(self.per_unit(raw))
        if not gateway.is_gateway:
            self.without_gateway(figures)
        return figures

    def per_unit(self, raw):
        raise NotImplementedError

    def without_gateway(self, figures):
        """Takes out what only a gateway can have."""
        del figures["cpu"]


class Bulk(Timed):
    def __init__(self, direction, title, connections, name="", more="",
                 gateways=ALL[:2] + ("mmproxy-managed",) + ALL[2:] + ("go-mmproxy",)):
        super().__init__(f"{direction}-{connections}{name}",
                         f"{title}, {connections} connection{'s' if connections > 1 else ''}{more}",
                         (Figure("rate", "Gbit/s", 1, True), CPU_GB, ALL_GB), direction, connections,
                         gateways)

    def per_unit(self, raw):
        gigabytes = (raw["bytes_up"] + raw["bytes_down"]) / 1e9
        return {"rate": gigabytes * 8 / raw["seconds"], "cpu": raw["cpu"] / gigabytes,
                "all_cpu": raw["all_cpu"] / gigabytes}


class Echo(Timed):
    def __init__(self, connections, name="", title="", gateways=ALL + ("go-mmproxy",), beside=0):
        super().__init__(f"echo-{connections}{name}", f"Ping-pong of 64 bytes, {connections} "
                         f"connection{'s' if connections > 1 else ''}{title}",
                         (Figure("rate", "k trips/s", 1, True), CPU_TRIP, ALL_TRIP, *LATENCIES),
                         "echo", connections, gateways, beside)

    def per_unit(self, raw):
        return {"rate": raw["operations"] / raw["seconds"] / 1e3,
                "cpu": raw["cpu"] / raw["operations"] * 1e5,
                "all_cpu": raw["all_cpu"] / raw["operations"] * 1e5}


class Once(Timed):
    def __init__(self, name, title, gateways, **setup):
        super().__init__(name, title, (Figure("rate", "k sessions/s", 2, True), CPU_SESSION, ALL_SESSION,
                                       *LATENCIES[:2], SEGMENTS), "once", 32, gateways, **setup)

    def per_unit(self, raw):
        return {"rate": raw["operations"] / raw["seconds"] / 1e3,
                "cpu": raw["cpu"] / raw["operations"] * 1e4,
                "all_cpu": raw["all_cpu"] / raw["operations"] * 1e4,
                "segments": raw["segments"] / raw["operations"]}


class Calls(Mode):
    """System calls of a session of "once", counted: hardly any noise, whatever else runs."""
    gateways = ("mmproxy", "mmproxy-port", "haproxy", "nginx", "go-mmproxy")
    is_steady = True
    GROUPS = {"options": ("setsockopt", "getsockopt", "ioctl", "fcntl"),
              "receive": ("recvfrom", "recvmsg", "readv", "read"),
              "send": ("sendto", "sendmsg", "writev", "write"),
              "epoll_ctl": ("epoll_ctl",),
              "epoll_wait": ("epoll_wait", "epoll_pwait"),
              "close, shutdown": ("close", "close_range", "shutdown")}

    def __init__(self):
        super().__init__("calls", "System calls of a session of `once`", (
            Figure("all", "all", 1),
            *(Figure(name, name, 1, is_compared=False) for name in (*self.GROUPS, "others"))))

    def measure(self, bench, gateway):
        raw = run.counted(bench.tools, gateway, "once", connections=32, seconds=bench.seconds,
                          warm_up=0)
        figures = {name: sum(raw.get(call, 0) for call in calls)
                   for name, calls in self.GROUPS.items()}
        figures["others"] = sum(raw.values()) - sum(figures.values())
        return {"all": sum(raw.values()), **figures}


class Idle(Mode):
    is_steady = True

    def __init__(self):
        kib = ("KiB a session", 2)
        super().__init__("idle", f"Memory of {IDLE_SESSIONS:,} idle sessions, before and after "
                         f"{IDLE_BYTES // 1024} KiB each way through each",
                         (Figure("before_user", f"user space before, {kib[0]}", kib[1]),
                          Figure("after_user", f"after, {kib[0]}", kib[1]),
                          Figure("before_kernel", f"kernel before, {kib[0]}", kib[1]),
                          Figure("after_kernel", f"after, {kib[0]}", kib[1]),
                          Figure("after_descriptors", "descriptors a session", 2,
                                 is_compared=False)))

    def measure(self, bench, gateway):
        raw = run.idle(bench.tools, gateway, IDLE_SESSIONS, IDLE_BYTES)
        if not gateway.is_gateway:
            raw = {key: value for key, value in raw.items() if "kernel" in key}
        return {key: value / (1 if key.endswith("descriptors") else 1024) / IDLE_SESSIONS
                for key, value in raw.items()}

    def finish_round(self, results):
        """The kernel's part is the machine's: what direct connections cost is not the gateway's."""
        direct = results.get("direct") or {}
        for name, figures in results.items():
            if name == "direct" or not figures:
                continue
            for key in ("before_kernel", "after_kernel"):
                if key in direct:
                    figures[key] -= direct[key]
                else:
                    del figures[key]


class Scrape(Mode):
    """What a read of /metrics costs the gateway; hardly any noise, whatever else runs."""
    gateways = ("mmproxy-exporting",)
    is_steady = True
    SIZES, TIMES = (1, 100, 1000), 50

    def __init__(self):
        super().__init__("scrape", "A read of `/metrics`", tuple(
            Figure(f"{what}{n}", f"{title}, {n:,} listener{'s' if n > 1 else ''}", digits)
            for n in self.SIZES for what, title, digits in (("cpu", "CPU ms", 2), ("size", "KiB", 0))))

    def measure(self, bench, gateway):
        figures = {}
        for n in self.SIZES:
            cpu, size = run.scraped(gateway, n, self.TIMES)
            figures |= {f"cpu{n}": cpu * 1e3 / self.TIMES, f"size{n}": size / 1024}
        return figures


class Startup(Mode):
    gateways = ("mmproxy",)
    is_steady = True

    def __init__(self, name, title, prefixes=1, **setup):
        super().__init__(name, title, (Figure("start", "start, ms", 1), Figure("cpu", "CPU ms", 1),
                                       Figure("reload", "reload that changes all, ms", 1),
                                       Figure("reload_same", "reload without a change, ms", 1),
                                       Figure("supervisor", "supervisor, KiB", 0),
                                       Figure("worker", "each worker, KiB", 0),
                                       Figure("kernel", "kernel, MiB", 1)))
        self.prefixes = prefixes
        self.setup = setup

    def measure(self, bench, gateway):
        figures = startup.measure(gateway, prefixes=startup.many_prefixes(self.prefixes),
                                  **self.setup)
        scale = {"supervisor": 1 << 10, "worker": 1 << 10, "kernel": 1 << 20}
        return {key: value / scale.get(key, 1) for key, value in figures.items()}


SESSIONS = "Connect, request, close, 32 at a time"
SCRAPED = ("mmproxy", "mmproxy-scraped")
BY_PATH = "by return path, to targets on and off this host"
AWAY = ("mmproxy", "mmproxy-fwmark", "mmproxy-rule", "mmproxy-routed")
WITH_PORT = ALL[:2] + ("mmproxy-port",) + ALL[2:] + ("go-mmproxy",)

MODES = [
    *(Bulk(direction, title, n)
      for direction, title in (("up", "Bulk up"), ("down", "Bulk down"),
                               ("both", "Bulk, both directions"))
      for n in (1, 4, 64)),
    *(Echo(n) for n in (1, 32, 1000)),
    Once("once", SESSIONS, WITH_PORT),
    Calls(),
    Once("once-prefixes", f"{SESSIONS}, 100,000 allowed prefixes", ALL,
         prefixes=startup.many_prefixes(100_000)),
    Once("once-listeners", f"{SESSIONS}, the last of 1,000 listeners", ALL, listeners=1000),
    Once("once-sessions", f"{SESSIONS}, beside {IDLE_SESSIONS:,} idle sessions", ALL,
         beside=IDLE_SESSIONS),
    Echo(32, "-scraped", ", with and without a scrape every second", SCRAPED),
    Once("once-scraped", f"{SESSIONS}, with and without a scrape every second", SCRAPED),
    Scrape(),
    Echo(32, "-listed", f", beside {IDLE_SESSIONS:,} idle sessions that are listed or not",
         ("mmproxy", "mmproxy-listed"), IDLE_SESSIONS),
    Echo(32, "-besieged", ", with and without hostile clients of its other sockets",
         ("mmproxy", "mmproxy-besieged")),
    Bulk("both", "Bulk, both directions", 4, "-away", f", {BY_PATH}", AWAY),
    Echo(32, "-away", f", {BY_PATH}", AWAY),
    Once("once-away", f"{SESSIONS}, {BY_PATH}", AWAY),
    Idle(),
    Startup("startup", "Start and reload, 1 listener"),
    Startup("startup-listeners", "Start and reload, 1,000 listeners", listeners=1000),
    Startup("startup-ports", "Start and reload, 1 listener with 10,000 ports", span=10_000),
    Startup("startup-prefixes", "Start and reload, 100,000 allowed prefixes", prefixes=100_000),
]
