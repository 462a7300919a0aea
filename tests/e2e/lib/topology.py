# SPDX-License-Identifier: BSD-2-Clause
"""
The network of a test: client — load balancer — origin.

The origin runs mmproxy and the services. Most tests play the load balancer themselves and
need no client host; its addresses exist only in headers then.
"""

from lib import netns

# The link between load balancer and origin; .3 is a host that no subnets file lets in.
LB4, ORIGIN4, STRANGER4 = "10.99.0.1", "10.99.0.2", "10.99.0.3"
LB6, ORIGIN6, STRANGER6 = "fd99::1", "fd99::2", "fd99::3"
BROADCAST4 = "10.99.0.255"

# Real clients, and the load balancer's address on their side.
CLIENT4, CLIENT6 = "198.51.100.7", "2001:db8::7"
FRONT4, FRONT6 = "198.51.100.1", "2001:db8::1"

LB_OF = {4: LB4, 6: LB6}
ORIGIN_OF = {4: ORIGIN4, 6: ORIGIN6}
CLIENT_OF = {4: CLIENT4, 6: CLIENT6}
FRONT_OF = {4: FRONT4, 6: FRONT6}
STRANGER_OF = {4: STRANGER4, 6: STRANGER6}
LOOPBACK_OF = {4: "127.0.0.1", 6: "::1"}

LOOPBACK_RULES = (
    "rule add from 127.0.0.0/8 iif lo lookup 100",
    "route add local 0.0.0.0/0 dev lo table 100",
    "-6 rule add from ::1/128 iif lo lookup 100",
    "-6 route add local ::/0 dev lo table 100",
)
MARK_RULES = (
    "rule add fwmark 123 lookup 100",
    "route add local 0.0.0.0/0 dev lo table 100",
    "-6 rule add fwmark 123 lookup 100",
    "-6 route add local ::/0 dev lo table 100",
)
MARK_SYSCTLS = ("net.ipv4.tcp_fwmark_accept", "net.ipv4.fwmark_reflect",
                "net.ipv6.fwmark_reflect")


class Topology:
    """Namespaces lb and origin, and client where it is asked for."""

    def __init__(self, with_client=False):
        self.lb = netns.Namespace()
        self.origin = netns.Namespace()
        self.client = netns.Namespace() if with_client else None
        self._join_origin()
        if self.client:
            self._join_client()

    def _join_origin(self):
        netns.link(self.lb, "back0", self.origin, "eth0")
        self.lb.ip(
            "link set lo up",
            f"address add {LB4}/24 broadcast + dev back0",
            f"address add {STRANGER4}/24 broadcast + dev back0",
            f"address add {LB6}/64 dev back0 nodad",
            # Not preferred: the kernel would take it as the source otherwise.
            f"address add {STRANGER6}/64 dev back0 nodad preferred_lft 0",
            "link set back0 addrgenmode none up",
        )
        self.origin.ip(
            "link set lo up",
            f"address add {ORIGIN4}/24 broadcast + dev eth0",
            f"address add {ORIGIN6}/64 dev eth0 nodad",
            "link set eth0 addrgenmode none up",
            f"route add default via {LB4}",
            f"-6 route add default via {LB6}",
        )
        netns.wait_link(self.lb, "back0")
        netns.wait_link(self.origin, "eth0")

    def _join_client(self):
        netns.link(self.lb, "front0", self.client, "eth0")
        self.lb.ip(
            f"address add {FRONT4}/24 dev front0",
            f"address add {FRONT6}/64 dev front0 nodad",
            "link set front0 addrgenmode none up",
        )
        self.client.ip(
            "link set lo up",
            f"address add {CLIENT4}/24 dev eth0",
            f"address add {CLIENT6}/64 dev eth0 nodad",
            "link set eth0 addrgenmode none up",
        )
        netns.wait_link(self.lb, "front0")
        netns.wait_link(self.client, "eth0")

    def return_path_loopback(self):
        self.origin.ip(*LOOPBACK_RULES)

    def return_path_fwmark(self):
        self.origin.ip(*MARK_RULES)
        for key in MARK_SYSCTLS:
            self.origin.sysctl(key, 1)

    def return_path_connmark(self):
        """The return path of the original, as its documentation has it."""
        self.origin.ip(*MARK_RULES)
        self.origin.sysctl("net.ipv4.conf.eth0.route_localnet", 1)
        for tool in ("iptables", "ip6tables"):
            comment = ("-m", "comment", "--comment", "mmproxy", "-j", "CONNMARK")
            self.origin.run(tool, "-t", "mangle", "-I", "PREROUTING",
                            "-m", "mark", "--mark", "123", *comment, "--save-mark")
            self.origin.run(tool, "-t", "mangle", "-I", "OUTPUT",
                            "-m", "connmark", "--mark", "123", *comment, "--restore-mark")

    def close(self):
        for namespace in (self.client, self.lb, self.origin):
            if namespace:
                namespace.close()

    def is_read(self, conn):
        """Has the gateway read everything that this connection to it sent?"""
        lines = self.origin.ss("-tn", "dst", f"{_bracketed(conn.address)}:{conn.port}")
        return bool(lines) and all(line.split()[1] == "0" for line in lines)


def _bracketed(address):
    return f"[{address}]" if ":" in address else address
