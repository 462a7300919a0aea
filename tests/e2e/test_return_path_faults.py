# SPDX-License-Identifier: BSD-2-Clause
"""
Faults of the return path: --check names each, and the commands of its report mend it.

A fault is injected into a working host. The commands are run as they are printed, top to bottom, in
one shell that ends at the first failure; then sessions of real clients must work.
"""

import dataclasses
import re
import subprocess

import pytest

from lib import conf, daemon, netns, routing
from lib.target import EchoTarget
from lib.topology import CLIENT_OF, LB4, ORIGIN_OF
from lib.wait import DEADLINE

PORT = conf.SERVICE_PORT


def check(origin, path, directory):
    done = subprocess.run(origin.argv(daemon.BINARY, "--check", "-c", path), check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE,
                          env=routing.environment(directory))
    assert not daemon.sanitizer_reports(directory), daemon.sanitizer_reports(directory)
    return routing.Result(done.returncode, done.stdout)


def sessions(origin, targets=("127.0.0.1", "::1")):
    """Replies reach clients that --check does not know."""
    for address in targets:
        echo = EchoTarget(origin, address, PORT)
        try:
            for host in (CLIENT_OF[6 if ":" in address else 4],):
                connection = routing.spoofed(origin, host, address, PORT)
                routing.talk(connection, echo)
                connection.close()
        finally:
            echo.close()


@pytest.fixture
def services(origin):
    made = [EchoTarget(origin, address, PORT) for address in ("127.0.0.1", "::1")]
    yield made
    for each in made:
        each.close()


@dataclasses.dataclass
class Fault:
    """How it comes to be, what the report says, and whether its commands mend it."""
    inject: tuple
    named: str
    method: str = "fwmark"
    mended: bool = True


NFT = "nft add table inet x; nft 'add chain inet x c {{ type {} hook {} priority {}; {} }}'; "
RULE = "nft add rule inet x c "


def nft(rule, kind="filter", hook="input", priority=0, policy=""):
    return NFT.format(kind, hook, priority, policy) + (f"{RULE}'{rule}'" if rule else "true")


FAULTS = {
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


@pytest.fixture
def config(directory):
    def make(method, **keys):
        return conf.write(directory, [conf.listener(return_path=method, **keys)])
    return make


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_and_the_printed_commands_mend_it(name, origin, config, directory):
    fault = FAULTS[name]
    path = config(fault.method)
    routing.shell(origin, routing.run(origin, "rules", path, directory).text)
    services = [EchoTarget(origin, address, PORT) for address in ("127.0.0.1", "::1")]
    try:
        healthy = check(origin, path, directory)
        assert healthy.status == 0 and not healthy.commands, healthy.text
        for command in fault.inject:
            routing.shell(origin, command)

        report = check(origin, path, directory)
        assert report.status == 1, report.text
        assert re.search(fault.named, report.text), report.text
        assert len(set(report.commands)) == len(report.commands), report.text
        if not fault.mended:
            return
        assert report.commands, report.text
        routing.shell(origin, "\n".join(report.commands))
        mended = check(origin, path, directory)
        assert mended.status == 0 and not mended.commands, report.text + mended.text
    finally:
        for service in services:
            service.close()
    sessions(origin)


# --- the service itself


@pytest.mark.parametrize("bound, target, named", [
    (ORIGIN_OF[4], "target_v4", rf'A service listens on 10\.99\.0\.2:{PORT}: set target_v4 = '
                                rf'"10\.99\.0\.2:{PORT}" in listener ssh, or let'),
    ("::1", "target_v4", rf"A service listens on \[::1\]:{PORT}, for IPv6 alone: let it listen on "
                         rf"127\.0\.0\.1:{PORT}, too, or leave out target_v4 in listener ssh"),
    ("0.0.0.0", "target_v6", r"A service listens on 0\.0\.0\.0:22, for IPv4 alone"),
    (None, "target_v4", rf"Nothing listens on port {PORT}: start the service. To see what listens "
                        rf"there: ss -ltnp 'sport = :{PORT}'")])
def test_a_service_elsewhere_is_named_with_the_key(bound, target, named, origin, config, directory):
    keys = {"target_v4": None, "target_v6": None}
    keys[target] = f"127.0.0.1:{PORT}" if target == "target_v4" else f"[::1]:{PORT}"
    path = config("loopback", **keys)
    routing.shell(origin, routing.run(origin, "rules", path, directory).text)
    service = EchoTarget(origin, bound, PORT) if bound else None
    report = check(origin, path, directory)
    if service:
        service.close()
    assert report.status == 1 and re.search(named, report.text), report.text


def test_ipv6_that_is_switched_off_is_a_warning_with_the_sysctl(directory, config):
    origin = netns.Namespace()
    try:
        origin.ip("link set lo up")
        origin.sysctl("net.ipv6.conf.lo.disable_ipv6", 1)
        path = config("loopback")
        origin.ip("rule add from 127.0.0.0/8 iif lo lookup 100",
                  "route add local 0.0.0.0/0 dev lo table 100")
        service = EchoTarget(origin, "127.0.0.1", PORT)
        report = check(origin, path, directory)
        service.close()
    finally:
        origin.close()
    assert report.status == 0, report.text
    assert re.search(r"^\[!\] .*IPv6 targets are left out.*"
                     r"sysctl -w net\.ipv6\.conf\.lo\.disable_ipv6=0$", report.text, re.M)


# --- hosts on which nothing is wrong

HEALTHY = {
    "nothing special": "true",
    "Tailscale": "ip rule add priority 5210 fwmark 0x80000/0xff0000 lookup main\n"
                 "ip rule add priority 5250 fwmark 0x80000/0xff0000 unreachable\n"
                 "ip rule add priority 5270 lookup 52\nip route add 100.64.0.0/10 dev eth0 table 52",
    "wg-quick behind": "ip rule add priority 32760 not fwmark 0xca6c lookup 51820\n"
                       "ip route add default dev eth0 table 51820",
    "policy routing by source": "ip rule add priority 90 from 10.99.0.2 lookup 200\n"
                                f"ip route add default via {LB4} table 200",
    "a VPN for one user": "ip rule add priority 90 uidrange 4000-4000 lookup 200\n"
                          "ip route add default dev eth0 table 200",
    "HTTPS through a VPN": "ip rule add priority 90 ipproto tcp dport 443 lookup 200\n"
                           "ip route add default dev eth0 table 200",
    "a rule as VRFs have it": "ip rule add priority 1000 l3mdev protocol kernel",
    "another interface": "ip rule add priority 90 iif eth0 lookup 200\n"
                         "ip route add blackhole default table 200",
    "strict rp_filter": "sysctl -qw net.ipv4.conf.all.rp_filter=1\n"
                        "sysctl -qw net.ipv4.conf.lo.rp_filter=1",
    "rp_filter of nftables": "nft add table inet f\nnft 'add chain inet f p { type filter hook "
                             "prerouting priority -10; }'\n"
                             "nft add rule inet f p fib saddr . iif oif missing drop",
    "a firewall": """nft -f - <<'END'
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state invalid drop
        ct state { established, related } accept
        iif "lo" accept
        tcp dport { 22, 2222 } accept
    }
    chain forward { type filter hook forward priority filter; policy drop; }
}
END""",
    "a firewall of iptables": "iptables -A INPUT -i lo -j ACCEPT\niptables -A INPUT -p tcp --dport "
                              "2222 -j ACCEPT\niptables -P INPUT DROP",
    "docker-like rules": """nft -f - <<'END'
table ip nat {
    chain DOCKER { iifname "docker0" counter return; iifname != "docker0" tcp dport 8080 counter dnat to 172.17.0.2:80; }
    chain PREROUTING { type nat hook prerouting priority dstnat; fib daddr type local counter jump DOCKER; }
    chain OUTPUT { type nat hook output priority -100; ip daddr != 127.0.0.0/8 fib daddr type local counter jump DOCKER; }
    chain POSTROUTING { type nat hook postrouting priority srcnat; oifname != "docker0" ip saddr 172.17.0.0/16 counter masquerade; }
}
table ip filter {
    chain FORWARD { type filter hook forward priority filter; policy drop; }
}
END""",
    "marks of others": "nft add table inet m\nnft 'add chain inet m p { type filter hook prerouting "
                       "priority mangle; }'\nnft add rule inet m p iifname eth0 meta mark set 0x9",
    "an own local route": "ip route add local 203.0.113.0/24 dev lo",
    "no IPv6 default route": "ip -6 route del default",
}


@pytest.mark.usefixtures("services")
@pytest.mark.release
@pytest.mark.parametrize("method", ["loopback", "fwmark", "connmark"])
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_host_is_silent(name, method, origin, config, directory):
    needs_v6 = method != "connmark" or name != "no IPv6 default route"
    path = config(method, **({} if needs_v6 else {"target_v6": None}))
    commands = routing.run(origin, "rules", path, directory).text
    routing.shell(origin, re.sub(r"(ip (-6 )?rule add .*)", r"\1 priority 80", commands))
    routing.shell(origin, HEALTHY[name])
    report = check(origin, path, directory)
    assert report.status == 0, report.text
    assert not report.commands and "[!]" not in report.text, report.text


def test_legacy_iptables_is_seen(origin, config, directory):
    path = config("connmark", target_v6=None)
    commands = routing.run(origin, "rules", path, directory).text
    try:
        routing.shell(origin, commands.replace("iptables ", "iptables-legacy "))
    except AssertionError as error:
        assert "legacy" in str(error), error
        return  # this kernel has none of the old tables
    service = EchoTarget(origin, "127.0.0.1", PORT)
    report = check(origin, path, directory)
    service.close()
    assert report.status == 0, report.text


