# SPDX-License-Identifier: BSD-2-Clause
"""Where the log goes, in which form, and what strangers can not do to it."""

import json
import os
import re
import signal
import socket
import subprocess
import threading

import pytest

from lib import conf, daemon, header, lines
from lib.conn import FIN, RST
from lib.topology import CLIENT4, CLIENT6, LB4, STRANGER4
from lib.wait import until

HEAD = header.v1(CLIENT4, 51234)
SOURCE = f"{CLIENT4}:51234"


def _all_kinds(service, dial, session):
    """One session, one stranger, one bad header; returns the three peers."""
    peer, conn = session(service, HEAD)
    peer.trip(conn)
    peer.finish()
    conn.expect_end(FIN)
    conn.close()
    peer.expect_end(FIN)
    stranger = dial(source=STRANGER4)
    stranger.expect_end(RST)
    bad = dial()
    bad.send(b'PROXY \x1b[31m"\\\xff\nTCP9\r\n')
    bad.expect_end(RST)
    return peer, stranger, bad


def _events(gateway):
    return [json.loads(line) for line in list(gateway.lines)]


def test_json_lines_parse(serve, launch, target, dial, session, directory, net):
    path = conf.write(directory, [conf.listener()], workers=1,
                      log={"target": "stderr", "format": "json"})
    gateway = launch(net.origin, "-c", path)
    gateway.settle()
    peer, stranger, bad = _all_kinds(target(), dial, session)
    wanted = (lines.connected(peer.local, SOURCE, "127.0.0.1:22"),
              lines.disconnected(peer.local, SOURCE, 4, 4), lines.not_allowed(stranger.local),
              lines.bad_header(bad.local), re.escape("[+] Listening on 0.0.0.0:2222 (ssh)"))
    for pattern in wanted:
        until(lambda: any(re.fullmatch(pattern, event["message"]) for event in _events(gateway)),
              lambda: f"no {pattern} in {gateway.text()}")
    events = {event.get("event"): event for event in _events(gateway)}
    facts = events["disconnected"]
    assert facts.pop("duration_ms") >= 0
    assert re.fullmatch(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z", facts.pop("time"))
    del facts["message"]
    assert facts == {"event": "disconnected", "level": "info", "listener": "ssh",
                     "peer": peer.local, "client": SOURCE, "target": "127.0.0.1:22",
                     "peer_address": LB4, "peer_port": int(peer.local.split(":")[1]),
                     "client_address": CLIENT4, "client_port": 51234,
                     "target_address": "127.0.0.1", "target_port": 22,
                     "bytes_in": 4, "bytes_out": 4, "reason": "client closed"}
    assert events["not_allowed"]["peer"] == stranger.local
    assert events["bad_header"]["peer"] == bad.local
    # At the end too, with whatever is said about it.
    gateway.stop()
    assert all(event["message"] for event in _events(gateway))


@pytest.mark.parametrize("connections", ["both", "end", "none"])
def test_connections_says_which_lines_a_session_gets(connections, launch, target, dial, session,
                                                     directory, net):
    path = conf.write(directory, [conf.listener()], workers=1, log={"connections": connections})
    gateway = launch(net.origin, "-c", path)
    gateway.settle()
    peer, _, _ = _all_kinds(target(), dial, session)
    # In a line of one worker: what comes before it has been written.
    gateway.wait_line(r"\[\?\] .* broke with bad proxy-protocol header: .*")
    if connections != "none":
        gateway.wait_line(lines.disconnected(peer.local, SOURCE, 4, 4))
    text = gateway.text()
    assert (" connected, proxy" in text) == (connections == "both")
    assert (" disconnected, proxy" in text) == (connections != "none")
    assert "is not allowed to connect" in text


def test_every_refusal_has_a_reason_of_one_word(launch, net, directory, dial, target, clock):
    """Besides its sentence: for scripts, and as the label of its counter."""
    path = conf.write(directory, [conf.listener(max_sessions_per_client=1, max_sessions=2,
                                                target_v6=None)],
                      workers=1, log={"target": "stderr", "format": "json"})
    gateway = launch(net.origin, "-c", path, env=clock.environment)
    gateway.settle()
    clock.stop()

    def refused(data, **options):
        peer = dial(**options)
        peer.send(data)
        peer.expect_end(RST)
        return peer.local

    def timed_out(data):
        peer = dial()
        peer.send(data)
        until(lambda: clock.forward(20) or not peer.is_quiet(), "the header timeout")
        return peer.local

    expected = {refused(header.v1(CLIENT4, 1)): "target_refused",  # nothing listens yet
                refused(b"", source=STRANGER4): "not_allowed",
                refused(b"no header"): "bad_header",
                timed_out(b"PROXY "): "timeout",
                refused(header.v1("127.0.0.1", 1)): "local_client",
                refused(header.v1(CLIENT6, 1)): "no_target"}
    service = target()
    held = dial()
    held.send(HEAD)
    conns = [service.accept()]
    expected[refused(header.v1(CLIENT4, 2))] = "max_sessions_per_client"
    other = dial()
    other.send(header.v1("198.51.100.8", 2))
    conns.append(service.accept())
    expected[refused(b"")] = "max_sessions"

    def reasons():
        return {event["peer"]: event["reason"] for event in _events(gateway) if "peer" in event
                and event["event"] not in ("connected", "disconnected")}
    until(lambda: reasons() == expected, lambda: f"{expected}, not {reasons()}")
    details = {event["reason"]: event.get("detail") for event in _events(gateway)
               if event.get("reason") in expected.values()}
    assert details["max_sessions"] == "2 sessions are the limit (max_sessions)"
    assert details["target_refused"] == "Connection refused"
    assert details["not_allowed"] is None


def test_reset_by_the_target_as_the_client_ends_is_called_so(net, serve, target, session):
    """Whoever passes the client's end on finds no connection any more."""
    gateway = serve()
    peer, conn = session(target(), HEAD)
    peer.trip(conn)
    worker, = gateway.workers()
    os.kill(worker, signal.SIGSTOP)
    conn.reset()
    until(lambda: not net.origin.ss("-tn", "state", "established", "dport", "= :22"),
          "the reset to arrive")
    peer.finish()
    until(lambda: net.origin.ss("-tn", "state", "close-wait", "sport", "= :2222"),
          "the end to arrive")
    os.kill(worker, signal.SIGCONT)
    assert gateway.wait_line(lines.disconnected(peer.local, SOURCE, 4, 4))[1] == "target reset"


HOST_BITS = r".*/lb\.subnets:[0-9]+: \"10\.1\.1\.1/8\" has host bits set: .*"


def test_warning_of_the_first_load_is_json_too(net, launch, directory):
    path = conf.write(directory, [conf.listener()], subnets="10.1.1.1/8\n", workers=1,
                      log={"format": "json"})
    gateway = launch(net.origin, "-c", path)
    gateway.settle()
    gateway.stop()
    events = [event for event in _events(gateway) if re.fullmatch(HOST_BITS, event["message"])]
    assert [(event["event"], event["level"]) for event in events] == [("config", "warning")]


def test_warning_of_a_first_load_that_fails_comes_with_the_errors(net, directory, target):
    """As text and in order: what the log is to be like has never come into effect."""
    target(port=conf.PORT)
    path = conf.write(directory, [conf.listener(listen="127.0.0.1:2222")],
                      subnets="10.1.1.1/8\n", workers=1, log={"format": "json"})
    done = daemon.run(["-c", path], directory, net.origin)
    warning, error = done.stderr.splitlines()
    assert re.fullmatch(HOST_BITS, warning)
    assert error == "mmproxy: can't listen on 127.0.0.1:2222 (ssh): Address already in use"
    assert done.returncode == 71


@pytest.mark.parametrize("level, connections, strangers", (
    ("error", False, False), ("warning", False, True), ("info", True, True),
    ("debug", True, True)))
def test_level_decides_what_is_written(net, launch, directory, target, dial, session, level,
                                       connections, strangers):
    path = conf.write(directory, [conf.listener()], workers=1, log={"level": level})
    gateway = launch(net.origin, "-c", path)
    gateway.settle()
    _all_kinds(target(), dial, session)
    gateway.stop()
    assert bool(gateway.find(r"\[\+\] ssh: .* connected, .*")) == connections
    if strangers is not None:
        assert bool(gateway.find(r"\[\?\] ssh: .* is not allowed to connect")) == strangers


def test_strangers_can_not_inject_control_characters(serve, target, dial, session):
    gateway = serve()
    _, _, bad = _all_kinds(target(), dial, session)
    gateway.wait_line(lines.bad_header(bad.local))
    for line in gateway.lines:
        assert line.isprintable(), line


def test_every_line_has_its_mark(serve, target, dial, session):
    gateway = serve()
    _all_kinds(target(), dial, session)
    gateway.stop()
    served = [line for line in gateway.lines if re.search(r"\] ssh: [0-9]", line)]
    assert len(served) == 4
    for line in served:
        assert re.match(r"\[[-+?!]\] ssh: ", line), line


# Log sockets of the test's own, at the places where the C library and systemd have theirs;
# in a mount namespace of the daemon's own.
SYSLOG = ("mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && "
          "mknod -m 666 /dev/urandom c 1 9 && ln -s {0} /dev/log")
JOURNAL = ("mount -t tmpfs none /run && mkdir -p /run/systemd/journal && "
           "ln -s {0} /run/systemd/journal/socket")


def _prefix(setup, path):
    return ["unshare", "--mount", "sh", "-ec", setup.format(path) + ' && exec "$@"', "sh"]


class _Collector:
    """Nobody waits for a slow reader, and a socket holds ten datagrams: here it holds more."""

    def __init__(self, namespace, path):
        self.got = []
        namespace.sysctl("net.unix.max_dgram_qlen", 1000)
        self._sock = namespace.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(path))
        path.chmod(0o666)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        while datagram := self._sock.recv(65536):
            self.got.append(datagram.decode())

    def wait(self, *patterns):
        """Until each pattern was found in a datagram; returns all that came so far."""
        until(lambda: all(any(re.search(p, d) for d in self.got) for p in patterns),
              lambda: f"{patterns} in {self.got}")
        return list(self.got)

    def close(self):
        self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sock.close()


@pytest.fixture
def collector(net, directory):
    made = _Collector(net.origin, directory / "log.sock")
    yield made
    made.close()


def test_log_to_syslog(net, launch, directory, target, dial, session, collector):
    path = conf.write(directory, [conf.listener()], workers=1, log={"target": "syslog"})
    launch(net.origin, "-c", path, prefix=_prefix(SYSLOG, directory / "log.sock")).settle()
    peer, stranger, _ = _all_kinds(target(), dial, session)
    got = collector.wait(re.escape(f"{peer.local} connected, "),
                         re.escape(f"{peer.local} disconnected, "),
                         re.escape(f"{stranger.local} is not allowed to connect"))
    for datagram in got:
        # Facility daemon, and the process that speaks.
        assert re.match(r"<(2[4-9]|3[01])>.*mmproxy\[[0-9]+\]: ", datagram), datagram


@pytest.mark.parametrize("by", ("key", "auto"))
def test_log_to_the_journal(net, launch, directory, target, dial, session, collector, by):
    log = {"log": {"target": "journal"}} if by == "key" else {}
    path = conf.write(directory, [conf.listener()], workers=1, **log)
    # What systemd says to whom it starts: your stderr is the journal, with this device and inode.
    setup = JOURNAL
    env = {}
    if by == "auto":
        setup += (' && export JOURNAL_STREAM="$(stat -L -c %d:%i /proc/self/fd/2)"'
                  " INVOCATION_ID=0123456789abcdef0123456789abcdef")
    launch(net.origin, "-c", path, prefix=_prefix(setup, directory / "log.sock"), env=env).settle()
    peer, _, _ = _all_kinds(target(), dial, session)
    got = collector.wait(re.escape(f"{peer.local} disconnected, "))
    event = next(d for d in got if "disconnected" in d)
    assert re.search(r"(?m)^PRIORITY=6$", event), event
    assert re.search(r"(?m)^SYSLOG_IDENTIFIER=mmproxy$", event), event
    for fact in ("ssh", "127.0.0.1:22", "4"):
        assert re.search(rf"(?m)^MMPROXY_[A-Z0-9_]+={re.escape(fact)}$", event), event


def _many_sessions(service, session):
    """More lines than a pipe holds."""
    for port in range(20000, 20600):
        peer, conn = session(service, header.v1(CLIENT4, port))
        peer.trip(conn)
        peer.reset()
        conn.close()


def test_reader_that_does_not_read_does_not_stop_the_service(serve, target, session):
    """What could not be written is counted, and told when there is room again."""
    gateway = serve()
    gateway.pause_reading()
    service = target()
    _many_sessions(service, session)
    gateway.resume_reading()
    peer, conn = session(service, HEAD)
    peer.trip(conn)
    gateway.wait_line(r"\[.\] .*[0-9]+ .*(?:lost|dropped).*")


def test_reader_that_is_gone_does_not_stop_the_service(serve, target, session):
    gateway = serve()
    workers = gateway.workers()
    gateway.end_reading()
    _many_sessions(target(), session)
    assert gateway.workers() == workers


def test_the_start_names_the_version(launch, directory, net):
    gateway = launch(net.origin, "-c", conf.write(directory, [conf.listener()], workers=1))
    version = subprocess.run([daemon.BINARY, "--version"], capture_output=True, text=True,
                             check=True).stdout.strip()
    gateway.wait_line(re.escape(f"[+] {version} serves, listeners: 1"))
