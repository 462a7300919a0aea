# SPDX-License-Identifier: BSD-2-Clause
"""
Return path flows: what a UDP service answers comes back whatever address it is bound to, and
clients that use the service directly notice nothing.
"""

import itertools
import re
import signal

import pytest

from lib import conf, daemon, proc, routing, udp
from lib.reloading import RELOADED
from lib.topology import CLIENT_OF, LOOPBACK_OF, ORIGIN_OF
from lib.wait import until

MODES = ("every", "first", "spp")
PORT, SERVICE_PORT = 5300, 53
ANY_OF = {4: "0.0.0.0", 6: "::"}

# Where the service is bound, and what the listener's target is.
PLACES = {
    "loopback": (LOOPBACK_OF, LOOPBACK_OF),
    "own": (ORIGIN_OF, ORIGIN_OF),
    "any-by-loopback": (ANY_OF, LOOPBACK_OF),
    "any-by-own": (ANY_OF, ORIGIN_OF),
}


def target(address):
    return f"[{address}]:{SERVICE_PORT}" if ":" in address else f"{address}:{SERVICE_PORT}"


def listener(targets=LOOPBACK_OF, **keys):
    return conf.listener(**({
        "name": "dns", "protocol": "udp", "return_path": "flows",
        "listen": [f"0.0.0.0:{PORT}", f"[::]:{PORT}"],
        "target_v4": target(targets[4]), "target_v6": target(targets[6])} | keys))


def write(directory, *listeners, **settings):
    """Sessions of UDP have no end but silence: a stop does not wait for them."""
    return conf.write(directory, listeners or [listener()],
                      **({"workers": 1, "routing": "managed", "drain_timeout": 0} | settings))


def shell(origin, directory, config, form):
    text = daemon.run((f"--rules={form}", "-c", config), directory, origin).stdout
    routing.shell(origin, text)


@pytest.fixture
def start(origin, launch, directory):
    def make(config):
        gateway = launch(origin, "-c", config,
                         env={"RUNTIME_DIRECTORY": str(directory / "run")})
        gateway.settle()
        return gateway
    return make


@pytest.fixture
def service(origin):
    made = []

    def make(address, kind=udp.Service):
        made.append(kind(origin, address, SERVICE_PORT))
        return made[-1]
    yield make
    for each in made:
        each.close()


@pytest.fixture
def balancer(plain_net):
    made = []

    def make(address=ORIGIN_OF[4], port=PORT, **options):
        made.append(udp.Balancer(plain_net.lb, address, port, **options))
        return made[-1]
    yield make
    for each in made:
        each.close()


def ask(sender, server, version, mode="every", port=40000):
    """One question and its answer, which the service sees come from the client."""
    head = udp.header_of(mode, CLIENT_OF[version], port)
    sender.send(head + b"question")
    data, source = server.recv()
    assert (data, source) == (b"question", (CLIENT_OF[version], port))
    answer(sender, server, source, head if mode == "spp" else b"")


def answer(sender, server, source, head=b""):
    server.send(b"answer", source)
    assert sender.recv() == head + b"answer"


def ask_directly(sender, server):
    sender.send(b"direct")
    data, source = server.recv()
    assert (data, source[1]) == (b"direct", sender.port)
    answer(sender, server, source)


def ruleset(origin):
    return origin.run("nft", "-s", "-t", "list", "ruleset")


@pytest.mark.parametrize("mode, version, place, form", [
    pytest.param(*case, id="-".join(map(str, case)))
    for case in itertools.product(MODES, (4, 6), PLACES, ("managed", "manual"))])
def test_answers_come_back_and_nothing_stays(mode, version, place, form, origin, directory, start,
                                             service, balancer):
    before = routing.snapshot(origin)
    bound, targets = PLACES[place]
    other = {"target_v6" if version == 4 else "target_v4": None}
    path = "flows" if mode == "every" else "auto"  # which is the same, for these targets
    config = write(directory, listener(targets, udp_header=mode, return_path=path, **other),
                   routing=form)
    if form == "manual":
        shell(origin, directory, config, "shell")
    server = service(bound[version])
    direct = None if place == "loopback" else balancer(ORIGIN_OF[version], SERVICE_PORT)
    gateway = start(config)
    assert not gateway.find(r"\[!\].*")
    sender = balancer()
    ask(sender, server, version, mode)
    if direct:
        ask_directly(direct, server)
    gateway.stop()
    if direct:
        ask_directly(direct, server)
    if form == "manual":
        shell(origin, directory, config, "undo")
    assert routing.snapshot(origin) == before


@pytest.mark.parametrize("version", (4, 6))
def test_a_direct_client_with_the_port_of_another_is_left_alone(version, origin, directory, start,
                                                                service, balancer):
    """Address, port and port of the service: all three make a flow."""
    assert origin
    start(write(directory))
    server = service(ANY_OF[version])
    direct = balancer(ORIGIN_OF[version], SERVICE_PORT)
    sender = balancer()
    ask(sender, server, version, port=direct.port)
    ask_directly(direct, server)
    ask(sender, server, version, port=direct.port)


@pytest.mark.parametrize("version", (4, 6))
def test_after_a_crash_the_next_start_cleans_up(version, origin, directory, start, service,
                                                balancer):
    before = routing.snapshot(origin)
    server = service(ANY_OF[version])
    first = start(write(directory))
    sender = balancer()
    ask(sender, server, version)
    workers = first.workers()
    first.may_lose_workers = True
    first.signal(signal.SIGKILL)
    first.wait_exit()
    for worker in workers:
        proc.kill(worker)
    until(lambda: not any(map(proc.is_alive, workers)), "the orphans to end")
    second = start(write(directory, listener(mark=8, table=1008)))
    until(lambda: "mark set 0x0000007b" not in ruleset(origin), "the dead instance's rules to go")
    ask(balancer(), server, version, port=40001)
    second.stop()
    assert routing.snapshot(origin) == before
    assert not list((directory / "run").iterdir())


@pytest.mark.parametrize("what", ("table inet mmproxy", "chain inet mmproxy record",
                                  "chain inet mmproxy output"))
def test_what_is_taken_away_comes_back(what, origin, directory, start, service, balancer):
    gateway = start(write(directory))
    running = ruleset(origin)
    server = service(ANY_OF[4])
    sender = balancer()
    ask(sender, server, 4)
    origin.run("nft", "delete" if what.startswith("table") else "flush", what.split()[0],
               *what.split()[1:])
    gateway.wait_line(r"\[!\] Return path: put back .* nft table inet mmproxy")
    until(lambda: ruleset(origin) == running, "the rules to come back")
    ask(sender, server, 4)


def test_a_reload_forgets_no_flow(origin, directory, start, service, balancer):
    """A service that answers late finds the client after the rules were written anew."""
    gateway = start(write(directory))
    server = service(ANY_OF[4])
    sender = balancer()
    ask(sender, server, 4)
    write(directory, listener(), listener(name="ntp", listen="0.0.0.0:1230", mark=9, table=109,
                                          target_v4="127.0.0.1:123", target_v6=None,
                                          idle_timeout=20))
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(RELOADED)
    until(lambda: "flows4_9_25" in ruleset(origin), "the new listener's set")
    answer(sender, server, (CLIENT_OF[4], 40000))


def test_a_reload_takes_away_a_set_that_is_not_needed_any_more(origin, directory, start):
    both = listener(), listener(name="ntp", listen="0.0.0.0:1230", mark=9, table=109,
                                target_v4="127.0.0.1:123", target_v6=None)
    gateway = start(write(directory, *both))
    assert "flows4_9_65" in ruleset(origin)
    write(directory, both[0])
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(RELOADED)
    until(lambda: "flows4_9_65" not in ruleset(origin), "the set to go")
    assert "flows4_123_65" in ruleset(origin)


def test_every_piece_is_verified_with_the_command_that_mends_it(origin, directory):
    config = write(directory, listener(target_v6=None), routing="manual")
    first = routing.run(origin, "verify", config, directory)
    assert first.status == 1 and len(first.failed()) == 4, first.text
    routing.shell(origin, "\n".join(first.commands))
    assert not routing.run(origin, "verify", config, directory).failed()
    table, = re.findall(r"table inet (mmproxy-\S+)", ruleset(origin))
    origin.run("nft", "flush", "chain", "inet", table, "record")
    failed, = routing.run(origin, "verify", config, directory).failed()
    assert failed.startswith(f"nft 'table inet {table} ")
    routing.shell(origin, failed)
    assert not routing.run(origin, "verify", config, directory).failed()


def test_a_default_route_is_asked_for(origin, directory):
    config = write(directory, listener(target_v6=None), routing="manual")
    shell(origin, directory, config, "shell")
    origin.ip("route del default")
    done = routing.run(origin, "verify", config, directory)
    assert done.status == 1
    assert "there is no IPv4 default route" in done.text


def test_tcp_can_not_have_it(origin, directory):
    config = conf.write(directory, [conf.listener(return_path="flows")])
    done = daemon.run(("--check", "-c", config), directory, origin)
    assert done.returncode == 78
    line, = [number for number, text in enumerate(config.read_text().splitlines(), 1)
             if "return_path" in text]
    assert f"{config}:{line}: \"return_path\" can't be \"flows\" for TCP" in done.stderr
