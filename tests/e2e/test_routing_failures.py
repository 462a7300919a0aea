# SPDX-License-Identifier: BSD-2-Clause
"""A managed return path where something is in its way: the runtime directory, privileges, signals."""

import json
import re
import signal
import socket

import pytest

from lib import conf, header, proc, routing
from lib.conn import connect
from lib.target import EchoTarget
from lib.topology import CLIENT_OF, ORIGIN_OF
from lib.wait import until

UNUSABLE = r"\[!\] Return path: the runtime directory can't be used \(No space left on device\): .*"


@pytest.fixture
def service(origin):
    target = EchoTarget(origin, "127.0.0.1", conf.SERVICE_PORT)
    yield target
    target.close()


def write(directory, **keys):
    listener = conf.listener(**({"return_path": "fwmark", "target_v6": None} | keys))
    return conf.write(directory, [listener], workers=1, routing="managed")


def in_a_mount_namespace(directory, commands):
    """A prefix that runs commands and then the program, with files that nobody else sees."""
    (directory / "run").mkdir()
    return ("unshare", "--mount", "sh", "-ec", f'cd "{directory}"; {commands}; exec "$0" "$@"')


def trip(net, port):
    peer = connect(net.lb, ORIGIN_OF[4], conf.PORT)
    peer.send(header.v2(CLIENT_OF[4], port) + b"hello")
    assert peer.recv(5) == b"hello"
    peer.close()


# How many files fit: the directory itself, the one of this network namespace in it, the claim,
# the value of a sysctl. The next one to be made is what there is no space for.
@pytest.mark.parametrize("files", [1, 2, 3, 4])
@pytest.mark.usefixtures("service")
def test_a_full_runtime_directory_does_not_keep_the_return_path_away(files, origin, plain_net,
                                                                     launch, directory):
    before = routing.snapshot(origin)
    prefix = in_a_mount_namespace(directory, f"mount -t tmpfs -o nr_inodes={files} none run")
    gateway = launch(origin, "-c", write(directory), prefix=prefix,
                     env={"RUNTIME_DIRECTORY": str(directory / "run")})
    gateway.wait_listening(*conf.LISTEN)
    gateway.wait_line(UNUSABLE)
    trip(plain_net, 50000)
    origin.ip("rule del fwmark 123 lookup 100")
    gateway.wait_line(r"\[!\] Return path: put back after another program removed it: ip rule add .*")
    trip(plain_net, 50001)
    gateway.stop()
    assert len(gateway.find(UNUSABLE)) == 1
    assert len(gateway.find(".*put back.*")) == 1, gateway.text()
    assert routing.snapshot(origin) == before


@pytest.fixture
def silent_service(origin):
    """Takes no connection any more: whoever tries waits."""
    listening = origin.socket(socket.AF_INET)
    listening.bind(("127.0.0.1", conf.SERVICE_PORT))
    listening.listen(0)
    waiting = [origin.socket(socket.AF_INET) for _ in range(3)]
    for each in waiting:
        each.setblocking(False)
        each.connect_ex(("127.0.0.1", conf.SERVICE_PORT))
    yield
    for each in (*waiting, listening):
        each.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("silent_service")
def test_check_that_is_interrupted_takes_the_return_path_down(number, origin, launch, directory):
    before = routing.snapshot(origin)
    # Whoever runs the tests may ignore some of these signals, as nohup does.
    checking = launch(origin, "--check", "-c", write(directory),
                      prefix=("env", "--default-signal"),
                      env={"RUNTIME_DIRECTORY": str(directory / "run")})

    def has_stopped_the_checks():
        """They would be done in a moment; systemctl may run before the return path is there."""
        for child in proc.children(checking.pid):
            proc.stop(child)
            if routing.snapshot(origin) != before:
                return True
            proc.send(child, signal.SIGCONT)
        return False

    until(has_stopped_the_checks, "the process that tries the targets")
    checking.signal(number)
    assert checking.wait_exit() == -number, checking.text()
    assert routing.snapshot(origin) == before


@pytest.mark.parametrize("routing_mode, told", [
    ("manual", r"iptables .* -j CONNMARK --save-mark +# \[!\] CHECK FAILED.*"),
    ("managed", r"\[!\] Return path: nft table inet mmproxy failed: Operation not permitted")],
                         ids=["manual", "managed"])
@pytest.mark.usefixtures("service")
def test_without_the_privilege_nothing_but_our_own_lines_is_on_stderr(routing_mode, told, origin,
                                                                      launch, directory):
    """libnftables says by itself what it thinks of that."""
    path = conf.write(directory, [conf.listener(return_path="connmark", target_v6=None)],
                      workers=1, routing=routing_mode, log={"format": "json"})
    gateway = launch(origin, "-c", path, prefix=("setpriv", "--bounding-set=-net_admin"),
                     env={"RUNTIME_DIRECTORY": str(directory / "run")})
    gateway.settle()
    gateway.stop()
    messages = [json.loads(line)["message"] for line in gateway.lines]
    assert any(re.fullmatch(told, message) for message in messages), messages
