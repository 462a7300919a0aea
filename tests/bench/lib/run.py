# SPDX-License-Identifier: BSD-2-Clause
"""One run: gateway, target and client started anew in a network of their own, and measured."""

import contextlib
import json
import pathlib
import subprocess
import tempfile

from lib import calls, host
from lib.gateways import Setup, scrape

cpus_of_gateway = None  # None: those that all have


@contextlib.contextmanager
def stage(**setup):
    """A Setup in a new network and a new directory, gone with everything in it afterwards."""
    host.enter_new_network()
    with tempfile.TemporaryDirectory(prefix="mmproxy-bench-") as directory:
        path = pathlib.Path(directory)
        path.chmod(0o755)
        yield Setup(path, **setup)


@contextlib.contextmanager
def running(process):
    try:
        yield process
    finally:
        if process:
            process.stop()


class Client:
    """The load generator: it says when it is ready, and works when it is told to."""

    def __init__(self, tools, gateway, setup, work, **options):
        arguments = []
        for name, value in options.items():
            arguments.append(f"--{name.replace('_', '-')}")
            if value is not True:
                arguments.append(str(value))
        if gateway.expect_port:
            arguments.append("--expect-port")
        self.process = host.Process(
            [tools / "bench_client", "--to", gateway.to(setup), "--header", gateway.header,
             "--work", work, *arguments],
            setup.directory / "client.log", stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def wait_ready(self):
        self._line()

    def work(self):
        """Returns the client's figures."""
        self.process.popen.stdin.write(b"go\n")
        self.process.popen.stdin.flush()
        return json.loads(self._line())

    def _line(self):
        line = self.process.popen.stdout.readline()
        if not line:
            self.process.popen.wait()
            raise host.Failure(self.process.said() or "the client has ended without a word")
        return line

    def stop(self):
        self.process.popen.stdin.close()
        self.process.stop()
        self.process.popen.stdout.close()


@contextlib.contextmanager
def session(tools, gateway, setup, work, **options):
    """Yields (process of the gateway or None, target, client), all ready."""
    with running(gateway.start_target(tools, setup)) as target, running(gateway.start(setup)) as process:
        if process and cpus_of_gateway:
            host.run_on(pids_of(process), cpus_of_gateway)
        with running(Client(tools, gateway, setup, work, **options)) as client:
            try:
                client.wait_ready()
                yield process, target, client
                target.expect_running()
            except host.Failure as failure:
                if not target.is_running() and target.said():
                    raise host.Failure(f"target: {target.said()}") from failure
                raise


def pids_of(process):
    return host.tree(process.pid) if process else []


def timed(tools, gateway, work, setup, **options):
    """Runs one work for a time. Returns the client's figures, and cpu and foreign in seconds."""
    with stage(**setup) as place, session(tools, gateway, place, work, **options) as ready:
        process, target, client = ready
        pids = pids_of(process)
        load = [target.pid, client.process.pid]
        busy, cpu, own = host.busy_seconds(), host.cpu_seconds(pids), host.cpu_seconds(load)
        segments = host.segments_sent()
        figures = client.work()
        figures["segments"] = host.segments_sent() - segments
        figures["cpu"] = host.cpu_seconds(pids) - cpu
        figures["load_cpu"] = host.cpu_seconds(load) - own
        busy = figures["all_cpu"] = host.busy_seconds() - busy
        figures["foreign"] = max(0.0, busy - figures["cpu"] - figures["load_cpu"])
        if set(pids_of(process)) != set(pids):
            raise host.Failure(f"{gateway.name}: processes came or went: {process.said()[-300:]}")
        return figures


def counted(tools, gateway, work, **options):
    """Runs one work for a time. Returns {system call: times for each operation} of the gateway."""
    with stage() as place, session(tools, gateway, place, work, **options) as ready:
        process, _, client = ready
        counter = calls.Counter(pids_of(process), place.directory)
        figures = client.work()
        return {name: times / figures["operations"] for name, times in counter.stop().items()}


def idle(tools, gateway, sessions, size):
    """
    Holds sessions and lets size bytes flow each way through each. Returns what they cost
    before and after: bytes in user space and in the kernel, and descriptors, all in total.
    """
    with stage() as place:
        with running(gateway.start_target(tools, place)), running(gateway.start(place)) as process:
            pids = pids_of(process)
            base = _memory(pids)
            with running(Client(tools, gateway, place, "hold", connections=sessions,
                                bytes=size)) as client:
                client.wait_ready()
                before = _memory(pids)
                client.work()
                after = _memory(pids)
    return {f"{when}_{key}": sample[key] - base[key]
            for when, sample in (("before", before), ("after", after)) for key in base}


def silent(tools, gateway, work, sessions, **setup):
    """What sessions cost that are opened and then silent: as _memory, in total."""
    with stage(**setup) as place:
        with running(gateway.start_target(tools, place)), running(gateway.start(place)) as process:
            pids = pids_of(process)
            base = _memory(pids)
            with running(Client(tools, gateway, place, work, connections=sessions)) as client:
                client.wait_ready()
                return {key: value - base[key] for key, value in _memory(pids).items()}


def scraped(gateway, listeners, times):
    """Returns the processor time of the gateway for so many reads of its metrics, and one's bytes."""
    with stage(listeners=listeners) as place, running(gateway.start(place)) as process:
        size, pids = scrape(), pids_of(process)
        cpu = host.cpu_seconds(pids)
        for _ in range(times):
            scrape()
        return host.cpu_seconds(pids) - cpu, size


def _memory(pids):
    return {"kernel": host.settled_slab_bytes(), "user": host.pss_bytes(pids),
            "descriptors": host.descriptors(pids)}
