# SPDX-License-Identifier: BSD-2-Clause
"""
Faults of the return path: --check names each, and the commands of its report mend it.

A fault is injected into a working host. The commands are run as they are printed, top to bottom, in
one shell that ends at the first failure; then sessions of real clients must work. A fault that the
commands do not mend says why (`unmended`).
"""

import concurrent.futures
import contextlib
import pathlib
import re
import socket
import subprocess
import traceback

import pytest

from lib import conf, conntrack, daemon, fault_count, healthy_hosts, netns, routing, udp
from lib import return_path_faults as faults
from lib.box import BOX_OF, Box
from lib.target import EchoTarget
from lib.topology import CLIENT_OF, LOOPBACK_OF, Topology
from lib.wait import DEADLINE

PORT = conf.SERVICE_PORT
AT_ONCE = 6  # faults, each on a host of its own: a check waits for answers most of the time


def check(origin, path, directory):
    status, output = origin.try_out(daemon.BINARY, "--check", "-c", path, seconds=DEADLINE,
                                    env=routing.environment(directory))
    assert not daemon.sanitizer_reports(directory), daemon.sanitizer_reports(directory)
    return routing.Result(status, output)


def version_of(address):
    return 6 if ":" in address else 4


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
    assert set(faults.DOCUMENTED.values()) <= {*MENDED, *faults.SERVICE, *faults.SOCKETS}


def shell(origin, directory, commands):
    """Each host has its own lock for iptables-legacy, which does not wait for another."""
    routing.shell(origin, f"export XTABLES_LOCKFILE={directory}/xtables.lock\n{commands}")


class Host:
    """
    A host with one listener and its target, all of it well. Commands run one after the other in a
    shell, as they are printed.
    """

    def __init__(self, origin, directory, listener):
        self.origin, self.directory = origin, directory
        self.path = conf.write(directory, [listener])
        self.shell(self.rules())

    def rules(self):
        return routing.run(self.origin, "rules", self.path, self.directory).text

    def shell(self, commands, namespace=None):
        shell(namespace or self.origin, self.directory, commands)

    def run(self, command):
        if command == "conntrack: full":
            conntrack.fill(self.origin)
        else:
            self.shell(command)

    def run_inside(self, command):
        raise NotImplementedError

    def check(self):
        return check(self.origin, self.path, self.directory)


class Local(Host):
    def __init__(self, origin, directory, method):
        super().__init__(origin, directory, conf.listener(return_path=method))
        self.services = [EchoTarget(origin, address, PORT) for address in ("127.0.0.1", "::1")]

    def serve_client(self, client, port):
        """Replies reach a client that --check does not know, and one of the other family."""
        self.close()
        version = version_of(client)
        for each, source_port in ((client, port), (CLIENT_OF[10 - version], 0)):
            address = LOOPBACK_OF[version_of(each)]
            self.services = [EchoTarget(self.origin, address, PORT)]
            connection = routing.spoofed(self.origin, each, address, PORT, source_port=source_port)
            routing.talk(connection, self.services[0])
            connection.close()
            self.close()

    def close(self):
        for service in self.services:
            service.close()
        self.services = []


class Flows(Host):
    def __init__(self, origin, directory, _):
        super().__init__(origin, directory, udp.listener(target_v6=None, return_path="flows"))
        self.service = udp.Echo(origin, "0.0.0.0", udp.SERVICE_PORT)

    def serve_client(self, client, port):
        routing.ask_spoofed(self.origin, client, "127.0.0.1", udp.SERVICE_PORT, source_port=port)
        assert (b"question", client) in [(data, host) for data, (host, _) in self.service.seen]

    def close(self):
        self.service.close()


class Routed(Host):
    def __init__(self, origin, directory, _):
        self.box = Box(origin, is_bridged=True)
        super().__init__(origin, directory, conf.listener(
            target_v4=f"{BOX_OF[4]}:25", target_v6=None, return_path="routed"))

    def run_inside(self, command):
        self.shell(command, self.box.namespace)

    def serve_client(self, client, port):
        connection = routing.spoofed(self.origin, client, BOX_OF[4], 25, mark=0, source_port=port)
        routing.talk(connection, self.box.services[4])
        connection.close()

    def close(self):
        self.box.close()


class RoutedDatagrams(Routed):
    def __init__(self, origin, directory, _):
        self.box = Box(origin, is_bridged=True)
        Host.__init__(self, origin, directory, udp.listener(
            target_v4=f"{BOX_OF[4]}:53", target_v6=None, return_path="routed"))
        self.service = udp.Echo(self.box.namespace, BOX_OF[4], udp.SERVICE_PORT)

    def serve_client(self, client, port):
        routing.ask_spoofed(self.origin, client, BOX_OF[4], udp.SERVICE_PORT, mark=0,
                            source_port=port)
        assert (b"question", client) in [(data, host) for data, (host, _) in self.service.seen]

    def close(self):
        self.service.close()
        super().close()


class Netns(Host):
    """The targets are on the loopback of another namespace; its commands are run from here."""

    def __init__(self, origin, directory, method):
        self.link, self.namespace, self.services = directory / "netns", None, []
        self.make_anew()
        self.listen("0.0.0.0", "::1")
        super().__init__(origin, directory, self.listener(method))

    def rules(self):
        return daemon.run(["--rules", "-c", self.path], self.directory, self.origin).stdout

    def listener(self, method):
        method = "loopback" if method == "fwmark" else method
        return conf.listener(name="mail", netns=str(self.link), return_path=method,
                             target_v4="127.0.0.1:25", target_v6="[::1]:25")

    def make_anew(self):
        self.close()
        self.namespace = netns.Namespace()
        routing.create_mangle(self.namespace)
        routing.stop_pacing(self.namespace)
        self.namespace.ip("link set lo up", "link add eth0 type veth peer name eth1",
                          "link set eth1 addrgenmode none up", "link set eth0 addrgenmode none up",
                          "address add 172.18.0.2/24 dev eth0",
                          "route add default via 172.18.0.1")
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(self.namespace.path)

    def listen(self, *addresses):
        for service in self.services:
            service.close()
        self.services = [EchoTarget(self.namespace, address, 25) for address in addresses]

    def run_inside(self, command):
        if command == "gone":
            self.link.unlink()
        elif command == "new":
            self.make_anew()
            self.listen("0.0.0.0", "::1")
        elif command.startswith("services:"):
            self.listen(*command.split()[1:])
        else:
            self.shell(command, self.namespace)

    def serve_client(self, client, port):
        version = version_of(client)
        if version == 6:
            self.listen("0.0.0.0", "::1")  # the address of the old one was gone for a while
        connection = routing.spoofed(self.namespace, client, LOOPBACK_OF[version], 25,
                                     source_port=port)
        routing.talk(connection, self.services[version == 6])
        connection.close()

    def close(self):
        for service in self.services:
            service.close()
        self.services = []
        if self.namespace:
            self.namespace.close()


class NetnsMark(Netns):
    def listener(self, method):
        return super().listener(method) | {"return_path": "fwmark"}


class NetnsFlows(Netns):
    def listener(self, method):
        return udp.listener(name="mail", netns=str(self.link), target_v6=None, return_path="flows")

    def listen(self, *addresses):
        self.services = [udp.Echo(self.namespace, "0.0.0.0", udp.SERVICE_PORT)]

    def serve_client(self, client, port):
        routing.ask_spoofed(self.namespace, client, "127.0.0.1", udp.SERVICE_PORT, source_port=port)


KINDS = ((Local, faults.LOCAL), (Flows, faults.FLOWS), (Routed, faults.ROUTED),
         (RoutedDatagrams, faults.ROUTED_UDP),
         (Netns, faults.NETNS), (NetnsMark, faults.NETNS_MARK), (NetnsFlows, faults.NETNS_FLOWS))
MENDED = {name: fault for _, table in KINDS for name, fault in table.items()}
SOME = [(kind, list(table)[i:i + AT_ONCE])
        for kind, table in KINDS for i in range(0, len(table), AT_ONCE)]


@pytest.fixture
def no_lock_of_legacy_iptables():
    yield
    pathlib.Path("/run/xtables.lock").unlink(missing_ok=True)


@contextlib.contextmanager
def working_host(kind, method, directory):
    topology = Topology()
    try:
        routing.create_mangle(topology.origin)
        routing.stop_pacing(topology.origin)
        directory.mkdir()
        directory.chmod(0o1777)
        host = kind(topology.origin, directory, method)
        try:
            yield host
        finally:
            host.close()
    finally:
        topology.close()


def mend(host, report):
    there = re.findall(r"there: (ip .*? via [0-9.]+)\. ", report.text)
    within = re.findall(r"to switch it on, and then check again: (.*?)(?: \(netns .*\))?$",
                        report.text, re.MULTILINE)
    assert report.commands or there or within, report.text
    host.shell("\n".join([*within, *report.commands]))
    for command in there:
        host.run_inside(command)


def inject_and_mend(kind, name, directory):
    fault = MENDED[name]
    with working_host(kind, fault.method, directory) as host:
        healthy = host.check()
        assert healthy.status == 0 and not healthy.commands, healthy.text
        for command in fault.inject:
            host.run(command)
        for command in fault.inside:
            host.run_inside(command)

        report = host.check()
        assert report.status == fault.status, report.text
        assert re.search(fault.named, report.text), report.text
        assert len(set(report.commands)) == len(report.commands), report.text
        is_told_as_documented(name, report)
        if fault.unmended:
            return
        reports = [report.text]
        for _ in range(fault.checks):
            mend(host, report)
            report = host.check()
            reports.append(report.text)
        assert report.status == 0 and not report.commands, "\n".join(reports)
        assert "[!]" not in report.text, report.text
        host.serve_client(fault.client, fault.port)


@pytest.mark.parametrize("kind, names", [pytest.param(kind, names, id=f"{names[0]}, ...")
                                         for kind, names in SOME])
def test_faults_are_named_and_the_printed_commands_mend_them(kind, names, directory):
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        running = {name: pool.submit(inject_and_mend, kind, name, directory / str(i))
                   for i, name in enumerate(names)}
    failed = {name: each.exception() for name, each in running.items() if each.exception()}
    assert not failed, "\n".join(f"--- {name}\n{''.join(traceback.format_exception(error))}"
                                 for name, error in failed.items())


def test_the_count_in_the_documents_is_that_of_these_faults():
    text = (daemon.ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    assert fault_count.count() in text


def test_names_and_comments_of_a_container_run_nothing_in_a_pasted_report(directory):
    """Whoever is root in the container chooses them; each line of the report is pasted on its own."""
    with working_host(Netns, "loopback", directory / "host") as host:
        for command in ("ip link add '$(>ran)' type veth peer name peer; ip link set peer up; "
                        "ip link set '$(>ran)' up",
                        "ip route replace default dev '$(>ran)'",
                        "ip rule del from 127.0.0.0/8 iif lo; ip -6 rule del from ::1 iif lo",
                        faults.nft('ip saddr 192.0.0.0/8 drop comment "$(>ran); >ran; `>ran` |>ran"'),
                        "ip6tables-legacy -N 'a;>ran'; ip6tables-legacy -I INPUT -j 'a;>ran'; "
                        "ip6tables-legacy -A 'a;>ran' ! -s ::1 -m comment --comment '$(>ran)' -j DROP"):
            host.run_inside(command)
        for _ in range(2):
            report = host.check()
            for line in report.lines:
                subprocess.run(host.origin.argv("sh", "-c", line), cwd=directory, check=False,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=DEADLINE)
            assert not (directory / "ran").exists(), report.text
        assert not host.check().commands, report.text


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


@contextlib.contextmanager
def listening_socket(origin, *options):
    """One that accepts nothing."""
    with origin.socket(socket.AF_INET) as listening:
        for option in options:
            listening.setsockopt(*option)
        origin.call(listening.bind, ("127.0.0.1", PORT))
        listening.listen(0)
        yield


def test_a_service_that_is_bound_to_an_interface_is_named(origin, config, directory):
    path = config("loopback", target_v6=None)
    routing.shell(origin, routing.run(origin, "rules", path, directory).text)
    with listening_socket(origin, (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")):
        report = check(origin, path, directory)
    assert report.status == 1, report.text
    is_told_as_documented("the service is bound to an interface", report)


def test_a_service_that_accepts_nothing_is_named(origin, config, directory):
    path = config("loopback", target_v6=None)
    routing.shell(origin, routing.run(origin, "rules", path, directory).text)
    with listening_socket(origin), origin.socket(socket.AF_INET) as waiting:
        origin.call(waiting.connect, ("127.0.0.1", PORT))
        report = check(origin, path, directory)
    assert report.status == 1, report.text
    is_told_as_documented("the service hangs", report)


# --- hosts on which nothing is wrong


@pytest.mark.usefixtures("services", "no_lock_of_legacy_iptables")
@pytest.mark.release
@pytest.mark.parametrize("name, method", healthy_hosts.CASES)
def test_a_healthy_host_is_silent(name, method, origin, config, directory):
    needs_v6 = method != "connmark" or name != "no IPv6 default route"
    path = config(method, **({} if needs_v6 else {"target_v6": None}))
    commands = routing.run(origin, "rules", path, directory).text
    shell(origin, directory, re.sub(r"(ip (-6 )?rule add .*)", r"\1 priority 80", commands))
    shell(origin, directory, healthy_hosts.HEALTHY[name])
    report = check(origin, path, directory)
    assert report.status == 0, report.text
    assert not report.commands and "[!]" not in report.text, report.text


@pytest.mark.usefixtures("no_lock_of_legacy_iptables")
@pytest.mark.parametrize("kind", (Flows, Routed, RoutedDatagrams))
def test_a_host_of_many_shapes_at_once_is_silent(kind, origin, directory):
    host = kind(origin, directory, None)
    shapes = {name: commands for name, commands in healthy_hosts.HEALTHY.items()
              if name not in healthy_hosts.LOCAL_ONLY}
    # Of what does not come over lo, it has to let replies in.
    shapes["a firewall of iptables"] += "\niptables -A INPUT -m state --state ESTABLISHED -j ACCEPT"
    try:
        host.shell("ip rule add fwmark 123 lookup 100 priority 80\n"
                   "ip rule add from 127.0.0.0/8 iif lo lookup 100 priority 81")
        for name, commands in shapes.items():
            host.shell(commands.replace("route add", "route replace"))
            report = host.check()
            assert report.status == 0 and "[!]" not in report.text, f"{name}:\n{report.text}"
        host.serve_client(CLIENT_OF[4], 0)
    finally:
        host.close()


@pytest.mark.usefixtures("no_lock_of_legacy_iptables")
def test_legacy_iptables_is_seen(origin, config, directory):
    path = config("connmark", target_v6=None)
    commands = routing.run(origin, "rules", path, directory).text
    try:
        shell(origin, directory, commands.replace("iptables ", "iptables-legacy "))
    except AssertionError as error:
        assert "legacy" in str(error), error
        return  # this kernel has none of the old tables
    service = EchoTarget(origin, "127.0.0.1", PORT)
    report = check(origin, path, directory)
    service.close()
    assert report.status == 0, report.text
