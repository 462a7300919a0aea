# SPDX-License-Identifier: BSD-2-Clause
"""
The faults that --check names. One table for each kind of host; test_return_path_faults.py makes each
of them, docs/troubleshooting.md is about them, and fault_count.py counts them.
"""

import dataclasses

from lib import conf
from lib.healthy_hosts import HEALTHY
from lib.topology import CLIENT_OF, LB4, ORIGIN4

PORT = conf.SERVICE_PORT


@dataclasses.dataclass
class Fault:
    """
    How it comes to be, and what the report says, whose commands mend it, unless `unmended` says why
    not. Commands in `inside` are for the machine, or the network namespace, that the target is on.
    client, port: one that it hits. status: of --check. checks: how many it takes to mend it.
    """
    inject: tuple = ()
    named: str = ""
    method: str = "fwmark"
    unmended: str = ""
    inside: tuple = ()
    client: str = CLIENT_OF[4]
    port: int = 0
    status: int = 1
    checks: int = 1


GATEWAY = "the gateway's address is not known here"
SERVICE_ITSELF = "the service, or its configuration, is to be changed"
MACHINE = "the other machine is to be changed"
CONTAINER = "the container is to be started"
HOST_LIMIT = "the limit is the host's; no network namespace, such as the tests', can set it"


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
        ("iptables -I INPUT -i lo -s 192.0.0.0/8 -j DROP",), r"This firewall rule drops"),
    "a chain that drops by policy": Fault(
        (nft("iif lo ip saddr 127.0.0.0/8 accept", policy="policy drop;"),),
        r"This firewall chain drops its packets: inet x, chain c: policy drop"),
    "a chain that another jumps to": Fault(
        (nft("", hook="output") + "; nft add chain inet x d; "
         "nft add rule inet x d ip daddr 192.0.0.0/8 counter drop; nft add rule inet x c jump d",),
        r"This firewall rule drops its packets: inet x, chain d"),
    "another mark, output": Fault(
        (nft("ip daddr 192.0.0.0/8 meta mark set 0x5", "route", "output", "-140"),),
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
    "firewall rejects with a message of its own": Fault(
        (nft(f"tcp dport {PORT} reject with icmpx type admin-prohibited"),),
        r"This firewall rule rejects its packets"),
    "firewall at the device": Fault(
        ("nft add table netdev x; nft 'add chain netdev x c { type filter hook ingress device lo "
         "priority 0; }'; nft add rule netdev x c ip saddr 192.0.0.0/8 drop",),
        r"This firewall rule drops its packets: netdev x, chain c"),
    "a set of a firewall": Fault(
        ("nft add table inet x; nft 'add set inet x s { type ipv4_addr; flags interval; elements = "
         "{ 192.0.0.0/8, 10.0.0.0/8 }; }'; " +
         nft("ip saddr @s drop").removeprefix("nft add table inet x; "),),
        r"This firewall rule drops its packets: inet x, chain c: ip saddr @s drop"),
    "sent to another port": Fault(
        (nft(f"tcp dport {PORT} redirect to :9999", "nat", "output", "-100"),),
        r"This rule sends its packets elsewhere: .*redirect to :9999"),
    "iptables-legacy drops": Fault(
        ("iptables-legacy -I INPUT -i lo ! -s 127.0.0.0/8 -m comment --comment 'no $(id)' -j DROP",),
        r"This firewall rule drops its packets: iptables-legacy -t filter -A INPUT ! -s 127"),
    "iptables-legacy drops by policy": Fault(
        ("iptables-legacy -A INPUT -s 127.0.0.0/8 -j ACCEPT; iptables-legacy -P INPUT DROP",),
        r"This firewall chain drops its packets: iptables-legacy -t filter -P INPUT DROP"),
    "iptables-legacy rejects the port": Fault(
        (f"iptables-legacy -N own; iptables-legacy -A INPUT -p tcp -m multiport --dports 80,{PORT} "
         "-j own; iptables-legacy -A own -p tcp -j REJECT --reject-with tcp-reset",),
        r"rule rejects its packets: iptables-legacy -t filter -A own -p tcp -j REJECT"),
    "ip6tables-legacy drops": Fault(
        ("ip6tables-legacy -I INPUT -i lo ! -s ::1 -j DROP",),
        r"This firewall rule drops its packets: ip6tables-legacy -t filter -A INPUT ! -s ::1"),
    "iptables-legacy, another mark": Fault(
        (f"iptables-legacy -t mangle -A OUTPUT -p tcp --dport {PORT} -j MARK --set-mark 5",),
        r"This rule changes the mark of its packets: iptables-legacy -t mangle -A OUTPUT"),
    "iptables-legacy, another port": Fault(
        (f"iptables-legacy -t nat -A OUTPUT -p tcp --dport {PORT} -j REDIRECT --to-ports 9999",),
        r"This rule sends its packets elsewhere: iptables-legacy -t nat -A OUTPUT"),
    "connmark: iptables-legacy switches conntrack off": Fault(
        ("iptables-legacy -t raw -A OUTPUT -o lo -j NOTRACK; "
         "iptables-legacy -t raw -A PREROUTING -i lo -j NOTRACK",),
        r"this rule switches it off for its packets: iptables-legacy -t raw -A", "connmark"),
    "loopback: rule missing": Fault(("ip rule del from 127.0.0.0/8 iif lo",),
                                    r"ip rule add from 127.0.0.0/8 iif lo .*CHECK FAILED", "loopback"),
    "loopback: a VPN in front": Fault(
        ("ip rule add priority 50 from all lookup 53", "ip route add default dev eth0 table 53"),
        r"rule 50 .* comes before it", "loopback"),
    "loopback: wg-quick's kill switch": Fault(
        ("iptables -I OUTPUT ! -o wg0 -m mark ! --mark 0xca6c -m addrtype ! --dst-type LOCAL "
         "-j REJECT",), r"rejects its packets: ip filter, chain OUTPUT: .*\nnft insert rule ip filter "
                        r"OUTPUT oif lo accept", "loopback"),
    "lo is down": Fault(("ip link set lo down",), r"Interface lo is down", "loopback"),
    "lo lost its address": Fault(("ip address del 127.0.0.1/8 dev lo",),
                                 r"Interface lo has lost the address 127\.0\.0\.1/8"),
    "lo lost its address, IPv6": Fault(("ip address del ::1/128 dev lo",),
                                       r"Interface lo has lost the address ::1/128"),
    "the rule of the local table is gone": Fault(
        ("ip rule del priority 0",), r"The rule for the kernel's own table .* is gone"),
    "a VPN comes before the local table": Fault(
        ("ip rule add priority 32000 lookup local", "ip rule del priority 0",
         "ip rule add priority 100 lookup 53", "ip route add default dev eth0 table 53"),
        r"or another rule comes before it: this host does not know its IPv4 addresses"),
    "traffic control on lo": Fault(
        ("tc qdisc add dev lo root tbf rate 8bit burst 10 latency 1ms",),
        r"Traffic control on lo \(tbf\)"),
    "some clients: a firewall": Fault(
        (nft(f"ip saddr 128.0.0.0/2 tcp dport {PORT} drop"),),
        r"Clients in 128\.0\.0\.0/2 can't reach target server 127\.0\.0\.1:22, although",
        client="150.1.2.3"),
    "some clients: iptables-legacy": Fault(
        ("iptables-legacy -A INPUT -s 160.0.0.0/3 -j DROP",),
        r"Clients in 160\.0\.0\.0/3 can't reach", client="185.1.2.3"),
    "some clients: all but a set": Fault(
        (nft("ip saddr != { 127.0.0.0/8, 192.0.0.0/8, 198.0.0.0/8 } reject"),),
        r"Clients such as 1\.1\.1\.1 can't reach", client="1.1.1.7"),
    "some clients: low ports": Fault(
        (nft("iif lo tcp sport 1024-30000 drop"),),
        r"Clients with ports from 1024 to 30000 can't reach", port=20000),
    "some clients: another mark": Fault(
        (nft("ip daddr 128.0.0.0/2 meta mark set 0x5", "route", "output", "-140"),),
        r"(?s)Clients in 128\.0\.0\.0/2 can't reach .*This rule changes the mark",
        client="150.1.2.3"),
    "connmark: half of all clients by a VPN": Fault(
        ("ip link add tun0 type veth peer name tun1; ip link set tun1 up; ip link set tun0 up; "
         "ip route add 0.0.0.0/1 dev tun0",),
        r"net\.ipv4\.conf\.tun0\.route_localnet=1 .*CHECK FAILED", "connmark",
        client="8.8.4.4"),
    "connmark: some clients without a route": Fault(
        ("ip route add blackhole 128.0.0.0/2",),
        r"Clients in 128\.0\.0\.0/2 can't reach .* In the way is route blackhole 128\.0\.0\.0/2",
        "connmark", client="150.1.2.3"),
    "connmark: a kill switch": Fault(
        (nft("oif lo accept", hook="output", policy="policy drop;") + f"; {RULE} ct mark 0xf41 accept; "
         f"{RULE} oifname tun0 accept; {RULE} reject",),
        r"rule rejects its packets: inet x, chain c: reject\. With connmark replies are bound for "
        r"eth0 until they are marked: use return path fwmark, or let marked packets pass\. This "
        r"command mends it:\nnft insert rule inet x c meta mark 123 accept", "connmark"),
    "connmark: a kill switch by policy": Fault(
        (nft("oif lo accept", hook="output", policy="policy drop;") + f"; {RULE} oifname tun0 accept",),
        r"chain drops its packets: inet x, chain c: policy drop\. With connmark", "connmark"),
    "connmark: a kill switch of iptables": Fault(
        ("for ip in iptables ip6tables; do $ip -A OUTPUT ! -o tun0 -m mark ! --mark 0xca6c "
         "-m addrtype ! --dst-type LOCAL -j REJECT; done",),
        r"rejects its packets: ip filter, chain OUTPUT: .*\. With connmark", "connmark"),
    "connmark: a kill switch of iptables-legacy": Fault(
        ("iptables-legacy -A OUTPUT -o lo -j ACCEPT; iptables-legacy -A OUTPUT -o tun0 -j ACCEPT; "
         "iptables-legacy -P OUTPUT DROP",),
        r"drops its packets: iptables-legacy -t filter -P OUTPUT DROP\. With connmark", "connmark"),
    "connmark: Mullvad": Fault(
        (HEALTHY["Mullvad"],), r"(?s)rule 32762 .* comes before it.*\nnft insert rule inet mullvad "
                               r"output meta mark 123 accept", "connmark"),
    "wg-quick's kill switch": Fault(
        ("for ip in iptables ip6tables; do $ip -I OUTPUT ! -o wg0 -m mark ! --mark 0xca6c "
         "-m addrtype ! --dst-type LOCAL -j REJECT; done",),
        r"rejects its packets: ip filter, chain OUTPUT: .*\nnft insert rule ip filter OUTPUT oif lo "
        r"accept"),
    "conntrack is full": Fault(
        ("conntrack: full",), r"conntrack is full, and new connections are dropped: it has",
        "connmark", HOST_LIMIT),
    "IPv6 is switched off": Fault(
        ("sysctl -w net.ipv6.conf.all.disable_ipv6=1",),
        r"IPv6 targets are left out\. It is switched off by net\.ipv6\.conf\.lo\.disable_ipv6 = 1",
        status=0, checks=2, client=CLIENT_OF[6]),
    "connmark: no default route": Fault(
        ("ip route del default", "ip route add 192.0.2.0/24 dev eth0"),
        r"there is no IPv4 default route", "connmark", GATEWAY),
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
    "flows: iptables-legacy drops": Fault(
        ("iptables-legacy -A INPUT -p udp --dport 53 -j DROP",),
        r"This firewall rule drops its packets: iptables-legacy -t filter -A INPUT -p udp"),
    "flows: a firewall at the device": Fault(
        ("nft add table netdev x; nft 'add chain netdev x c { type filter hook ingress device lo "
         "priority 0; }'; nft add rule netdev x c udp sport 53 drop",),
        r"This firewall rule drops its packets: netdev x, chain c"),
    "flows: clients replaced": Fault(
        (nft("oif lo masquerade", "nat", "postrouting", "srcnat"),),
        r"This rule replaces the client's address by another: inet x, chain c: .*masquerade"),
    "flows: a kill switch": Fault(
        (nft("oif lo accept", hook="output", policy="policy drop;") + f"; {RULE} oifname tun0 accept; "
         f"{RULE} reject",),
        r"rejects its packets: inet x, chain c: reject\. With flows replies are bound for eth0 until "
        r"they are marked: let marked packets pass\. This command mends it:\nnft insert rule inet x "
        r"c meta mark 123 accept"),
    "flows: some clients by a firewall": Fault(
        (nft("ip saddr 128.0.0.0/2 udp dport 53 drop"),),
        r"Clients in 128\.0\.0\.0/2 can't reach target server 127\.0\.0\.1:53, although",
        client="150.1.2.3"),
    "flows: some clients by iptables-legacy": Fault(
        ("iptables-legacy -A INPUT -s 160.0.0.0/3 -p udp -j DROP",),
        r"Clients in 160\.0\.0\.0/3 can't reach", client="185.1.2.3"),
    "flows: all clients but a set": Fault(
        (nft("ip saddr != { 127.0.0.0/8, 192.0.0.0/8, 198.0.0.0/8 } drop"),),
        r"Clients such as 1\.1\.1\.1 can't reach", client="1.1.1.7"),
    "flows: some clients by their ports": Fault(
        (nft("iif lo udp sport 1024-30000 drop"),),
        r"Clients with ports from 1024 to 30000 can't reach", port=20000),
    "flows: some clients by the way of replies": Fault(
        (nft("ip daddr 128.0.0.0/2 udp sport 53 drop", hook="output"),),
        r"Clients in 128\.0\.0\.0/2 can't reach", client="150.1.2.3"),
    "flows: no default route": Fault(
        ("ip route del default",),
        r"Return path flows needs a default route for IPv4, and there is none", unmended=GATEWAY),
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
    "routed: INPUT of iptables-legacy drops": Fault(
        ("iptables-legacy -I INPUT -i br0 ! -d 172.18.0.1 -j DROP",),
        r"This firewall rule drops its packets: iptables-legacy -t filter -A INPUT"),
    "routed: INPUT of iptables-legacy drops by policy": Fault(
        ("iptables-legacy -A INPUT -i lo -j ACCEPT; iptables-legacy -P INPUT DROP",),
        r"This firewall chain drops its packets: iptables-legacy -t filter -P INPUT DROP"),
    "routed: src_valid_mark": Fault(
        ("sysctl -w net.ipv4.conf.all.src_valid_mark=1",),
        r"net\.ipv4\.conf\.all\.src_valid_mark lets the kernel take marked replies for forged"),
    "routed: some clients by a rule": Fault(
        ("ip rule add priority 50 from 64.0.0.0/2 lookup 53",
         "ip route add default dev eth0 table 53"),
        r"Clients in 64\.0\.0\.0/2 can't reach .* In the way is rule 50 \(from 64\.0\.0\.0/2",
        client="90.1.2.3"),
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
        (), r"Replies of 172.18.0.2 to clients do not come back through this host", unmended=MACHINE,
        inside=("ip route add 192.0.0.0/8 via 172.18.0.99",)),
    "routed: the machine is off": Fault(
        (), r"Does the machine or container run, and has it the address 172\.18\.0\.2\?",
        unmended=MACHINE, inside=("ip link set eth0 down",)),
    "routed: its firewall refuses": Fault(
        (), r"connection refused by the machine behind br0\. Start the service there",
        unmended=MACHINE, inside=(nft("tcp dport 25 reject with tcp reset"),)),
}

# --- the same over UDP

ROUTED_UDP_TABLE = "mmproxy-172.18.0.2-udp-53-mark-123"

ROUTED_UDP = {
    "routed, UDP: table missing": Fault((f"nft delete table inet {ROUTED_UDP_TABLE}",),
                                        r"nft 'table inet mmproxy-172.18.0.2-udp-53.*CHECK FAILED"),
    "routed, UDP: route missing": Fault(("ip route flush table 100",),
                                        r"ip route add local .*CHECK FAILED"),
    "routed, UDP: INPUT drops by policy": Fault(
        (nft("iif lo accept", policy="policy drop;"),),
        r"This firewall chain drops its packets: inet x, chain c: policy drop"),
    "routed, UDP: some clients": Fault(
        (nft("ip daddr 128.0.0.0/2 udp sport 53 drop"),),
        r"Clients in 128\.0\.0\.0/2 can't reach target server 172\.18\.0\.2:53",
        client="150.1.2.3"),
    "routed, UDP: some clients by their ports": Fault(
        (nft("oifname br0 udp sport 1024-30000 drop", hook="output"),),
        r"Clients with ports from 1024 to 30000 can't reach", port=20000),
}

# --- targets in another network namespace, whose commands are run from outside

NETNS = {
    "netns: rule missing": Fault((), r"nsenter --net=\S+ ip rule add from 127.* CHECK FAILED",
                                 inside=("ip rule del from 127.0.0.0/8 iif lo",)),
    "netns: both of IPv6 missing": Fault(
        (), r"nsenter --net=\S+ ip -6 route add local ::/0 dev lo table 100 .*CHECK FAILED",
        inside=("ip -6 rule del from ::1 iif lo", "ip -6 route flush table 100")),
    "netns: a wrong route in its place": Fault(
        (), r"a wrong route is in its place: default dev eth0",
        inside=("ip route flush table 100", "ip route add default dev eth0 table 100")),
    "netns: blackhole in its place": Fault(
        (), r"a wrong route is in its place: blackhole",
        inside=("ip route flush table 100", "ip route add blackhole default table 100")),
    "netns: a VPN in front": Fault(
        (), r"rule 50 .* comes before it",
        inside=("ip rule add priority 50 lookup 53", "ip route add default dev eth0 table 53")),
    "netns: lo is down": Fault(
        (), r"mail is closed: the loopback of its network namespace is down",
        inside=("ip link set lo down",)),
    "netns: lo lost its address": Fault(
        (), r"Interface lo has lost the address 127\.0\.0\.1/8",
        inside=("ip address del 127.0.0.1/8 dev lo",)),
    "netns: a firewall drops": Fault(
        (), r"This firewall rule drops its packets: inet x, chain c",
        inside=(nft("iif lo ip saddr != 127.0.0.0/8 drop"),)),
    "netns: iptables-legacy drops": Fault(
        (), r"This firewall rule drops its packets: iptables-legacy -t filter -A INPUT",
        inside=("iptables-legacy -I INPUT -i lo ! -s 127.0.0.0/8 -j DROP",)),
    "netns: some clients": Fault(
        (), r"Clients in 128\.0\.0\.0/2 can't reach", client="150.1.2.3",
        inside=(nft("ip saddr 128.0.0.0/2 tcp dport 25 drop"),)),
    "netns: IPv6 is switched off": Fault(
        (), r"This host has no IPv6: .* to switch it on, and then check again: nsenter --net=",
        inside=("sysctl -w net.ipv6.conf.all.disable_ipv6=1",), status=0, checks=2,
        client=CLIENT_OF[6]),
    "netns: IPv6 of lo is switched off": Fault(
        (), r"It is switched off by net\.ipv6\.conf\.lo\.disable_ipv6 = 1",
        inside=("sysctl -w net.ipv6.conf.lo.disable_ipv6=1",), status=0, checks=2,
        client=CLIENT_OF[6]),
    "netns: the service is for IPv6 alone": Fault(
        (), r"A service listens on \[::1\]:25, for IPv6 alone", unmended=SERVICE_ITSELF,
        inside=("services: ::1",)),
    "netns: the service is on another address": Fault(
        (), r"A service listens on 172\.18\.0\.2:25: set target_v4 = ", unmended=SERVICE_ITSELF,
        inside=("services: 172.18.0.2",)),
    "netns: the service is down": Fault(
        (), r"Nothing listens on port 25: start the service", unmended=SERVICE_ITSELF,
        inside=("services:",)),
    "netns: it was made anew": Fault(
        (), r"nsenter --net=\S+ ip rule add from 127.* CHECK FAILED", inside=("new",)),
    "netns: it is gone": Fault(
        (), r"mail is closed: its network namespace does not exist .* Start the container",
        unmended=CONTAINER, inside=("gone",)),
}

NETNS_MARK = {
    "netns: sysctl off": Fault((), r"nsenter --net=\S+ sysctl -w net.ipv4.tcp_fwmark_accept=1",
                               inside=("sysctl -w net.ipv4.tcp_fwmark_accept=0",)),
    "netns: another mark": Fault(
        (), r"This rule changes the mark of its packets",
        inside=(nft("ip daddr 192.0.0.0/8 meta mark set 0x5", "route", "output", "-140"),)),
}

# --- UDP in another network namespace, where the table is nftables'

NETNS_FLOWS = {
    "netns, flows: table missing": Fault(
        (), r"nsenter --net=\S+ nft 'table inet mmproxy-flows4_123_65 .*CHECK FAILED",
        inside=(f"nft delete table inet {FLOWS_TABLE}",)),
    "netns, flows: nothing is recorded": Fault(
        (), r"table inet mmproxy-flows4_123_65 is there, but it was changed",
        inside=(f"nft flush chain inet {FLOWS_TABLE} record",)),
    "netns, flows: some clients": Fault(
        (), r"Clients in 128\.0\.0\.0/2 can't reach", client="150.1.2.3",
        inside=(nft("ip saddr 128.0.0.0/2 udp dport 53 drop"),)),
    "netns, flows: no default route": Fault(
        (), r"Return path flows needs a default route for IPv4", unmended=GATEWAY,
        inside=("ip route del default",)),
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

# --- sockets that are as no service of the tests is

SOCKETS = ("the service is bound to an interface", "the service hangs")

# --- ports of a container that a program publishes: its name and address, the key of the target, the
# program's options, and what is said

PUBLISHED = {
    "docker-proxy": ("docker-proxy", "127.0.0.1", "target_v4",
                     ["-proto", "tcp", "-container-ip", "172.17.0.2", "-container-port", "80"],
                     'target_v4 = "172.17.0.2:80" in listener ssh.'),
    "docker-proxy that does not say where": ("docker-proxy", "0.0.0.0", "target_v4", [],
                                             "--network host"),
    "docker-proxy for both families": ("docker-proxy", "::", "target_v4", [], "--network host"),
    "docker-proxy, IPv6": ("docker-proxy", "::1", "target_v6",
                           ["-container-ip", "fd00::2", "-container-port", "80"],
                           'target_v6 = "[fd00::2]:80" in listener ssh.'),
    "rootlessport": ("rootlessport", "0.0.0.0", "target_v4", [],
                     "Use the container's own address and port"),
    "pasta": ("pasta.avx2", "127.0.0.1", "target_v4", [],
              "Use the container's own address and port"),
}

# --- which fault has each message that docs/troubleshooting.md has of --check; "…" is anything

DOCUMENTED = {
    "This firewall rule rejects its packets: … With connmark replies are bound for eth0 until they "
    "are marked: …": "connmark: a kill switch",
    "conntrack is full, and new connections are dropped: …": "conntrack is full",
    "This host has no IPv6: IPv6 targets are left out. …": "IPv6 is switched off",
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
    "This rule sends its packets elsewhere: …": "sent to another port",
    "Interface lo is down: …": "lo is down",
    "Interface lo has lost the address 127.0.0.1/8. …": "lo lost its address",
    "The rule for the kernel's own table (from all lookup local) is gone, …":
        "the rule of the local table is gone",
    "Traffic control on lo (tbf) …": "traffic control on lo",
    "net.ipv4.conf.all.src_valid_mark lets the kernel take marked replies for forged, …":
        "routed: src_valid_mark",
    "Clients in 128.0.0.0/2 can't reach target server 127.0.0.1:22, although others can.":
        "some clients: a firewall",
    "mail is closed: the loopback of its network namespace is down …": "netns: lo is down",
    "mail is closed: its network namespace does not exist …": "netns: it is gone",
    "Nothing listens on port 22: start the service. …": "the service is down",
    "The service listens there for what comes by interface eth0 alone …":
        "the service is bound to an interface",
    "The service accepts no connections: 1 wait for it, …": "the service hangs",
    "A service listens on 10.99.0.2:22: set target_v4 = …": "the service is on another address",
    "A service listens on [::1]:22, for IPv6 alone: …": "the service is for IPv6 alone",
}

# How messages in the other tables there begin: of the log, at a start.
OF_THE_LOG = ("not a PROXY", "not complete", "v1 ", "v2 ")
