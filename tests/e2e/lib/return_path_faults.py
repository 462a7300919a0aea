# SPDX-License-Identifier: BSD-2-Clause
"""
The faults that --check names. One table for each kind of host; test_return_path_faults.py makes each
of them, and docs/troubleshooting.md is about them.
"""

import dataclasses

from lib import conf
from lib.topology import LB4, ORIGIN4

PORT = conf.SERVICE_PORT


@dataclasses.dataclass
class Fault:
    """
    How it comes to be, what the report says, and whether its commands mend it. Commands in `inside`
    are for the machine that the target is on.
    """
    inject: tuple = ()
    named: str = ""
    method: str = "fwmark"
    mended: bool = True
    inside: tuple = ()


NFT = "nft add table inet x; nft 'add chain inet x c {{ type {} hook {} priority {}; {} }}'; "
RULE = "nft add rule inet x c "


def nft(rule, kind="filter", hook="input", priority=0, policy=""):
    return NFT.format(kind, hook, priority, policy) + (f"{RULE}'{rule}'" if rule else "true")


LOCAL = {
    "rule missing": Fault(("ip rule del fwmark 123",), r"ip rule add fwmark 123 .*CHECK FAILED"),
    "route missing": Fault(("ip route flush table 100",), r"ip route add local .*CHECK FAILED"),
    "both of IPv6 missing": Fault(("ip -6 rule del fwmark 123", "ip -6 route flush table 100"),
                                  r"ip -6 route add local .*CHECK FAILED"),
    "sysctl off": Fault(("sysctl -w net.ipv4.tcp_fwmark_accept=0",), r"tcp_fwmark_accept=1"),
    "wrong default in its place": Fault(
        ("ip route flush table 100", f"ip route add default via {LB4} table 100"),
        r"a wrong route is in its place: default via"),
    "wrong default before ours": Fault(
        ("ip route flush table 100", f"ip route add default via {LB4} table 100 metric 5",
         "ip route add local 0.0.0.0/0 dev lo table 100 metric 10"),
        r"a wrong route is in its place"),
    "blackhole in its place": Fault(
        ("ip route flush table 100", "ip route add blackhole default table 100"),
        r"a wrong route is in its place: blackhole"),
    "unreachable in its place, IPv6": Fault(
        ("ip -6 route flush table 100", "ip -6 route add unreachable default table 100"),
        r"a wrong route is in its place: unreachable default dev lo table 100 metric 1024"),
    "unicast over lo in its place, IPv6": Fault(
        ("ip -6 route flush table 100", "ip -6 route add default dev lo table 100"),
        r"a wrong route is in its place: default dev lo table 100 metric 1024"),
    "narrower route beside ours": Fault(
        (f"ip route add 198.51.0.0/16 via {LB4} table 100",), r"a wrong route .*198\.51\.0\.0/16"),
    "many narrower routes": Fault(
        tuple(f"ip route add 198.51.{i}.0/24 via {LB4} table 100" for i in range(90, 110)),
        r"a wrong route"),
    "wg-quick in front": Fault(
        ("ip rule add not fwmark 0xca6c lookup 51820", "ip route add default dev eth0 table 51820",
         "ip rule add from all lookup main suppress_prefixlength 0"),
        r"\(not from all fwmark 0xca6c lookup 51820\) comes before it"),
    "the ninth of many rules": Fault(
        (*(f"ip rule add priority {50 + i} to 203.0.{i}.0/24 lookup 52" for i in range(9)),
         "ip rule add priority 70 to 198.51.100.0/24 lookup 53",
         "ip route add default dev eth0 table 53"), r"rule 70 .* comes before it"),
    "halves of the world": Fault(
        ("ip rule add priority 50 from all lookup 53", "ip route add 0.0.0.0/1 dev eth0 table 53",
         "ip route add 128.0.0.0/1 dev eth0 table 53"), r"rule 50 .* comes before it"),
    "a goto over ours": Fault(("ip rule add priority 40 from all goto 32766",),
                              r"\(from all goto 32766\) comes before it"),
    "a rule by port": Fault(
        (f"ip rule add priority 50 ipproto tcp sport {PORT} lookup 53",
         "ip route add default dev eth0 table 53"), rf"sport {PORT} lookup 53\) comes before it"),
    "prohibit, priority 0": Fault(
        ("ip rule add priority 0 fwmark 123 prohibit",), r"rule 0 .*prohibit\) comes before it"),
    "firewall drops foreign sources": Fault(
        (nft("iif lo ip saddr != 127.0.0.0/8 drop"),),
        r"This firewall rule drops its packets: inet x, chain c: .*drop"),
    "firewall rejects foreign sources": Fault(
        (nft(f"iifname lo ip saddr 192.0.0.0/4 tcp dport {PORT} reject with tcp reset"),),
        r"This firewall rule rejects its packets"),
    "firewall rejects the port": Fault(
        (nft(f"tcp dport {{ 80, {PORT} }} reject with tcp reset"),),
        r"refused, although something listens there"),
    "firewall of iptables drops": Fault(
        ("iptables -I INPUT -i lo -s 192.0.2.0/24 -j DROP",), r"This firewall rule drops"),
    "a chain that drops by policy": Fault(
        (nft("iif lo ip saddr 127.0.0.0/8 accept", policy="policy drop;"),),
        r"This firewall chain drops its packets: inet x, chain c: policy drop"),
    "a chain that another jumps to": Fault(
        (nft("", hook="output") + "; nft add chain inet x d; "
         "nft add rule inet x d ip daddr 192.0.2.0/24 counter drop; nft add rule inet x c jump d",),
        r"This firewall rule drops its packets: inet x, chain d"),
    "another mark, output": Fault(
        (nft("ip daddr 192.0.2.0/24 meta mark set 0x5", "route", "output", "-140"),),
        r"This rule changes the mark of its packets"),
    "another mark, prerouting": Fault(
        (nft("iif lo tcp dport 22 meta mark set 0x0", "filter", "prerouting", "-140"),),
        r"This rule changes the mark of its packets"),
    "connmark: notrack on lo": Fault(
        (nft("iif lo notrack", "filter", "prerouting", "-300") + "; "
         "nft 'add chain inet x o { type filter hook output priority -300; }'; "
         "nft add rule inet x o oif lo notrack",),
        r"Return path connmark needs conntrack, and this rule switches it off", "connmark"),
    "two rules of a firewall and its policy": Fault(
        (nft("iif lo ip saddr != 127.0.0.0/8 drop", policy="policy drop;") + "; "
         "nft add rule inet x c ip saddr 192.0.0.0/8 drop; "
         "nft add rule inet x c ip saddr 127.0.0.0/8 accept; "
         "nft add rule inet x c ip6 nexthdr tcp accept",), r"chain c: policy drop"),
    "connmark: no default route": Fault(
        ("ip route del default", "ip route add 192.0.2.0/24 dev eth0"),
        r"there is no IPv4 default route", "connmark", False),
}

# --- UDP, a service on a wildcard address

FLOWS_TABLE = "mmproxy-flows4_123_65"

FLOWS = {
    "flows: table missing": Fault((f"nft delete table inet {FLOWS_TABLE}",),
                                  r"nft 'table inet mmproxy-flows4_123_65 .*CHECK FAILED"),
    "flows: nothing is recorded": Fault(
        (f"nft flush chain inet {FLOWS_TABLE} record",),
        r"table inet mmproxy-flows4_123_65 is there, but it was changed; these commands mend it"),
    "flows: nothing is marked": Fault((f"nft flush chain inet {FLOWS_TABLE} output",),
                                      r"is there, but it was changed"),
    "flows: another mark": Fault(
        (f"nft flush chain inet {FLOWS_TABLE} output",
         f"nft add rule inet {FLOWS_TABLE} output ip daddr . udp dport . udp sport "
         "@flows4_123_65 meta mark set 9"), r"is there, but it was changed"),
    "flows: the table is dormant": Fault(
        (f"nft add table inet {FLOWS_TABLE} '{{ flags dormant; }}'",),
        r"is there, but it was changed"),
    "flows: rule missing": Fault(("ip rule del fwmark 123",),
                                 r"ip rule add fwmark 123 .*CHECK FAILED"),
    "flows: rule of loopback missing": Fault(
        ("ip rule del from 127.0.0.0/8 iif lo",), r"ip rule add from 127.0.0.0/8 .*CHECK FAILED"),
    "flows: route missing": Fault(("ip route flush table 100",),
                                  r"ip route add local .*CHECK FAILED"),
    "flows: blackhole in its place": Fault(
        ("ip route flush table 100", "ip route add blackhole default table 100"),
        r"a wrong route is in its place: blackhole"),
    "flows: a VPN in front": Fault(
        ("ip rule add priority 50 from all lookup 53", "ip route add default dev eth0 table 53"),
        r"rule 50 .* comes before it"),
    "flows: a rule by protocol and port": Fault(
        ("ip rule add priority 50 ipproto udp sport 53 lookup 53",
         "ip route add default dev eth0 table 53"), r"rule 50 .* comes before it"),
    "flows: another program's mark": Fault(
        (nft("udp sport 53 meta mark set 0x5", "route", "output", "-140"),),
        r"This rule changes the mark of its packets"),
    "flows: a firewall for the port": Fault((nft("udp dport 53 drop"),),
                                            r"This firewall rule drops its packets"),
    "flows: a policy": Fault((nft("iif lo ip saddr 127.0.0.0/8 accept", policy="policy drop;"),),
                             r"This firewall chain drops its packets"),
    "flows: clients replaced": Fault(
        (nft("oif lo masquerade", "nat", "postrouting", "srcnat"),),
        r"This rule replaces the client's address by another: inet x, chain c: .*masquerade"),
    "flows: no default route": Fault(
        ("ip route del default",),
        r"Return path flows needs a default route for IPv4, and there is none", mended=False),
}

# --- a target on another machine, whose gateway this host is

ROUTED_TABLE = "mmproxy-172.18.0.2-tcp-25-mark-123"

ROUTED = {
    "routed: table missing": Fault((f"nft delete table inet {ROUTED_TABLE}",),
                                   r"nft 'table inet mmproxy-172.18.0.2-tcp-25.*CHECK FAILED"),
    "routed: table emptied": Fault((f"nft flush chain inet {ROUTED_TABLE} prerouting",),
                                   r"table inet mmproxy-172.18.0.2-tcp-25-mark-123 is there, but"),
    "routed: the table is dormant": Fault(
        (f"nft add table inet {ROUTED_TABLE} '{{ flags dormant; }}'",),
        r"is there, but it was changed"),
    "routed: the rule is for another port": Fault(
        (f"nft flush chain inet {ROUTED_TABLE} prerouting",
         f"nft add rule inet {ROUTED_TABLE} prerouting ip saddr 172.18.0.2 tcp sport 26 "
         "socket transparent 1 meta mark set 123"), r"is there, but it was changed"),
    "routed: rule missing": Fault(("ip rule del fwmark 123",),
                                  r"ip rule add fwmark 123 .*CHECK FAILED"),
    "routed: route missing": Fault(("ip route flush table 100",),
                                   r"ip route add local .*CHECK FAILED"),
    "routed: unreachable in its place": Fault(
        ("ip route flush table 100", "ip route add unreachable default table 100"),
        r"a wrong route is in its place: unreachable"),
    "routed: a VPN in front": Fault(
        ("ip rule add priority 50 from 172.18.0.2 lookup 53",
         "ip route add default dev eth0 table 53"), r"rule 50 .* comes before it"),
    "routed: another program's mark": Fault(
        (nft("iifname br0 tcp sport 25 meta mark set 0x5", "filter", "prerouting", "-140"),),
        r"This rule changes the mark of its packets"),
    "routed: INPUT drops by policy": Fault(
        (nft("iif lo accept", policy="policy drop;"),),
        r"This firewall chain drops its packets: inet x, chain c: policy drop"),
    "routed: INPUT lets in what is for this host": Fault(
        (nft("iif lo accept", policy="policy drop;") + "; " + RULE + "ip daddr 172.18.0.1 accept",),
        r"This firewall chain drops its packets"),
    "routed: INPUT of iptables drops": Fault(
        ("iptables -I INPUT -i br0 ! -d 172.18.0.1 -j DROP",),
        r"This firewall rule drops its packets: ip filter, chain INPUT"),
    "routed: OUTPUT rejects foreign sources": Fault(
        (nft("oifname br0 ip saddr != 172.18.0.0/24 reject", hook="output"),),
        r"This firewall rule rejects its packets"),
    "routed: clients replaced": Fault(
        (nft('oifname "br0" masquerade', "nat", "postrouting", "srcnat"),),
        r"This rule replaces the client's address by another: inet x, chain c: .*masquerade"),
    "routed: no gateway": Fault(
        (), r"Replies of 172.18.0.2 to clients do not come back through this host: it has no "
            r"default route, or one by another gateway", inside=("ip route del default",)),
    "routed: another gateway": Fault(
        (), r"Make this host its gateway; there: ip route replace default via 172.18.0.1\.",
        inside=("ip route replace default via 172.18.0.99",)),
    "routed: a route for some clients": Fault(
        (), r"Replies of 172.18.0.2 to clients do not come back through this host", mended=False,
        inside=("ip route add 192.0.2.0/24 via 172.18.0.99",)),
    "routed: the machine is off": Fault(
        (), r"Does the machine or container run, and has it the address 172\.18\.0\.2\?",
        mended=False, inside=("ip link set eth0 down",)),
    "routed: its firewall refuses": Fault(
        (), r"connection refused by the machine behind br0\. Start the service there",
        mended=False, inside=(nft("tcp dport 25 reject with tcp reset"),)),
}

# --- the service itself: where it listens, which target is configured, what is said

SERVICE = {
    "the service is on another address": (
        ORIGIN4, "target_v4", rf'A service listens on 10\.99\.0\.2:{PORT}: set target_v4 = '
                              rf'"10\.99\.0\.2:{PORT}" in listener ssh, or let'),
    "the service is for IPv6 alone": (
        "::1", "target_v4", rf"A service listens on \[::1\]:{PORT}, for IPv6 alone: let it listen "
                            rf"on 127\.0\.0\.1:{PORT}, too, or leave out target_v4 in listener ssh"),
    "the service is for IPv4 alone": (
        "0.0.0.0", "target_v6", r"A service listens on 0\.0\.0\.0:22, for IPv4 alone"),
    "the service is down": (
        None, "target_v4", rf"Nothing listens on port {PORT}: start the service. To see what "
                           rf"listens there: ss -ltnp 'sport = :{PORT}'"),
}

# --- which fault has each message that docs/troubleshooting.md has of --check; "…" is anything

DOCUMENTED = {
    "ip rule add fwmark 123 lookup 100 … CHECK FAILED": "rule missing",
    "a wrong route is in its place: …": "blackhole in its place",
    "rule 50 (…) comes before it and takes the replies": "halves of the world",
    "table inet mmproxy-… is there, but it was changed": "flows: nothing is recorded",
    "This firewall rule drops its packets: …": "firewall drops foreign sources",
    "This firewall rule rejects its packets: …": "firewall rejects foreign sources",
    "This firewall chain drops its packets: … policy drop": "a chain that drops by policy",
    "This rule changes the mark of its packets: …": "another mark, output",
    "This rule replaces the client's address by another: …": "routed: clients replaced",
    "Return path connmark needs conntrack, and this rule switches it off …":
        "connmark: notrack on lo",
    "there is no IPv4 default route, and without one replies are dropped …":
        "connmark: no default route",
    "Return path flows needs a default route …": "flows: no default route",
    "Replies of 172.18.0.2 to clients do not come back through this host: …": "routed: no gateway",
    "Does the machine or container run, and has it the address 172.18.0.2? …":
        "routed: the machine is off",
    "Target server 172.18.0.2:25 seems to be down: connection refused by the machine behind br0. …":
        "routed: its firewall refuses",
    "connection refused, although something listens there. A firewall rejects it.":
        "firewall rejects the port",
    "Nothing listens on port 22: start the service. …": "the service is down",
    "A service listens on 10.99.0.2:22: set target_v4 = …": "the service is on another address",
    "A service listens on [::1]:22, for IPv6 alone: …": "the service is for IPv6 alone",
}

# How messages in the other tables there begin: of the log, at a start.
OF_THE_LOG = ("not a PROXY", "not complete", "v1 ", "v2 ")
