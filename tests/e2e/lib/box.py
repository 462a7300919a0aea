# SPDX-License-Identifier: BSD-2-Clause
"""A machine behind the origin, which is its gateway: a container on a bridge, or a virtual machine."""

from lib import netns
from lib.target import EchoTarget

HOST_OF = {4: "172.18.0.1", 6: "fd18::1"}
BOX_OF = {4: "172.18.0.2", 6: "fd18::2"}


class Box:
    """A namespace whose default route is the origin: behind a bridge, as containers are, or not."""

    def __init__(self, origin, is_bridged):
        self.origin, self.namespace = origin, netns.Namespace()
        self.device = "br0" if is_bridged else "box0"
        netns.link(origin, "box0", self.namespace, "eth0")
        if is_bridged:
            origin.ip("link add br0 type bridge", "link set box0 master br0",
                      "link set br0 addrgenmode none up")
        origin.ip(f"address add {HOST_OF[4]}/24 dev {self.device}",
                  f"address add {HOST_OF[6]}/64 dev {self.device} nodad",
                  # A router asks for its neighbours from this one.
                  f"address add fe80::1/64 dev {self.device} nodad",
                  "link set box0 addrgenmode none up")
        self.namespace.ip("link set lo up",
                          f"address add {BOX_OF[4]}/24 dev eth0",
                          f"address add {BOX_OF[6]}/64 dev eth0 nodad",
                          "link set eth0 addrgenmode none up",
                          f"route add default via {HOST_OF[4]}",
                          f"-6 route add default via {HOST_OF[6]}")
        netns.wait_link(origin, "box0")
        netns.wait_link(origin, self.device)
        netns.wait_link(self.namespace, "eth0")
        origin.sysctl("net.ipv4.ip_forward", 1)
        origin.sysctl("net.ipv6.conf.all.forwarding", 1)
        for name in ("all", self.device):
            origin.sysctl(f"net.ipv4.conf.{name}.rp_filter", 1)
        self.services = {version: EchoTarget(self.namespace, BOX_OF[version], 25)
                         for version in (4, 6)}

    def close(self):
        for service in self.services.values():
            service.close()
        self.namespace.close()
