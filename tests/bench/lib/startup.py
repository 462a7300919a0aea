# SPDX-License-Identifier: BSD-2-Clause
"""How long mmproxy takes to start and to reload: until it tells the service manager READY."""

import contextlib
import pathlib
import signal
import socket
import time

from lib import host
from lib.gateways import LOAD_BALANCERS
from lib.run import running, stage


def many_prefixes(count):
    """That many, none of which another contains, and in the midst of them the load balancers'."""
    start = 11 << 24  # 11.0.0.0/28, 11.0.0.32/28, ...: every other one, so nothing can be merged
    prefixes = [f"{n >> 24}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}/28"
                for n in range(start, start + 32 * (count - 1), 32)]
    prefixes.insert(count // 2, LOAD_BALANCERS)
    return tuple(prefixes)


class Manager:
    """A service manager's socket."""

    def __init__(self, path):
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        pathlib.Path(self.path).chmod(0o777)
        self._socket.settimeout(host.DEADLINE)

    def wait_ready(self, process):
        try:
            while b"READY=1" not in self._socket.recv(4096).split(b"\n"):
                pass
        except TimeoutError:
            raise host.Failure(f"not ready: {process.said()[-500:]}") from None

    def close(self):
        self._socket.close()


def measure(gateway, **options):
    """
    Returns milliseconds: start and its processor time, a reload that changes every listener, one
    that changes nothing; and bytes at the end: of the supervisor, of a worker, and in the kernel.
    """
    with stage(**options) as setup:
        kernel = host.settled_slab_bytes()
        with contextlib.closing(Manager(setup.directory / "notify")) as manager:
            setup.env["NOTIFY_SOCKET"] = manager.path
            command = gateway.command(setup)
            began = time.monotonic()
            process = host.Process(command, setup.directory / "mmproxy.log", setup.env)
            with running(process):
                manager.wait_ready(process)
                figures = {"start": (time.monotonic() - began) * 1e3,
                           "cpu": host.cpu_seconds(host.tree(process.pid)) * 1e3}
                gateway.configure(setup, connect_timeout=4)
                figures["reload"] = _reload(process, manager)
                figures["reload_same"] = _reload(process, manager)
                host.wait(lambda: "nothing has changed" in process.said(), process.said)
                if "reloaded: generation 2 serves" not in process.said():
                    raise host.Failure(process.said()[-500:])
                return figures | _memory(gateway, process, kernel)


def _memory(gateway, process, kernel):
    """When the workers of the first generation have gone."""
    host.wait(lambda: len(host.tree(process.pid)) == gateway.processes(), process.said)
    supervisor, *workers = host.tree(process.pid)
    return {"supervisor": host.pss_bytes([supervisor]),
            "worker": host.pss_bytes(workers) / len(workers),
            "kernel": host.settled_slab_bytes() - kernel}


def _reload(process, manager):
    began = time.monotonic()
    process.popen.send_signal(signal.SIGHUP)
    manager.wait_ready(process)
    return (time.monotonic() - began) * 1e3
