# SPDX-License-Identifier: BSD-2-Clause
"""
Faults of the return path: --check names each, and the commands of its report mend it.

A fault is injected into a working host. The commands are run as they are printed, top to bottom, in
one shell that ends at the first failure; then sessions of real clients must work.
"""

import pathlib
import re
import subprocess

import pytest

from lib import conf, daemon, netns, routing, udp
from lib import return_path_faults as faults
from lib.box import BOX_OF, Box
from lib.target import EchoTarget
from lib.topology import CLIENT_OF, LB4
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


@pytest.fixture
def config(directory):
    def make(method, **keys):
        return conf.write(directory, [conf.listener(return_path=method, **keys)])
    return make


def is_told_as_documented(name, report):
    """What stands in docs/troubleshooting.md for this fault, "…" for anything."""
    for message, fault in faults.DOCUMENTED.items():
        if fault == name:
            pattern = ".*".join(map(re.escape, message.split("…")))
            assert re.search(pattern, report.text), f"{message}\n{report.text}"


def test_every_message_in_the_documents_is_that_of_a_fault():
    text = (daemon.ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `(.*?)` \|", text, re.MULTILINE)
    of_check = [each for each in messages if not each.startswith(faults.OF_THE_LOG)]
    assert sorted(of_check) == sorted(faults.DOCUMENTED)
    assert set(faults.DOCUMENTED.values()) <= {*faults.LOCAL, *faults.FLOWS, *faults.ROUTED,
                                               *faults.SERVICE}


class Host:
    """A host with one listener and its target, all of it well."""

    def __init__(self, origin, directory, listener):
        self.origin, self.directory = origin, directory
        self.path = conf.write(directory, [listener])
        routing.shell(origin, routing.run(origin, "rules", self.path, directory).text)

    def run_inside(self, command):
        raise NotImplementedError

    def check(self):
        return check(self.origin, self.path, self.directory)


class Local(Host):
    def __init__(self, origin, directory, method):
        super().__init__(origin, directory, conf.listener(return_path=method))
        self.services = [EchoTarget(origin, address, PORT) for address in ("127.0.0.1", "::1")]

    def serve_client(self):
        self.close()
        sessions(self.origin)

    def close(self):
        for service in self.services:
            service.close()
        self.services = []


class Flows(Host):
    def __init__(self, origin, directory, _):
        super().__init__(origin, directory, udp.listener(target_v6=None, return_path="flows"))
        self.service = udp.Echo(origin, "0.0.0.0", udp.SERVICE_PORT)

    def serve_client(self):
        routing.ask_spoofed(self.origin, CLIENT_OF[4], "127.0.0.1", udp.SERVICE_PORT)
        assert (b"question", CLIENT_OF[4]) in [(data, host) for data, (host, _) in self.service.seen]

    def close(self):
        self.service.close()


class Routed(Host):
    def __init__(self, origin, directory, _):
        self.box = Box(origin, is_bridged=True)
        super().__init__(origin, directory, conf.listener(
            target_v4=f"{BOX_OF[4]}:25", target_v6=None, return_path="routed"))

    def run_inside(self, command):
        routing.shell(self.box.namespace, command)

    def serve_client(self):
        connection = routing.spoofed(self.origin, CLIENT_OF[4], BOX_OF[4], 25, mark=0)
        routing.talk(connection, self.box.services[4])
        connection.close()

    def close(self):
        self.box.close()


@pytest.mark.parametrize("kind, name", [
    pytest.param(kind, name, id=name)
    for kind, table in ((Local, faults.LOCAL), (Flows, faults.FLOWS), (Routed, faults.ROUTED))
    for name in table])
def test_a_fault_is_named_and_the_printed_commands_mend_it(kind, name, origin, directory):
    fault = (faults.LOCAL | faults.FLOWS | faults.ROUTED)[name]
    host = kind(origin, directory, fault.method)
    try:
        healthy = host.check()
        assert healthy.status == 0 and not healthy.commands, healthy.text
        for command in fault.inject:
            routing.shell(origin, command)
        for command in fault.inside:
            host.run_inside(command)

        report = host.check()
        assert report.status == 1, report.text
        assert re.search(fault.named, report.text), report.text
        assert len(set(report.commands)) == len(report.commands), report.text
        is_told_as_documented(name, report)
        if not fault.mended:
            return
        there = re.findall(r"there: (ip .*? via [0-9.]+)\. ", report.text)
        assert report.commands or there, report.text
        routing.shell(origin, "\n".join(report.commands))
        for command in there:
            host.run_inside(command)
        mended = host.check()
        assert mended.status == 0 and not mended.commands, report.text + mended.text
        host.serve_client()
    finally:
        host.close()


# --- the service itself


@pytest.mark.parametrize("name", faults.SERVICE)
def test_a_service_elsewhere_is_named_with_the_key(name, origin, config, directory):
    bound, target, named = faults.SERVICE[name]
    keys = {"target_v4": None, "target_v6": None}
    keys[target] = f"127.0.0.1:{PORT}" if target == "target_v4" else f"[::1]:{PORT}"
    path = config("loopback", **keys)
    routing.shell(origin, routing.run(origin, "rules", path, directory).text)
    service = EchoTarget(origin, bound, PORT) if bound else None
    report = check(origin, path, directory)
    if service:
        service.close()
    assert report.status == 1 and re.search(named, report.text), report.text
    is_told_as_documented(name, report)


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
    "wg-quick behind": "ip rule add priority 32759 lookup main suppress_prefixlength 0\n"
                       "ip rule add priority 32760 not fwmark 0xca6c lookup 51820\n"
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


@pytest.mark.parametrize("kind", (Flows, Routed))
def test_a_host_of_many_shapes_at_once_is_silent(kind, origin, directory):
    host = kind(origin, directory, None)
    shapes = dict(HEALTHY)
    # Of what does not come over lo, it has to let replies in.
    shapes["a firewall of iptables"] += "\niptables -A INPUT -m state --state ESTABLISHED -j ACCEPT"
    try:
        routing.shell(origin, "ip rule add fwmark 123 lookup 100 priority 80\n"
                              "ip rule add from 127.0.0.0/8 iif lo lookup 100 priority 81")
        for name, commands in shapes.items():
            routing.shell(origin, commands.replace("route add", "route replace"))
            report = host.check()
            assert report.status == 0 and "[!]" not in report.text, f"{name}:\n{report.text}"
        host.serve_client()
    finally:
        host.close()


@pytest.fixture
def no_lock_of_legacy_iptables():
    yield
    pathlib.Path("/run/xtables.lock").unlink(missing_ok=True)


@pytest.mark.usefixtures("no_lock_of_legacy_iptables")
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
