# SPDX-License-Identifier: BSD-2-Clause
"""
The key netns: targets in another network namespace. Its path is a link here, so that a test can
have it appear, vanish, and become another one.
"""

import itertools
import os
import signal
import socket
import threading

import pytest

from lib import conf, ctl, daemon, header, netns, proc, routing, udp
from lib.conn import RST, connect
from lib.reloading import RELOADED, Reloader
from lib.target import EchoTarget
from lib.topology import CLIENT_OF, LOOPBACK_OF, ORIGIN_OF
from lib.upgrading import Upgradable
from lib.wait import DEADLINE, until

PORT = 25
CLOSED = r"\[!\] mail is closed: {} \(netns .*\)"
MISSING = CLOSED.format("its network namespace does not exist")
SYS_ADMIN, SYS_PTRACE, NET_RAW = 1 << 21, 1 << 19, 1 << 13


class Box:
    """A namespace with services on its loopback and on an address of its own."""

    own = {4: "172.18.0.2", 6: "fd18::2"}

    def __init__(self, lo="up"):
        self.namespace = netns.Namespace()
        routing.stop_pacing(self.namespace)
        routing.create_mangle(self.namespace)
        self.namespace.ip("link add eth0 type veth peer name eth1",
                          "link set eth1 addrgenmode none up", "link set eth0 addrgenmode none up",
                          f"address add {self.own[4]}/24 dev eth0",
                          f"address add {self.own[6]}/64 dev eth0 nodad", f"link set lo {lo}")
        netns.wait_link(self.namespace, "eth0")
        self.services = {version: EchoTarget(self.namespace, "0.0.0.0" if version == 4 else "::",
                                             PORT) for version in (4, 6)}

    def close(self):
        for service in self.services.values():
            service.close()
        self.namespace.close()


@pytest.fixture
def new_box():
    made = []

    def make(**options):
        made.append(Box(**options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def link(directory):
    """link(box): the path of netns leads to it; to nothing with None."""
    path = directory / "netns"

    def make(box):
        if box is None:
            path.unlink()
            return
        new = directory / "netns.new"
        new.symlink_to(box.namespace.path)
        new.rename(path)

    return make


@pytest.fixture
def box(new_box, link):
    made = new_box()
    link(made)
    return made


def mail(directory, **keys):
    return conf.listener(**({"name": "mail", "netns": str(directory / "netns"),
                             "target_v4": f"127.0.0.1:{PORT}", "target_v6": f"[::1]:{PORT}"}
                            | keys))


def plain(**keys):
    return conf.listener(name="plain", listen="0.0.0.0:8080", **keys)


def write(directory, *listeners, **settings):
    return conf.write(directory, listeners or [mail(directory)],
                      **({"workers": 1, "routing": "managed", "drain_timeout": 0,
                          "control": str(directory / "control.sock")} | settings))


def environment(directory):
    return {"RUNTIME_DIRECTORY": str(directory / "run")}


@pytest.fixture
def start(origin, launch, directory):
    def make(config, wait=True):
        gateway = launch(origin, "-c", config, env=environment(directory))
        if wait:
            gateway.wait_listening(*conf.LISTEN, name="mail")
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


def capabilities(pid, kind="CapPrm"):
    return int(proc.status(pid)[kind], 16)


@pytest.mark.parametrize("form", ("managed", "manual"))
@pytest.mark.parametrize("target", ("loopback", "own"))
def test_the_service_sees_the_client_and_the_host_is_untouched(target, form, box, origin,
                                                               plain_net, directory, start):
    before = routing.snapshot(origin), routing.snapshot(box.namespace)
    address = LOOPBACK_OF if target == "loopback" else box.own
    config = write(directory, mail(directory, target_v4=f"{address[4]}:{PORT}",
                                   target_v6=f"[{address[6]}]:{PORT}"), routing=form)
    if form == "manual":
        failing = daemon.run(("--check", "-c", config), directory, origin)
        assert failing.returncode == 1
        rules = daemon.run(("--rules", "-c", config), directory, origin).stdout
        routing.shell(origin, rules)
    done = daemon.run(("--check", "-c", config), directory, origin,
                      prefix=("env", f"RUNTIME_DIRECTORY={directory / 'run'}"))
    assert done.returncode == 0, done.stderr
    gateway = start(config)
    sessions = [session(plain_net, box, version) for version in (4, 6)]
    assert routing.snapshot(origin) == before[0]
    direct = connect(box.namespace, address[4], PORT)
    direct.send(b"direct")
    assert direct.recv(6) == b"direct"
    assert ctl.Ctl(directory).listener("mail")["targets"][0]["check"] == "ok"
    for each in sessions:
        each.close()
    gateway.stop()
    if form == "manual":
        routing.shell(origin, daemon.run(("--rules=undo", "-c", config), directory, origin).stdout)
    assert (routing.snapshot(origin), routing.snapshot(box.namespace)) == before


@pytest.mark.parametrize("version", (4, 6))
def test_datagrams_and_their_replies(version, box, origin, plain_net, directory, start):
    service = udp.Service(box.namespace, LOOPBACK_OF[version], 53)
    start(write(directory, mail(directory, protocol="udp", target_v4="127.0.0.1:53",
                                target_v6="[::1]:53")))
    peer = udp.Balancer(plain_net.lb, ORIGIN_OF[4], conf.PORT)
    peer.sock.send(udp.v2(CLIENT_OF[version], 51234) + b"hello")
    service.sock.settimeout(DEADLINE)
    data, source = service.sock.recvfrom(100)
    assert (data, source[:2]) == (b"hello", (CLIENT_OF[version], 51234))
    service.sock.sendto(b"world", source)
    assert peer.sock.recv(100) == b"world"
    peer.sock.close()
    service.close()


def test_privileges(box, origin, directory, start):
    """The supervisor alone can enter namespaces, and only as long as a listener has the key."""
    gateway = start(write(directory, mail(directory), plain(), workers=2))
    gateway.wait_line(r"\[ \] a listener has netns: the supervisor keeps CAP_SYS_ADMIN .*")
    workers = gateway.wait_workers(4)
    inside = [os.readlink(f"/proc/{pid}/ns/net") for pid in workers]
    assert len(set(inside)) == 2
    for pid in workers:
        assert proc.status(pid)["Uid"].split()[0] != "0"
        assert capabilities(pid) & ~(1 << 10) == NET_RAW
        assert capabilities(pid, "CapBnd") == 0
    assert capabilities(gateway.pid) & SYS_ADMIN
    assert capabilities(gateway.pid) & SYS_PTRACE
    assert not capabilities(gateway.pid, "CapEff") & (SYS_ADMIN | SYS_PTRACE)
    Reloader(gateway, directory).reload([conf.listener()])
    until(lambda: not capabilities(gateway.pid) & (SYS_ADMIN | SYS_PTRACE), "them to be given up")
    assert not capabilities(gateway.pid, "CapBnd") & (SYS_ADMIN | SYS_PTRACE)
    # For good: another start is needed.
    write(directory, mail(directory), routing="manual")
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(CLOSED.format("its network namespace can't be entered: .*"))


def test_a_namespace_appears_vanishes_and_is_another_one(new_box, link, origin, net, directory,
                                                         start):
    here = EchoTarget(origin, "127.0.0.1", conf.SERVICE_PORT)
    gateway = start(write(directory, mail(directory), plain()), wait=False)
    gateway.wait_listening("0.0.0.0:8080", name="plain")
    gateway.wait_line(MISSING)
    assert not origin.is_listening(conf.PORT)
    status = ctl.Ctl(directory).listener("mail")
    assert status["state"] == "netns"
    assert status["netns_problem"] == "its network namespace does not exist"
    assert "closed: its network namespace does not exist" in ctl.Ctl(directory).run("status").stdout

    first = new_box()
    link(first)
    gateway.wait_listening(*conf.LISTEN, name="mail")
    old = session(net, first, 4)
    assert ctl.Ctl(directory).listener("mail")["state"] == "open"

    link(None)
    gateway.wait_line(MISSING, 2)
    until(lambda: not origin.is_listening(conf.PORT), "the port to be closed")
    assert echoes(old)
    other = connect(net.lb, ORIGIN_OF[4], 8080)
    other.send(header.v2(CLIENT_OF[4], 4444) + b"hello")
    assert other.recv(5) == b"hello"
    other.close()

    second = new_box()
    link(second)
    until(lambda: origin.is_listening(conf.PORT), "the port to be opened")
    session(net, second, 6).close()
    third = new_box()
    reloads = len(gateway.find(RELOADED))
    link(third)
    gateway.wait_line(RELOADED, reloads + 1)
    session(net, third, 6).close()
    assert echoes(old)
    old.close()
    # What was set up in the first one goes with its last session.
    until(lambda: "lookup 100" not in first.namespace.run("ip", "rule"), "the rules to go")
    gateway.stop()
    here.close()


def test_a_loopback_that_comes_up_later(new_box, link, net, directory, start):
    box = new_box(lo="down")
    link(box)
    gateway = start(write(directory, mail(directory)), wait=False)
    gateway.wait_line(CLOSED.format("the loopback of its network namespace is down"))
    box.namespace.ip("link set lo up")
    gateway.wait_listening(*conf.LISTEN, name="mail")
    session(net, box, 4).close()
    session(net, box, 6).close()


def test_an_address_that_comes_later_changes_the_return_path(box, net, directory, start):
    target = {"target_v4": f"192.0.2.9:{PORT}", "target_v6": None}
    gateway = start(write(directory, mail(directory, **target)))
    status = ctl.Ctl(directory)
    assert status.listener("mail")["targets"][0]["return_path"] == "routed"
    box.namespace.ip("address add 192.0.2.9/32 dev eth0")
    until(lambda: status.listener("mail")["targets"][0]["return_path"] == "fwmark",
          lambda: f"the decision\n{gateway.text()}")
    session(net, box, 4).close()


def test_a_header_names_no_address_of_either_namespace(box, net, directory, start):
    gateway = start(write(directory, mail(directory)))
    for number, client in enumerate((ORIGIN_OF[4], box.own[4], "127.0.0.1", box.own[6]), 1):
        peer = connect(net.lb, ORIGIN_OF[4], conf.PORT)
        peer.send(header.v2(client, 51234) + b"hello")
        peer.expect_end(RST)
        gateway.wait_line(r"\[\?\] mail: .* the header names a local address as the client.*", number)
    assert ctl.Ctl(directory).listener("mail")["refused"]


def test_reload_worker_death_and_crash(box, origin, net, directory, start):
    before = routing.snapshot(box.namespace)
    gateway = start(write(directory))
    old = session(net, box, 4, 51111)
    before_reload = gateway.workers()
    write(directory, mail(directory, idle_timeout=3600))
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(RELOADED)
    gateway.may_lose_workers = True
    dead = [pid for pid in gateway.workers() if pid not in before_reload]
    proc.kill(dead[-1])
    gateway.wait_line(rf"\[!\] worker {dead[-1]} of generation 2 died: .*")
    session(net, box, 6, 51112).close()
    assert echoes(old)
    workers = gateway.workers()
    gateway.signal(signal.SIGKILL)
    gateway.wait_exit()
    until(lambda: not origin.is_listening(conf.PORT), "the orphans to let go of the port")
    second = start(write(directory, mail(directory, mark=8, table=1008)))
    session(net, box, 4, 51113).close()
    assert echoes(old)
    old.close()
    until(lambda: not any(map(proc.is_alive, workers)), "the orphans to end")
    second.stop()
    assert routing.snapshot(box.namespace) == before


def test_another_binary_takes_over(box, net, launch, directory):
    upgradable = Upgradable(net, launch, directory, listeners=[mail(directory, name="ssh")],
                            settings={"routing": "managed"}, env=environment(directory))
    old = session(net, box, 4, 51111)
    first = upgradable.pid
    upgradable.upgrade()
    session(net, box, 6, 51112).close()
    assert echoes(old)
    old.close()
    upgradable.wait_gone(first)
    session(net, box, 4, 51113).close()
    upgradable.close()


def test_a_target_may_have_the_port_that_is_listened_on(box, net, directory, start):
    config = write(directory, mail(directory, listen=[f"0.0.0.0:{PORT}"]))
    gateway = start(config, wait=False)
    gateway.wait_listening(f"0.0.0.0:{PORT}", name="mail")
    peer = connect(net.lb, ORIGIN_OF[4], PORT)
    peer.send(header.v2(CLIENT_OF[4], 51234) + b"hello")
    assert peer.recv(5) == b"hello"
    peer.close()


def test_lines_of_two_namespaces_with_one_target_say_which(new_box, origin, directory, start):
    listeners, paths = [], [directory / "first", directory / "second"]
    for number, path in enumerate(paths):
        box = new_box()
        path.symlink_to(box.namespace.path)
        listeners.append(mail(directory, name=path.name, listen=[f"0.0.0.0:{9000 + number}"],
                              netns=str(path), target_v6=None))
    box.services[4].close()
    config = write(directory, *listeners)
    target = f"Target server 127.0.0.1:{PORT}"
    done = daemon.run(("--check", "-c", config), directory, origin)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    for how in ("conventional", "spoofed"):
        assert (f"[+] OK. {target} is up and reachable using {how} connection. "
                f'(netns "{paths[0]}")') in lines
    down = rf'\[!\] FAILED: {target} seems to be down: .* \(netns "{paths[1]}"\)'
    gateway = start(config, wait=False)
    gateway.wait_line(down)
    box.services[4] = EchoTarget(box.namespace, "0.0.0.0", PORT)
    gateway.wait_line(rf'\[\+\] OK\. {target} is back: it can be reached\. '
                      rf'\(netns "{paths[1]}"\)')
    assert not gateway.find(rf'.*FAILED.*"{paths[0]}"\)')


def crash(gateway):
    """Every process of it."""
    gateway.may_lose_workers = True
    processes = [gateway.pid, *proc.children(gateway.pid)]
    for pid in processes:
        proc.kill(pid)
    gateway.wait_exit()
    until(lambda: not any(map(proc.is_alive, processes)), "its processes to end")


def test_what_a_crash_left_of_a_namespace_that_is_gone_goes(new_box, link, origin, directory, start):
    """The namespace that is still there keeps its own: only a start with it can clean it."""
    stays, goes = new_box(), Box()
    before = routing.snapshot(stays.namespace)
    link(goes)
    (directory / "stays").symlink_to(stays.namespace.path)
    other = mail(directory, name="other", listen=["0.0.0.0:9000"], netns=str(directory / "stays"))
    gateway = start(write(directory, mail(directory), other))
    gateway.wait_listening("0.0.0.0:9000", name="other")
    crash(gateway)
    goes.close()
    folders = set((directory / "run").iterdir())
    assert len(folders) == 2
    here = EchoTarget(origin, "127.0.0.1", conf.SERVICE_PORT)
    gateway = start(write(directory, plain()), wait=False)
    gateway.wait_listening("0.0.0.0:8080", name="plain")
    assert len(folders & set((directory / "run").iterdir())) == 1
    gateway.stop()
    here.close()
    gateway = start(write(directory, other), wait=False)
    gateway.wait_listening("0.0.0.0:9000", name="other")
    gateway.stop()
    assert routing.snapshot(stays.namespace) == before
    assert not list((directory / "run").iterdir())


@pytest.fixture
def place(directory):
    """Where the path of netns leads to, in one step."""
    path = directory / "netns"
    numbers = itertools.count()

    def make(target):
        new = directory / f"new-{next(numbers)}"
        new.symlink_to(target)
        new.rename(path)
    return make


def not_namespaces(directory):
    """What else may be at that path, and what is said of it."""
    (directory / "folder").mkdir()
    (directory / "file").write_text("")
    os.mkfifo(directory / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(directory / "socket"))
    absent = "its network namespace does not exist"
    for name in ("folder", "file", "fifo", "socket", "nothing", "netns"):
        yield directory / name, absent
    yield "/dev/zero", absent
    yield "/proc/self/ns/user", "its netns is no network namespace"


def test_a_path_to_something_else_closes_the_listener(box, origin, directory, place, start):
    """And no FIFO and no link to itself stops the supervisor."""
    gateway = start(write(directory))
    for path, reason in not_namespaces(directory):
        count = len(gateway.find(CLOSED.format(reason)))
        place(path)
        gateway.wait_line(CLOSED.format(reason), count + 1)
        until(lambda: not origin.is_listening(conf.PORT), "the port to be closed")
        place(box.namespace.path)
        until(lambda: origin.is_listening(conf.PORT), "the port to be opened")


class Swapper:
    """What is at the path of netns is one thing and then another, as fast as can be."""

    def __init__(self, place, targets):
        self._place, self._targets = place, targets
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        for target in itertools.cycle(self._targets):
            if self._is_over.is_set():
                return
            self._place(target)

    def stop(self):
        self._is_over.set()
        self._thread.join()


# Reloads while the namespace changes; more for a thorough look.
RELOADS = int(os.environ.get("MMPROXY_E2E_NAMESPACES", "20"))
OUTCOME = r".*\[[+!]\] reload(ed: .*| failed: .*)"


def reload_often(gateway):
    for number in range(1, RELOADS + 1):
        gateway.signal(signal.SIGHUP)
        gateway.wait_line(OUTCOME, number)


def test_a_fifo_that_takes_the_place_of_a_namespace_does_not_stop_the_supervisor(box, directory, net,
                                                                               place, start):
    """Between two looks at the path: opening a FIFO waits for somebody to write to it."""
    gateway = start(write(directory))
    os.mkfifo(directory / "fifo")
    swapper = Swapper(place, (box.namespace.path, directory / "fifo"))
    try:
        reload_often(gateway)
    finally:
        swapper.stop()
    settle(gateway, place, box, net)


def test_a_namespace_that_is_replaced_between_two_looks_has_one_set_of_workers(new_box, directory,
                                                                             net, place, start):
    boxes = [new_box(), new_box()]
    place(boxes[0].namespace.path)
    gateway = start(write(directory))
    swapper = Swapper(place, [each.namespace.path for each in boxes])
    try:
        reload_often(gateway)
    finally:
        swapper.stop()
    settle(gateway, place, boxes[0], net)


def settle(gateway, place, box, net):
    """It serves that box, and nothing of others is left."""
    place(box.namespace.path)
    gateway.wait_workers(1)
    until(lambda: is_served(net, box), "the box to be served")


def is_served(net, box, port=51999):
    """A session may end early where the port is just being closed, or lead to another box."""
    try:
        peer = connect(net.lb, ORIGIN_OF[4], conf.PORT)
    except ConnectionRefusedError:
        return False
    try:
        peer.send(header.v2(CLIENT_OF[4], port) + b"hello")
        peer.recv(5)
    except (OSError, AssertionError):
        pass
    peer.close()
    return (CLIENT_OF[4], port) in box.services[4].sources


def test_namespaces_that_come_and_go_leave_no_descriptor(box, directory, net, place, start):
    """With a loopback that is up or down: the latter are looked at, and never used."""
    gateway = start(write(directory))
    session(net, box, 4).close()
    before = len(proc.resting_descriptors(gateway.pid))
    for number in range(RELOADS):
        passing = netns.Namespace()
        if number % 2:
            passing.ip("link set lo up")
        count = len(gateway.find(OUTCOME))
        place(passing.path)
        gateway.signal(signal.SIGHUP)
        gateway.wait_line(OUTCOME, count + 1)
        passing.close()
    settle(gateway, place, box, net)
    until(lambda: len(proc.resting_descriptors(gateway.pid)) <= before,
          lambda: "\n".join(proc.resting_descriptors(gateway.pid)))
    until(lambda: not proc.zombies(gateway.pid), "zombies to be reaped")


def test_without_the_privilege_to_enter_all_others_serve(box, origin, net, launch, directory):
    here = EchoTarget(origin, "127.0.0.1", conf.SERVICE_PORT)
    config = write(directory, mail(directory), plain(), routing="manual")
    lowered = ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")
    gateway = launch(origin, "-c", config, prefix=lowered)
    gateway.wait_listening("0.0.0.0:8080", name="plain")
    gateway.wait_line(CLOSED.format("its network namespace can't be entered: .*CAP_SYS_ADMIN.*"))
    assert box and not origin.is_listening(conf.PORT)
    peer = connect(net.lb, ORIGIN_OF[4], 8080)
    peer.send(header.v2(CLIENT_OF[4], 51234) + b"hello")
    assert peer.recv(5) == b"hello"
    peer.close()
    gateway.stop()
    here.close()
