# SPDX-License-Identifier: BSD-2-Clause
"""
Return path routed: targets on other machines whose replies pass through this host, as those of
containers on a bridge and of namespaces behind a veth pair.
"""

import re
import signal
import socket

import pytest

from lib import conf, daemon, header, proc, routing
from lib.box import BOX_OF, Box
from lib.conn import RST, connect
from lib.reloading import RELOADED
from lib.target import EchoTarget
from lib.topology import CLIENT_OF, LB4, LB6, ORIGIN_OF
from lib.wait import DEADLINE, until

LB_OF = {4: LB4, 6: LB6}


@pytest.fixture(params=[True, False], ids=["bridge", "veth"])
def box(request, plain_net):
    """With strict rp_filter, and docker's masquerading of what leaves its network."""
    routing.create_mangle(plain_net.origin)
    made = Box(plain_net.origin, request.param)
    for tool, network in (("iptables", "172.18.0.0/24"), ("ip6tables", "fd18::/64")):
        plain_net.origin.run(tool, "-t", "nat", "-A", "POSTROUTING", "-s", network,
                             "!", "-o", made.device, "-j", "MASQUERADE")
    yield made
    made.close()


def listener(**keys):
    return conf.listener(**({"target_v4": f"{BOX_OF[4]}:25", "target_v6": f"[{BOX_OF[6]}]:25",
                             "return_path": "routed"} | keys))


def write(directory, *listeners, **settings):
    return conf.write(directory, listeners or [listener()],
                      **({"workers": 1, "routing": "managed"} | settings))


def environment(directory):
    return {"RUNTIME_DIRECTORY": str(directory / "run")}


@pytest.fixture
def start(origin, launch, directory):
    def make(config):
        gateway = launch(origin, "-c", config, env=environment(directory))
        gateway.wait_listening(*conf.LISTEN)
        return gateway
    return make


def session(net, box, version, port=51234):
    peer = connect(net.lb, ORIGIN_OF[4], conf.PORT)
    peer.send(header.v2(CLIENT_OF[version], port) + b"hello")
    assert peer.recv(5) == b"hello"
    assert (CLIENT_OF[version], port) in box.services[version].sources
    return peer


def echoes(peer):
    peer.send(b"still here")
    return peer.recv(10) == b"still here"


def direct(net, box, version):
    """Not through mmproxy: from the load balancer's machine, which has a route to the box."""
    family = ["-6"] if version == 6 else []
    net.lb.run("ip", *family, "route", "replace", BOX_OF[version], "via", ORIGIN_OF[version])
    connection = connect(net.lb, BOX_OF[version], 25)
    routing.talk(connection, box.services[version])
    return connection


def check(origin, directory, config):
    where = f"RUNTIME_DIRECTORY={directory / 'run'}"
    return daemon.run(("--check", "-c", config), directory, origin, prefix=("env", where))


def tables(origin):
    return origin.run("nft", "list", "tables")


def shell(origin, directory, config, form):
    text = daemon.run((f"--rules={form}", "-c", config), directory, origin).stdout
    routing.shell(origin, text)


@pytest.mark.parametrize("version", (4, 6))
def test_manual_by_the_commands_that_are_printed(version, box, origin, plain_net, directory, start):
    before = routing.snapshot(origin)
    config = write(directory, routing="manual")
    assert check(origin, directory, config).returncode == 1
    shell(origin, directory, config, "shell")
    done = check(origin, directory, config)
    assert done.returncode == 0, done.stderr
    assert "[!]" not in done.stderr
    assert f"Routing to {BOX_OF[version]} points to a machine behind {box.device}." in done.stderr
    gateway = start(config)
    open_direct = direct(plain_net, box, version)
    session(plain_net, box, version).close()
    assert echoes(open_direct)
    gateway.stop()
    shell(origin, directory, config, "undo")
    assert routing.snapshot(origin) == before


@pytest.mark.parametrize("version", (4, 6))
def test_managed_leaves_nothing_behind(version, box, origin, plain_net, directory, start):
    before = routing.snapshot(origin)
    open_direct = direct(plain_net, box, version)
    gateway = start(write(directory))
    assert not gateway.find(r"\[!\] Return path.*")
    kept = session(plain_net, box, version)
    assert echoes(open_direct)
    direct(plain_net, box, version).close()
    kept.close()
    gateway.stop()
    assert echoes(open_direct)
    assert routing.snapshot(origin) == before


@pytest.mark.parametrize("form", ("managed", "manual"))
@pytest.mark.parametrize("version", (4, 6))
def test_datagrams_and_their_replies(version, form, box, origin, plain_net, directory, start):
    """The service sees the client, and the client gets the answer."""
    before = routing.snapshot(origin)
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    service = box.namespace.socket(family, socket.SOCK_DGRAM)
    service.bind((BOX_OF[version], 53))
    config = write(directory, listener(protocol="udp", target_v4=f"{BOX_OF[4]}:53",
                                       target_v6=f"[{BOX_OF[6]}]:53"), routing=form,
                   drain_timeout=0)
    if form == "manual":
        shell(origin, directory, config, "shell")
    gateway = start(config)
    peer = plain_net.lb.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for sock in (service, peer):
        sock.settimeout(DEADLINE)
    stream = header.v2(CLIENT_OF[version], 51234)
    datagram = stream[:13] + bytes([stream[13] & 0xf0 | 2]) + stream[14:]
    peer.sendto(datagram + b"hello", (ORIGIN_OF[4], conf.PORT))
    data, source = service.recvfrom(100)
    assert (data, source[:2]) == (b"hello", (CLIENT_OF[version], 51234))
    service.sendto(b"world", source)
    assert peer.recv(100) == b"world"
    for sock in (service, peer):
        sock.close()
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit() == 0
    if form == "manual":
        shell(origin, directory, config, "undo")
    assert routing.snapshot(origin) == before


def test_a_closed_port_is_refused_at_once(box, origin, plain_net, directory, start):
    box.services[4].close()
    gateway = start(write(directory))
    peer = connect(plain_net.lb, ORIGIN_OF[4], conf.PORT)
    peer.send(header.v2(CLIENT_OF[4], 51234))
    gateway.wait_line(r"\[-\] ssh: .* failed: Connection refused.*")
    peer.close()


@pytest.mark.parametrize("version", (4, 6))
def test_a_client_in_the_target_s_own_network_is_refused(version, box, plain_net, directory, start):
    """The target would answer it directly, and it would hang until connect_timeout."""
    gateway = start(write(directory))
    neighbour = {4: "172.18.0.77", 6: "fd18::77"}[version]
    peer = connect(plain_net.lb, ORIGIN_OF[4], conf.PORT)
    peer.send(header.v2(neighbour, 51234))
    gateway.wait_line(r"\[\?\] ssh: .* refused, proxy protocol source .*: the client is in the "
                      r"target's own network, so replies would not come back here")
    peer.expect_end(RST)
    assert neighbour not in [host for host, _ in box.services[version].sources]


def test_the_rule_is_for_this_target_alone(box, origin, directory, start):
    start(write(directory))
    rules = re.findall(r"socket transparent.*", origin.run("nft", "list", "ruleset"))
    assert len(rules) == 2
    text = origin.run("nft", "list", "table", "inet", "mmproxy")
    assert f"ip saddr {BOX_OF[4]} tcp sport 25 socket transparent 1 meta mark set" in text
    assert f"ip6 saddr {BOX_OF[6]} tcp sport 25 socket transparent 1 meta mark set" in text


@pytest.mark.parametrize("version", (4, 6))
def test_what_is_flushed_comes_back_and_sessions_survive(version, box, origin, plain_net,
                                                         directory, start):
    gateway = start(write(directory))
    running = routing.snapshot(origin)
    kept = session(plain_net, box, version)
    origin.run("nft", "delete", "table", "inet", "mmproxy")
    gateway.wait_line(r"\[!\] Return path: put back after another program removed it: nft table inet mmproxy")
    until(lambda: routing.snapshot(origin) == running, "the rules to come back")
    assert echoes(kept)
    kept.close()


def test_after_a_crash_sessions_live_on_and_the_next_start_cleans_up(box, origin, plain_net,
                                                                     directory, start):
    before = routing.snapshot(origin)
    first = start(write(directory))
    kept = [session(plain_net, box, version) for version in (4, 6)]
    workers = first.workers()
    first.may_lose_workers = True
    first.signal(signal.SIGKILL)
    first.wait_exit()
    until(lambda: not origin.is_listening(conf.PORT), "the orphans to let go of the port")
    second = start(write(directory, listener(mark=8, table=1008)))
    assert all(map(echoes, kept))
    session(plain_net, box, 4, 51235).close()
    for each in kept:
        each.close()
    until(lambda: not any(map(proc.is_alive, workers)), "the orphans to end")
    until(lambda: "mark set 0x0000007b" not in origin.run("nft", "list", "ruleset"),
          "the dead instance's rules to go")
    session(plain_net, box, 6, 51236).close()
    second.stop()
    assert routing.snapshot(origin) == before
    assert not list((directory / "run").iterdir())


def test_a_reload_to_another_target_keeps_the_old_one_until_it_is_drained(box, origin, plain_net,
                                                                          directory, start):
    before = routing.snapshot(origin)
    gateway = start(write(directory))
    kept = session(plain_net, box, 4)
    other = EchoTarget(box.namespace, BOX_OF[4], 143)
    write(directory, listener(target_v4=f"{BOX_OF[4]}:143"))
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(RELOADED)
    assert echoes(kept)
    peer = connect(plain_net.lb, ORIGIN_OF[4], conf.PORT)
    peer.send(header.v2(CLIENT_OF[4], 51235) + b"hello")
    assert peer.recv(5) == b"hello" and (CLIENT_OF[4], 51235) in other.sources
    peer.close()
    kept.close()
    until(lambda: f"ip saddr {BOX_OF[4]} tcp sport 25" not in origin.run("nft", "list", "ruleset"),
          "the old target's rule to go")
    assert "tcp sport 143" in origin.run("nft", "list", "ruleset")
    other.close()
    gateway.stop()
    assert routing.snapshot(origin) == before


def test_a_rule_of_the_administrator_s_is_enough_and_stays(box, origin, plain_net, directory, start):
    origin.run("nft", "-f", "-", input="""
        table inet mine { chain pre { type filter hook prerouting priority mangle;
            meta l4proto tcp socket transparent 1 meta mark set 123; }; }""")
    before = routing.snapshot(origin)
    gateway = start(write(directory))
    assert "inet mmproxy" not in tables(origin)
    session(plain_net, box, 4).close()
    gateway.stop()
    assert routing.snapshot(origin) == before


def test_a_target_of_this_host_is_reported(box, origin, directory):
    assert box
    service = EchoTarget(origin, ORIGIN_OF[4], 25)
    done = check(origin, directory, write(directory, listener(target_v4=f"{ORIGIN_OF[4]}:25",
                                                              target_v6=None)))
    assert done.returncode == 1
    assert f"[!] FAILED: Target {ORIGIN_OF[4]} is on this machine" in done.stderr
    service.close()


def test_a_missing_rule_is_reported_with_the_command_that_mends_it(box, origin, directory):
    config = write(directory, listener(target_v6=None), routing="manual")
    shell(origin, directory, config, "shell")
    assert check(origin, directory, config).returncode == 0
    table, = re.findall(r"table inet (mmproxy-\S+)", tables(origin))
    origin.run("nft", "delete", "table", "inet", table)
    done = check(origin, directory, config)
    assert done.returncode == 1
    command, = re.findall(r"^(nft '.*') +# \[!\] CHECK FAILED$", done.stderr, re.MULTILINE)
    routing.shell(origin, command)
    assert check(origin, directory, config).returncode == 0


def test_auto_decides_for_each_target(box, origin, net, directory, start):
    here = EchoTarget(origin, "127.0.0.1", 25)
    config = write(directory, listener(target_v4="127.0.0.1:25", return_path="auto"))
    gateway = start(config)
    peer = connect(net.lb, ORIGIN_OF[4], conf.PORT)
    peer.send(header.v2(CLIENT_OF[4], 51234) + b"hello")
    assert peer.recv(5) == b"hello"
    assert (CLIENT_OF[4], 51234) in here.sources
    session(net, box, 6)
    report = check(origin, directory, config).stderr
    assert "return path auto is loopback for 127.0.0.1:25: it is on loopback." in report
    assert (f"return path auto is routed for [{BOX_OF[6]}]:25: it is not an address of this host."
            in report)
    gateway.stop()
    here.close()


def test_nftables_that_can_not_be_read_is_said_with_what_to_do(box, origin, directory):
    config = write(directory, listener(target_v6=None), routing="manual")
    shell(origin, directory, config, "shell")
    done = routing.run(origin, "verify", config, directory,
                       prefix=("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"))
    assert box and done.status == 1
    assert re.search(r"nftables can't be read: .*; run this as root", done.text), done.text


def test_nft_that_is_not_installed_is_said(box, origin, directory):
    config = write(directory, listener(target_v6=None), routing="manual")
    hidden = ("unshare", "-m", "sh", "-c",
              'mount --bind /dev/null "$(readlink -f /usr/sbin/nft)" && exec "$@"', "sh")
    done = routing.run(origin, "verify", config, directory, prefix=hidden)
    assert box and done.status == 1
    assert any(line.startswith("[!] nft is not installed") for line in done.lines), done.text
    assert "nft is not installed" not in routing.run(origin, "verify", config, directory).text
