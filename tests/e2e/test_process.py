# SPDX-License-Identifier: BSD-2-Clause
"""Supervisor and workers: who runs, who dies, and how it all ends."""

import itertools
import os
import re
import signal
import socket
import threading

import pytest

from lib import conf, header, proc
from lib.conn import FIN, RST, connect
from lib.topology import CLIENT4, ORIGIN4
from lib.wait import DEADLINE, until

PORTS = itertools.count(20000)
WORKER_KILLED = r"\[!\] worker [0-9]+ .*died: killed by signal 9 \(Killed\)"


def head():
    return header.v1(CLIENT4, next(PORTS))


def _sessions(net):
    """Connections of the load balancer's that a worker has accepted."""
    return [line for line in net.origin.ss("-tnp", "state", "established", "sport", "= :2222")
            if "users:" in line]


def _workers_of(net, peers):
    """The processes that have these connections of the load balancer's, in their order."""
    owners = {}
    for line in _sessions(net):
        port = int(re.search(r":([0-9]+) +users:", line)[1])
        owners[port] = int(re.search(r"pid=([0-9]+)", line)[1])
    return [owners[peer.port] for peer in peers]


def _listening(port):
    """Inodes of the IPv4 sockets that listen there, in this thread's namespace."""
    with open("/proc/thread-self/net/tcp", encoding="ascii") as file:
        fields = [line.split() for line in file]
    return {int(line[9]) for line in fields if line[1].endswith(f":{port:04X}") and line[3] == "0A"}


def test_worker_with_more_than_its_share_lets_others_accept_first(net, serve, dial, clock):
    """It looks away for a millisecond, which is for ever while the clock stands still."""
    gateway = serve(settings={"workers": 2}, header_timeout=600,
                    options={"env": clock.environment})
    idle, busy = gateway.workers()
    listening = net.origin.call(_listening, conf.PORT)
    proc.stop(idle)
    held = [dial() for _ in range(60)]
    until(lambda: len(_sessions(net)) == 60, "all to be accepted: nobody waits for one that is stuck")
    assert set(_workers_of(net, held)) == {busy}
    clock.stop()
    new = []
    for number in range(61, 81):
        clock.forward(1)
        until(lambda: listening <= proc.watched(busy), "it to look again")
        new.append(dial())
        until(lambda: not listening & proc.watched(busy), "it to look away")
        os.kill(idle, signal.SIGCONT)
        until(lambda number=number: len(_sessions(net)) == number, "the other to accept")
        proc.stop(idle)
    os.kill(idle, signal.SIGCONT)
    assert set(_workers_of(net, new)) == {idle}


def _talk(pairs, stop, broken):
    """Trips over all sessions in turn; broken gets the sessions that an error ended."""
    while not stop.is_set():
        for pair in pairs:
            if pair in broken:
                continue
            try:
                pair[0].trip(pair[1])
            except (OSError, AssertionError):
                broken.append(pair)


def test_worker_killed_under_load_ends_only_its_own_sessions(net, serve, target, session):
    gateway = serve(settings={"workers": 4})
    gateway.may_lose_workers = True
    service = target()
    pairs = [session(service, head()) for _ in range(60)]

    def of_several_workers():
        workers = _workers_of(net, [peer for peer, _ in pairs])
        if len(set(workers)) > 1:
            return workers
        pairs.append(session(service, head()))
        return None

    workers = until(of_several_workers, "sessions of several workers")
    victim = workers[0]
    doomed = [pair for pair, worker in zip(pairs, workers) if worker == victim]
    assert 0 < len(doomed) < len(pairs)

    broken, stop = [], threading.Event()
    talker = threading.Thread(target=_talk, args=(pairs, stop, broken))
    talker.start()
    try:
        proc.kill(victim)
        gateway.wait_line(WORKER_KILLED)
        until(lambda: len(broken) >= len(doomed), "the killed worker's sessions to end")
        workers = until(lambda: len(w := gateway.workers()) == 4 and w, "a replacement")
        assert victim not in workers
        fresh = [session(service, head()) for _ in range(20)]
        for peer, conn in fresh:
            peer.trip(conn)
    finally:
        stop.set()
        talker.join()
    for pair in pairs:
        if pair not in doomed:
            pair[0].trip(pair[1])
    assert sorted(broken, key=id) == sorted(doomed, key=id)


def test_killed_worker_s_sessions_do_not_look_complete(net, serve, target, session):
    gateway = serve()
    gateway.may_lose_workers = True
    peer, conn = session(target(), head())
    proc.kill(gateway.workers()[0])
    peer.expect_end(RST)
    conn.expect_end(RST)


def test_replacement_serves_after_every_death(serve, target, session):
    gateway = serve()
    gateway.may_lose_workers = True
    service = target()
    for count in range(1, 4):
        (worker,) = gateway.workers()
        proc.kill(worker)
        gateway.wait_line(WORKER_KILLED, count)
        until(lambda: len(w := gateway.workers()) == 1 and w != [worker], "a replacement")
        peer, conn = session(service, head())
        peer.trip(conn)


def test_sessions_are_shared_by_all_workers(net, serve, target, session):
    """Who is awake first takes it: how many it takes until all have one is not for a test."""
    gateway = serve(settings={"workers": 4})
    service = target()
    workers, peers = set(gateway.workers()), []

    def all_have_one():
        peers.append(session(service, head())[0])
        return set(_workers_of(net, peers)) == workers

    until(all_have_one, lambda: f"sessions of all of {workers}: {_workers_of(net, peers)}")


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_drain_lets_running_sessions_end(net, serve, target, session, number):
    gateway = serve(settings={"workers": 2})
    service = target()
    pairs = [session(service, head()) for _ in range(4)]
    gateway.signal(number)
    until(lambda: not net.origin.is_listening(2222), "the listeners to close")
    with pytest.raises(ConnectionRefusedError):
        connect(net.lb, ORIGIN4, 2222)
    for peer, conn in pairs:
        peer.trip(conn)
        peer.finish()
        conn.expect_end(FIN)
        assert gateway.is_running()
        conn.close()
        peer.expect_end(FIN)
    assert gateway.wait_exit() == 0


def test_stop_without_sessions_is_immediate(serve):
    gateway = serve(settings={"workers": 4, "drain_timeout": 600})
    workers = gateway.workers()
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit() == 0
    assert not any(map(proc.is_alive, workers))


def test_second_sigterm_ends_at_once(net, serve, target, session):
    gateway = serve(settings={"workers": 2, "drain_timeout": 600})
    pairs = [session(target(), head())]
    gateway.signal(signal.SIGTERM)
    until(lambda: not net.origin.is_listening(2222), "the listeners to close")
    pairs[0][0].trip(pairs[0][1])
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit() == 0
    for each in pairs[0]:
        each.expect_end(RST)


@pytest.mark.parametrize("timeout", (0, 1))
def test_drain_timeout_resets_what_is_left(serve, target, session, timeout):
    gateway = serve(settings={"drain_timeout": timeout})
    pair = session(target(), head())
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit() == 0
    for each in pair:
        each.expect_end(RST)


def test_sessions_without_a_header_do_not_hold_up_the_drain(serve, dial):
    """There is no session to lose yet; a header timeout of ten minutes must not count."""
    gateway = serve(header_timeout=600, settings={"drain_timeout": 2})
    dial()
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit() == 0


def test_supervisor_killed_sessions_live_on_and_the_ports_are_free(net, serve, launch, directory,
                                                                   target, session):
    gateway = serve(settings={"workers": 2})
    service = target()
    peer, conn = session(service, head())
    proc.kill(gateway.pid)
    until(lambda: not net.origin.is_listening(2222), "the orphans to shut the listeners down")
    again = launch(net.origin, "-c", directory / "mmproxy.conf")
    again.wait_listening(*conf.LISTEN)
    peer.trip(conn)
    other, other_conn = session(service, head())
    other.trip(other_conn)


@pytest.mark.parametrize("cpus", (1, 2))
def test_workers_0_is_one_per_cpu_that_may_be_used(net, launch, directory, cpus):
    usable = sorted(os.sched_getaffinity(0))[:cpus]
    path = conf.write(directory, [conf.listener()], workers=0)
    gateway = launch(net.origin, "-c", path,
                     prefix=["taskset", "-c", ",".join(map(str, usable))])
    gateway.wait_listening(*conf.LISTEN)
    gateway.wait_workers(len(usable))


def test_descriptor_limit_is_raised_to_the_hard_limit(serve):
    gateway = serve(options={"prefix": ["prlimit", "--nofile=64:4096"]})
    for pid in [gateway.pid, *gateway.workers()]:
        with open(f"/proc/{pid}/limits", encoding="ascii") as file:
            limit = next(line for line in file if line.startswith("Max open files"))
        assert limit.split()[3:5] == ["4096", "4096"]


def test_service_manager_hears_ready_and_stopping(serve, directory):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(directory / "notify"))
        os.chmod(directory / "notify", 0o777)
        manager.settimeout(DEADLINE)
        gateway = serve(options={"env": {"NOTIFY_SOCKET": str(directory / "notify")}})
        assert "READY=1" in _state(manager, "READY=1")
        gateway.signal(signal.SIGTERM)
        assert "STOPPING=1" in _state(manager, "STOPPING=1")
        assert gateway.wait_exit() == 0


def _state(manager, wanted):
    while wanted not in (state := manager.recv(4096).decode().splitlines()):
        pass
    return state


def test_supervisor_holds_no_client_socket(net, serve, target, session):
    gateway = serve()
    session(target(), head())
    held = net.origin.ss("-tnp", "state", "established")
    assert held
    assert not any(f"pid={gateway.pid}," in line for line in held)


def test_no_zombie_and_no_descriptor_is_left_of_dead_workers(serve):
    gateway = serve(settings={"workers": 2})
    gateway.may_lose_workers = True
    before = len(proc.resting_descriptors(gateway.pid))
    for count in range(1, 4):
        victim = gateway.workers()[0]
        proc.kill(victim)
        gateway.wait_line(WORKER_KILLED, count)
        until(lambda: victim not in gateway.workers() and len(gateway.workers()) == 2,
              "a replacement")
    until(lambda: not proc.zombies(gateway.pid), "zombies to be reaped")
    now = proc.resting_descriptors(gateway.pid)
    assert len(now) == before, now


def test_restart_at_once_on_the_same_ports(serve, target, session, launch, net, directory):
    """Connections in TIME_WAIT on the listener's port are no obstacle."""
    gateway = serve()
    service = target()
    peer, conn = session(service, head())
    conn.close()
    peer.expect_end(FIN)
    peer.finish()
    gateway.stop()
    again = launch(net.origin, "-c", directory / "mmproxy.conf")
    again.wait_listening(*conf.LISTEN)
    peer, conn = session(service, head())
    peer.trip(conn)


def test_host_without_ipv6(net, serve, target, session):
    """A target_v6 that can't be reached is no reason not to serve IPv4."""
    net.origin.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    serve(listen="0.0.0.0:2222")
    peer, conn = session(target(), head())
    peer.trip(conn)


@pytest.mark.parametrize("order", (("ssh", "smtp"), ("smtp", "ssh")))
def test_two_listeners_with_addresses_of_one_port(net, launch, directory, target, order):
    """Sockets are told apart by their whole address."""
    listeners = {
        "ssh": conf.listener(listen=f"{ORIGIN4}:2222", target_v4="127.0.0.1:22"),
        "smtp": conf.listener(name="smtp", listen="127.0.0.1:2222", target_v4="127.0.0.1:25",
                              allowed_subnets="local.subnets"),
    }
    (directory / "local.subnets").write_text("127.0.0.0/8\n")
    path = conf.write(directory, [listeners[name] for name in order], workers=1)
    gateway = launch(net.origin, "-c", path)
    gateway.wait_listening(f"{ORIGIN4}:2222")
    gateway.wait_listening("127.0.0.1:2222", name="smtp")
    for namespace, address, service in ((net.lb, ORIGIN4, target(port=22)),
                                        (net.origin, "127.0.0.1", target(port=25))):
        peer = connect(namespace, address, 2222)
        peer.send(head())
        conn = service.accept()
        peer.trip(conn)
        conn.close()
        peer.close()


def test_worker_killed_while_draining_is_not_replaced(net, serve, target, session):
    gateway = serve(settings={"workers": 2, "drain_timeout": 600})
    gateway.may_lose_workers = True
    service = target()
    pairs = [session(service, head()) for _ in range(20)]
    workers = _workers_of(net, [peer for peer, _ in pairs])
    gateway.signal(signal.SIGTERM)
    until(lambda: not net.origin.is_listening(2222), "the listeners to close")
    proc.kill(workers[0])
    gateway.wait_line(WORKER_KILLED)
    for (peer, conn), worker in zip(pairs, workers):
        if worker != workers[0]:
            peer.trip(conn)
    assert set(gateway.workers()) <= set(workers) - {workers[0]}
    for peer, _ in pairs:
        peer.reset()
    assert gateway.wait_exit() == 0


def test_sigterm_while_a_worker_is_being_replaced(serve):
    gateway = serve()
    gateway.may_lose_workers = True
    proc.kill(gateway.workers()[0])
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit() == 0
