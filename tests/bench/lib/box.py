# SPDX-License-Identifier: BSD-2-Clause
"""A network namespace behind a bridge, as a container's is, with the target in it."""

import os
import subprocess

from lib import host

BRIDGE, ADDRESS, PREFIX = "172.18.0.1", "172.18.0.2", 24

# {box}: a process in the namespace.
OUTSIDE = f"""\
link add br0 type bridge
link add box0 type veth peer name eth0 netns {{box}}
link set box0 master br0 up
address add {BRIDGE}/{PREFIX} dev br0
link set br0 up
"""
INSIDE = f"""\
link set lo up
address add {ADDRESS}/{PREFIX} dev eth0
link set eth0 up
route add default via {BRIDGE}
"""


class BoxedTarget(host.Process):
    """The target in a box that goes with it; port: where it listens."""

    def __init__(self, program, directory, port):
        self._box = host.Process(["unshare", "--net", "sleep", "infinity"], directory / "box.log")
        own = os.stat("/proc/thread-self/ns/net").st_ino
        host.wait(lambda: os.stat(f"/proc/{self._box.pid}/ns/net").st_ino != own, "the box is there")
        host.run_ip(OUTSIDE.format(box=self._box.pid))
        enter = ["nsenter", f"--net=/proc/{self._box.pid}/ns/net", "--"]
        host.run_ip(INSIDE, enter)
        if host.wanted_congestion:
            subprocess.run([*enter, "sysctl", "-qw",
                            f"net.ipv4.tcp_congestion_control={host.wanted_congestion}"], check=True)
        super().__init__([*enter, program, f"{ADDRESS}:{port}"], directory / "target.log")
        host.wait(lambda: self.expect_running() or host.is_listening(port, self._box.pid),
                  "the target listens")

    def stop(self):
        super().stop()
        self._box.stop()
