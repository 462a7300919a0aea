# SPDX-License-Identifier: BSD-2-Clause
"""The report: each single missing piece is marked, the diagnosis names it, and --check says 1."""

import re

import pytest

from lib import conf, netns, routing
from lib.target import EchoTarget
from lib.topology import LB4, ORIGIN_OF

ROUTE = {4: "ip route add local 0.0.0.0/0 dev lo table 100",
         6: "ip -6 route add local ::/0 dev lo table 100"}
MARK = {4: "ip rule add fwmark 123 lookup 100", 6: "ip -6 rule add fwmark 123 lookup 100"}
FROM = {4: "ip rule add from 127.0.0.0/8 iif lo lookup 100",
        6: "ip -6 rule add from ::1/128 iif lo lookup 100"}
ACCEPT = "sysctl -w net.ipv4.tcp_fwmark_accept=1"
REFLECT = {4: "sysctl -w net.ipv4.fwmark_reflect=1", 6: "sysctl -w net.ipv6.fwmark_reflect=1"}
LOCALNET = "sysctl -w net.ipv4.conf.eth0.route_localnet=1"


def _xtables(version, chain):
    match, action = {"PREROUTING": ("mark", "save"), "OUTPUT": ("connmark", "restore")}[chain]
    return (f"{'iptables' if version == 4 else 'ip6tables'} -t mangle -I {chain} -m {match} "
            f"--mark 123 -m comment --comment mmproxy -j CONNMARK --{action}-mark")


def _undo(command):
    """The command that takes away what command sets up."""
    for add, delete in ((" -I ", " -D "), (" rule add ", " rule del "),
                        (" route add ", " route del "), ("=1", "=0")):
        if add in command:
            return command.replace(add, delete)
    raise ValueError(command)


PIECES = {
    "loopback": [piece for version in (4, 6) for piece in (FROM[version], ROUTE[version])],
    "fwmark": [ACCEPT, *(piece for version in (4, 6)
                         for piece in (MARK[version], ROUTE[version], REFLECT[version]))],
    "connmark": [LOCALNET, *(piece for version in (4, 6)
                             for piece in (_xtables(version, "PREROUTING"),
                                           _xtables(version, "OUTPUT"),
                                           MARK[version], ROUTE[version]))],
}

# Without it sessions work, but a closed port is silent.
SILENT = set(REFLECT.values())


@pytest.fixture
def origin(plain_net):
    routing.stop_pacing(plain_net.origin)
    return plain_net.origin


@pytest.fixture
def services(origin):
    """Echo services on loopback, both families."""
    made = [EchoTarget(origin, address, conf.SERVICE_PORT) for address in ("127.0.0.1", "::1")]
    yield made
    for each in made:
        each.close()


@pytest.fixture
def config(directory):
    """config(method, **listener keys): the path of a configuration."""
    def make(method, **keys):
        return conf.write(directory, [conf.listener(return_path=method, **keys)])
    return make


def set_up(origin, config, directory):
    routing.shell(origin, routing.run(origin, "rules", config, directory).text)


@pytest.mark.parametrize("method, piece", [
    pytest.param(method, piece, id=f"{method}-{piece.replace(' ', '_').replace('/', '.')}")
    for method, pieces in PIECES.items() for piece in pieces])
@pytest.mark.usefixtures("services")
def test_a_single_missing_piece_is_found(method, piece, origin, config, directory):
    path = config(method)
    set_up(origin, path, directory)
    routing.shell(origin, _undo(piece))

    report = routing.run(origin, "verify", path, directory)
    assert report.status == 1 and report.failed() == [piece], report.text
    check = routing.run(origin, "check", path, directory)
    if piece in SILENT:
        assert check.status == 0, check.text
        return
    assert check.status == 1
    missing = "[!] FAILED: A piece of its return path is missing. This command adds it:"
    assert f"{missing}\n{piece}\n" in check.text, check.text
    # Only what the piece is for fails: IPv4 or IPv6, but tcp_fwmark_accept is for both.
    version = 6 if "6" in piece.split()[0] or " -6 " in piece or "::" in piece else 4
    if piece != ACCEPT:
        other = "[::1]" if version == 4 else "127.0.0.1"
        assert (f"[+] OK. Target server {other}:{conf.SERVICE_PORT} is up and reachable using "
                "spoofed connection.") in check.lines, check.text
    # The very command that the report names mends it.
    routing.shell(origin, piece)
    assert routing.run(origin, "verify", path, directory).status == 0


def test_the_report_has_the_words_order_and_columns_of_the_original(origin, config, directory):
    text = routing.run(origin, "verify", config("connmark"), directory).text
    expected = [_xtables(4, "PREROUTING"), _xtables(4, "OUTPUT"), _xtables(6, "PREROUTING"),
                _xtables(6, "OUTPUT"), MARK[4], ROUTE[4], MARK[6], ROUTE[6], LOCALNET]
    lines = text.splitlines()
    assert lines[0] == "[ ] Remember to set the reverse routing rules correctly:"
    assert [line.split(" # ")[0].rstrip() for line in lines[1:10]] == expected
    assert lines[1] == f"{expected[0]}        # [!] CHECK FAILED"
    assert lines[2] == f"{expected[1]}     # [!] CHECK FAILED"
    assert lines[8] == f"{expected[7]}     # [!] CHECK FAILED"


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("vpn", [
    ("rule add not fwmark 0xca6c lookup 51820", "route add default dev eth0 table 51820"),
    ("rule add priority 50 to 192.0.0.0/8 lookup 51820",
     f"route add default via {LB4} table 51820"),
    ("rule add priority 50 from all iif lo unreachable",),
    ("rule add priority 50 fwmark 0x3/0x3 prohibit",)])
def test_a_shadowed_rule_is_found_and_the_command_mends_it(vpn, origin, config, directory):
    path = config("fwmark")
    set_up(origin, path, directory)
    origin.ip(*vpn)

    report = routing.run(origin, "verify", path, directory)
    assert report.failed() == [MARK[4]], report.text
    reason, command = report.lines[report.lines.index(next(
        line for line in report.lines if MARK[4] in line)) + 1:][:2]
    assert "comes before it and takes the replies; this command mends it:" in reason
    check = routing.run(origin, "check", path, directory)
    assert check.status == 1
    assert command in check.lines, check.text
    routing.shell(origin, command)
    assert routing.run(origin, "verify", path, directory).status == 0
    assert routing.run(origin, "check", path, directory).status == 0


# The target's check, which only knows 192.0.2.1, finds nothing there.
def test_a_rule_that_spares_the_test_client_alone_is_found(origin, config, directory):
    path = config("fwmark")
    set_up(origin, path, directory)
    origin.ip("rule add priority 50 not to 192.0.0.0/2 lookup 51820",
              f"route add default via {LB4} table 51820")

    report = routing.run(origin, "verify", path, directory)
    assert report.failed() == [MARK[4]], report.text
    at = report.lines.index(next(line for line in report.lines if MARK[4] in line))
    assert "(not from all to 192.0.0.0/2 lookup 51820) comes before it" in report.lines[at + 1]
    routing.shell(origin, report.lines[at + 2])
    assert routing.run(origin, "verify", path, directory).status == 0


# Seven rules for some destinations hid the eighth, as not every destination was tried.
def test_the_last_of_many_rules_for_some_clients_is_found(origin, config, directory):
    path = config("fwmark")
    set_up(origin, path, directory)
    origin.ip(*(f"rule add priority {50 + i} to 203.0.{i}.0/24 lookup 51820" for i in range(20)),
              "rule add priority 90 to 198.51.100.0/24 lookup 51821",
              f"route add default via {LB4} table 51821")

    report = routing.run(origin, "verify", path, directory)
    assert report.failed() == [MARK[4]], report.text
    at = report.lines.index(next(line for line in report.lines if MARK[4] in line))
    assert "rule 90 (from all to 198.51.100.0/24 lookup 51821) comes before" in report.lines[at + 1]
    routing.shell(origin, report.lines[at + 2])
    assert routing.run(origin, "verify", path, directory).status == 0


@pytest.mark.parametrize("rule, is_noted", [
    ("from all lookup 52", True),
    ("from all lookup main suppress_prefixlength 0", True),
    ("ipproto tcp dport 443 lookup 53", True),
    ("ipproto udp lookup 53", False),
    ("uidrange 1000-1999 lookup 53", False),
    ("ipproto tcp sport 80 lookup 53", False),
    ("iif eth0 lookup 53", False),
    ("oif eth0 lookup 53", False),
    ("from 10.99.0.2 lookup 53", False),
    ("fwmark 0x80000/0xff0000 lookup 53", False),
    ("to 224.0.0.0/4 lookup 53", False)])
def test_an_earlier_rule_for_others_is_at_most_noted(rule, is_noted, origin, config, directory):
    path = config("fwmark")
    set_up(origin, path, directory)
    origin.ip(f"rule add priority 50 {rule}", "route add 100.64.0.0/10 dev eth0 table 52",
              "route add default dev eth0 table 53")
    report = routing.run(origin, "verify", path, directory)
    assert report.status == 0, report.text
    noted = [line for line in report.lines if "may not come back: rule 50 (" in line]
    assert bool(noted) == is_noted, report.text
    if noted:
        assert noted[0].startswith("[ ] ") and noted[0].endswith(f": {MARK[4]} priority 49")


@pytest.mark.parametrize("rule", [
    "ipproto tcp sport 22 lookup 53", "uidrange 0-0 lookup 53", "iif lo lookup 53",
    "from 127.0.0.0/8 lookup 53", "from all goto 32766", "to 10.0.0.0/8 lookup 53",
    "not to 10.0.0.0/8 blackhole", "dport 32768-60999 lookup 53"])
def test_an_earlier_rule_for_the_replies_is_found(rule, origin, config, directory):
    path = config("fwmark")
    set_up(origin, path, directory)
    origin.ip(f"rule add priority 50 {rule}", "route add default dev eth0 table 53")
    report = routing.run(origin, "verify", path, directory)
    assert report.failed() == [MARK[4]], report.text
    routing.shell(origin, f"{MARK[4]} priority 49")
    assert routing.run(origin, "verify", path, directory).status == 0


def test_an_earlier_rule_that_takes_nothing_is_no_failure(origin, config, directory):
    path = config("fwmark")
    set_up(origin, path, directory)
    origin.ip("rule add priority 50 from all lookup 52", "route add 100.64.0.0/10 dev eth0 table 52",
              "rule add priority 51 from all lookup main suppress_prefixlength 0")
    assert routing.run(origin, "verify", path, directory).status == 0


@pytest.mark.parametrize("version, wrong", [
    (4, [f"route add default via {LB4} table 100"]),
    (4, [f"route add default via {LB4} table 100 metric 5",
         "route add local 0.0.0.0/0 dev lo table 100 metric 10"]),
    (4, ["route add blackhole default table 100"]),
    (6, ["-6 route add default dev eth0 table 100"]),
    (6, ["-6 route add local ::/0 dev lo table 100",
         "-6 route add default dev eth0 table 100 metric 5"])])
def test_a_wrong_route_is_found_and_the_commands_mend_it(version, wrong, origin, config, directory):
    path = config("loopback")
    set_up(origin, path, directory)
    routing.shell(origin, _undo(ROUTE[version]))
    origin.ip(*wrong)

    report = routing.run(origin, "verify", path, directory)
    assert report.failed() == [ROUTE[version]], report.text
    reason, *rest = report.lines[report.lines.index(next(
        line for line in report.lines if ROUTE[version] in line)) + 1:]
    assert reason.startswith("[!] a wrong route is in its place: ")
    commands = [line for line in rest if line.startswith("ip ") and " # " not in line]
    routing.shell(origin, "\n".join(commands))
    assert routing.run(origin, "verify", path, directory).status == 0


@pytest.mark.parametrize("rules", [
    ["rule add from 127.0.0.1/8 iif lo table 100"],
    ["rule add from 127.0.0.0/8 lookup 100"],
    ["rule add from 126.0.0.0/7 iif lo lookup 100"]])
def test_the_effect_counts_not_the_spelling(rules, origin, config, directory):
    origin.ip(*rules, "route add local default dev lo table 100 metric 7")
    report = routing.run(origin, "verify", config("loopback", target_v6=None), directory)
    assert report.status == 0, report.text


@pytest.mark.parametrize("rule", ["fwmark 0x7b/0xff", "fwmark 123 iif lo", "fwmark 123 ipproto tcp"])
def test_a_mark_with_a_mask_counts(rule, origin, config, directory):
    origin.ip(f"rule add {rule} lookup 100", "route add local default dev lo table 100")
    report = routing.run(origin, "verify", config("fwmark", target_v6=None), directory)
    assert MARK[4] not in report.failed(), report.text


@pytest.mark.parametrize("method", PIECES)
@pytest.mark.parametrize("version", [4, 6])
def test_only_the_families_of_the_targets_are_asked_for(method, version, origin, config, directory):
    path = config(method, **{f"target_v{10 - version}": None})
    items = routing.run(origin, "verify", path, directory).items
    assert items
    if version == 4:
        assert not [item for item in items if "-6 " in item or "ip6" in item or "ipv6" in item]
    else:
        assert all("-6 " in item or "ip6" in item or "ipv6" in item or item == ACCEPT
                   for item in items)


def test_rules_in_nft_syntax_count(origin, config, directory):
    path = config("connmark")
    set_up(origin, path, directory)
    for version in (4, 6):
        routing.shell(origin, _undo(_xtables(version, "PREROUTING")))
        routing.shell(origin, _undo(_xtables(version, "OUTPUT")))
    assert len(routing.run(origin, "verify", path, directory).failed()) == 4
    origin.run("nft", "-f", "-", input="""
        table inet mine {
            chain p {
                type filter hook prerouting priority mangle
                meta mark 123 counter ct mark set meta mark
            }
            chain o {
                type route hook output priority mangle
                ct mark 123 meta mark set ct mark comment "back"
            }
        }""")
    assert routing.run(origin, "verify", path, directory).status == 0


def test_rules_without_our_comment_count(origin, config, directory):
    path = config("connmark")
    for line in routing.run(origin, "rules", path, directory).lines:
        routing.shell(origin, line.replace("-m comment --comment mmproxy ", ""))
    assert routing.run(origin, "verify", path, directory).status == 0


WITHOUT_IPTABLES = ("unshare", "-m", "sh", "-c", 'mount --bind /dev/null '
                    '"$(readlink -f /usr/sbin/iptables)" && exec "$@"', "sh")


def test_iptables_that_is_not_installed_is_said(origin, config, directory):
    path = config("connmark")
    origin.ip("rule add fwmark 123 lookup 100", "route add local default dev lo table 100")
    report = routing.run(origin, "verify", path, directory, prefix=WITHOUT_IPTABLES)
    assert report.status == 1
    assert any(line.startswith("[!] iptables is not installed") for line in report.lines)
    assert report.items[MARK[4]] == routing.VERIFIED
    assert report.items[_xtables(4, "OUTPUT")] == routing.FAILED
    # Where nftables has the rules, nobody misses it.
    managed = routing.Managed(origin, conf.write(
        directory, [conf.listener(return_path="connmark")], routing="managed"), directory)
    report = routing.run(origin, "verify", path, directory, prefix=WITHOUT_IPTABLES)
    managed.stop()
    assert report.status == 0, report.text


HANGING_IPTABLES = ("unshare", "-m", "sh", "-c", 'printf "#!/bin/sh\\nexec sleep 1000\\n" > "$0" && '
                    'chmod +x "$0" && mount --bind "$0" "$(readlink -f /usr/sbin/iptables)" '
                    '&& exec "$@"')


def test_iptables_that_hangs_is_not_waited_for(origin, config, directory):
    """It would take a quarter of an hour."""
    path = config("connmark")
    report = routing.run(origin, "verify", path, directory,
                         prefix=(*HANGING_IPTABLES, directory / "iptables"))
    assert report.status == 1
    assert "[!] iptables gives no answer: Connection timed out" in report.lines


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("version", [4, 6])
def test_connmark_without_a_default_route_is_said(version, origin, config, directory):
    path = config("connmark")
    set_up(origin, path, directory)
    origin.ip("route del default" if version == 4 else "-6 route del default")
    report = routing.run(origin, "verify", path, directory)
    assert report.status == 1
    assert any(f"there is no IPv{version} default route" in line for line in report.lines)
    check = routing.run(origin, "check", path, directory)
    assert any(f"needs a default route for IPv{version}" in line for line in check.lines), check.text


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("method", ["loopback", "fwmark"])
def test_the_other_methods_need_no_default_route(method, origin, config, directory):
    path = config(method)
    origin.ip("route del default", "-6 route del default")
    set_up(origin, path, directory)
    assert routing.run(origin, "verify", path, directory).status == 0
    assert routing.run(origin, "check", path, directory).status == 0


def test_route_localnet_that_is_on_for_nothing_is_said(origin, config, directory):
    path = config("fwmark")
    set_up(origin, path, directory)
    origin.sysctl("net.ipv4.conf.eth0.route_localnet", 1)
    report = routing.run(origin, "verify", path, directory)
    assert report.status == 0
    assert any(line.endswith("sysctl -w net.ipv4.conf.eth0.route_localnet=0")
               for line in report.lines)
    path = config("connmark")
    assert LOCALNET in routing.run(origin, "verify", path, directory).items


def test_auto_says_what_it_took(origin, directory):
    listeners = [
        conf.listener(name="local", listen="0.0.0.0:1", return_path="auto"),
        conf.listener(name="mixed", listen="0.0.0.0:2", return_path="auto",
                      target_v4=f"{ORIGIN_OF[4]}:22"),
        conf.listener(name="chosen", listen="0.0.0.0:3", return_path="loopback"),
    ]
    report = routing.run(origin, "verify", conf.write(directory, listeners), directory)
    assert [line for line in report.lines if "return path auto" in line] == [
        "[ ] local: return path auto is loopback for 127.0.0.1:22: it is on loopback.",
        "[ ] local: return path auto is loopback for [::1]:22: it is on loopback.",
        f"[ ] mixed: return path auto is fwmark for {ORIGIN_OF[4]}:22: "
        "it is an address of this host.",
        "[ ] mixed: return path auto is fwmark for [::1]:22: the listener's other target needs it."]


def test_a_host_without_ipv6_is_a_warning(directory):
    origin = netns.Namespace()
    try:
        origin.ip("link set lo up")
        origin.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        origin.sysctl("net.ipv6.conf.lo.disable_ipv6", 1)
        service = EchoTarget(origin, "127.0.0.1", conf.SERVICE_PORT)
        path = conf.write(directory, [conf.listener(return_path="fwmark")])
        managed = routing.Managed(origin, conf.write(
            directory, [conf.listener(return_path="fwmark")], routing="managed"), directory)
        report = routing.run(origin, "verify", path, directory)
        check = routing.run(origin, "check", path, directory)
        managed.stop()
        service.close()
    finally:
        origin.close()
    assert managed.lines[-1] and "ready" in managed.lines
    assert report.status == 0 and "[!] This host has no IPv6: IPv6 targets are left out." \
        in report.text
    assert check.status == 0
    assert check.lines[-1] == ("[!] Target server [::1]:22 is not checked: this host has no IPv6.")


def test_an_ordinary_user_can_verify_what_needs_no_privilege(origin, config, directory):
    path = config("fwmark")
    set_up(origin, path, directory)
    nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    assert routing.run(origin, "verify", path, directory, prefix=nobody).status == 0


# A name that the kernel takes; unquoted it is three commands.
NASTY = "e;>x;'$(>y)"


def test_interface_name_is_no_command_in_what_is_printed_for_a_shell(plain_net, config, directory,
                                                                     monkeypatch):
    origin = plain_net.origin
    run_in = directory / "shell"
    run_in.mkdir()
    monkeypatch.chdir(run_in)
    origin.run("ip", "link", "set", "eth0", "down")
    origin.run("ip", "link", "set", "eth0", "name", NASTY)
    origin.run("ip", "link", "set", NASTY, "up")
    origin.run("ip", "route", "add", "default", "via", LB4, "dev", NASTY)
    origin.run("ip", "route", "add", "default", "via", LB4, "dev", NASTY, "table", "100")
    path = config("connmark", target_v6=None)
    knob = f"/proc/sys/net/ipv4/conf/{NASTY}/route_localnet"

    # A wrong route in the place of ours: the report says what to run.
    report = routing.run(origin, "verify", path, directory)
    mends = [line for line in report.lines if line.startswith("ip route del ")]
    assert len(mends) == 1, report.text
    routing.shell(origin, mends[0])
    set_up(origin, path, directory)
    assert origin.call(_read, knob) == "1"
    assert routing.run(origin, "verify", path, directory).status == 0

    # Not needed by the next one, which says how to take it back.
    path = config("fwmark", target_v6=None)
    hint, = [line for line in routing.run(origin, "verify", path, directory).lines
             if "is on and not needed" in line and "conf.all" not in line]
    routing.shell(origin, hint.rpartition("needs it: ")[2])
    assert origin.call(_read, knob) == "0"

    path = config("connmark", target_v6=None)
    undo = routing.run(origin, "rules", path, directory, "--rules=undo").text
    routing.shell(origin, undo)
    # As ifupdown gives them to a shell.
    text = routing.run(origin, "rules", path, directory, "--rules=interfaces").text
    for line in re.findall(r"^    (?:post-up|pre-down) (.*)$", text, re.M):
        routing.shell(origin, line)
    assert origin.call(_read, knob) == "0"
    assert not list(run_in.iterdir())


def _read(path):
    with open(path, encoding="ascii") as file:
        return file.read().strip()
