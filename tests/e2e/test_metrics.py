# SPDX-License-Identifier: BSD-2-Clause
"""The exporter: figures, health, and that nobody can get in its or the sessions' way."""

import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import threading

import pytest

from lib import conf, daemon, exporter, footprint, header, proc
from lib.conn import RST, connect
from lib.ctl import Ctl
from lib.exporter import Figures, get
from lib.reloading import FAILED, RELOADED, Reloader
from lib.target import Target
from lib.topology import ORIGIN4
from lib.upgrading import Upgradable
from lib.wait import until

ETC = daemon.ROOT / "etc"
CLOSED = dict(name="closed", listen="0.0.0.0:4444", target_v6=None)
SETTINGS = {"metrics": exporter.ADDRESS}
MIB = 1 << 20


def closed(**keys):
    return conf.listener(**(CLOSED | {"allowed_subnets": ["192.0.2.77"]} | keys))


@pytest.fixture
def gateway(serve):
    return serve(settings=SETTINGS)


@pytest.fixture
def session(net, dial, echo):
    """session(n): one that is open and has sent n bytes, which came back."""
    echo()

    def start(n=5, **options):
        conn = dial(**options)
        conn.send(header.v1("79.1.2.3", conn.port) + b"x" * n)
        assert conn.recv(n) == b"x" * n
        return conn

    return start


def refuse(net, port=conf.PORT, data=b""):
    conn = connect(net.lb, ORIGIN4, port)
    if data:
        conn.send(data)
    conn.expect_end(RST)
    conn.close()


# --- figures


def test_figures_are_what_the_test_did(net, launch, directory, session):
    gateway = launch(net.origin, "-c", conf.write(
        directory, [conf.listener(), closed()], workers=2, **SETTINGS))
    gateway.wait_listening(*conf.LISTEN)
    sessions = [session(1000) for _ in range(3)]
    for _ in range(4):
        refuse(net, data=b"SSH-2.0-nonsense\r\n" * 10)
    for _ in range(2):
        refuse(net, port=4444)
    connect(net.lb, ORIGIN4, conf.PORT).close()  # a health check

    def settled():
        figures = Figures(net.origin)
        return (figures.get("health_checks_total", listener="ssh") == 1
                and figures.get("sessions_active", listener="ssh") == 3
                and figures.get("sessions_pending", listener="ssh") == 0
                and figures.get("bytes_total", listener="ssh", direction="out") == 3000
                and figures)

    figures = until(settled, lambda: Figures(net.origin).samples)
    assert figures.get("connections_total", listener="ssh") == 8
    assert figures.get("sessions_total", listener="ssh") == 3
    assert figures.get("bytes_total", listener="ssh", direction="in") == 3000
    assert figures.refused("ssh") == {"bad_header": 4}
    assert figures.refused("closed") == {"not_allowed": 2}
    assert figures.get("connect_duration_seconds_count", listener="ssh") == 3
    assert figures.get("connect_duration_seconds_bucket", listener="ssh", le="+Inf") == 3
    assert figures.get("listener_info", listener="ssh", protocol="tcp") == 1
    assert figures.get("workers") == 2
    assert figures.get("generation") == 1
    assert figures.get("last_reload_successful") == 1
    assert figures.get("descriptors_used") > 0

    document = exporter.status(net.origin)
    ssh, other = document["listeners"]
    assert (ssh["name"], ssh["sessions"], ssh["served"]) == ("ssh", 3, 3)
    assert (ssh["bytes_in"], ssh["bytes_out"]) == (3000, 3000)
    assert ssh["refused"] == {"bad_header": 4} and other["refused"] == {"not_allowed": 2}
    for each in sessions:
        each.close()
    until(lambda: Figures(net.origin).get("sessions_active", listener="ssh") == 0,
          "sessions_active to be 0")


def test_no_figure_decreases_over_reloads_deaths_and_upgrades(net, launch, directory, session):
    service = Upgradable(net, launch, directory, settings=SETTINGS)
    before = Figures(net.origin).counters()

    def expect_no_less():
        nonlocal before
        now = Figures(net.origin).counters()
        less = {key: (value, now.get(key)) for key, value in before.items()
                if now.get(key, -1) < value}
        assert not less
        before = now

    service.gateway.may_lose_workers = True
    for round_number in range(3):
        kept = session(10)
        session(10).close()
        expect_no_less()
        conf.write(directory, [conf.listener(keepalive=61 + round_number)], workers=2, **SETTINGS)
        service.signal(signal.SIGHUP)
        service.gateway.wait_line(RELOADED, round_number + 1)
        expect_no_less()
        proc.kill(Ctl(directory).workers()[-1])
        expect_no_less()
        kept.close()
        old = service.pid
        service.upgrade()
        service.wait_gone(old)
        until(lambda: _answers(net.origin), "the new process's exporter")
        expect_no_less()
        assert Figures(net.origin).get("sessions_total", listener="ssh") == 2 * (round_number + 1)
    service.close()


def test_targets_and_return_path_are_reported(net, launch, directory, target):
    service = target()
    gateway = launch(net.origin, "-c", conf.write(directory, [conf.listener()], workers=1,
                                                  **SETTINGS))
    gateway.wait_listening(*conf.LISTEN)

    def health():
        figures = Figures(net.origin)
        return [figures.get(name, listener="ssh", family=family)
                for name in ("target_up", "return_path_up") for family in ("ipv4", "ipv6")]

    # Nothing listens on IPv6, so whether replies come back is not known there.
    until(lambda: health() == [1, 0, 1, None], lambda: f"the state of the targets: {health()}")
    listener, = exporter.status(net.origin)["listeners"]
    assert listener["targets"] == {"ipv4": "up", "ipv6": "down"}
    assert listener["return_path"] == {"ipv4": "up", "ipv6": None}
    service.close()
    Reloader(gateway, directory).hup_only(r".*nothing has changed.*")
    until(lambda: health() == [0, 0, None, None], lambda: f"the targets to be down: {health()}")


def test_each_listener_has_one_state_everywhere(net, launch, directory, echo):
    echo()
    gateway = launch(net.origin, "-c", conf.write(directory, [
        conf.listener(), conf.listener(name="quiet", listen="0.0.0.0:2323"),
        conf.listener(name="dead", listen="0.0.0.0:2424", target_v4="127.0.0.1:9", target_v6=None,
                      close_when_down=True),
        conf.listener(name="boxed", listen="0.0.0.0:2525", netns="no-such", target_v6=None,
                      return_path="routed")], **SETTINGS))
    gateway.wait_listening("0.0.0.0:2323", name="quiet")
    ctl = Ctl(directory)
    ctl.ask("drain", "quiet")
    wanted = {"ssh": "open", "quiet": "drained", "dead": "target_down", "boxed": "netns"}

    def states():
        figures = Figures(net.origin)
        of_metrics = {dict(labels)["listener"]: dict(labels)["state"]
                      for (name, labels), value in figures.samples.items()
                      if name == "mmproxy_listener_state" and value == 1}
        of_page = {each["name"]: each["state"] for each in exporter.status(net.origin)["listeners"]}
        of_ctl = {each["name"]: each["state"] for each in ctl.of_type("listener", "status")}
        return of_metrics, of_page, of_ctl

    until(lambda: states() == (wanted,) * 3, states)


def test_check_of_the_targets_survives_a_namespace_that_is_missing(launch, net, directory):
    gateway = launch(net.origin, "-c", conf.write(directory, [
        conf.listener(target_v6=None),
        conf.listener(name="boxed", listen="0.0.0.0:2525", netns="no-such", target_v6=None,
                      return_path="routed")]))
    gateway.wait_line(r"\[!\] FAILED: Target server 127\.0\.0\.1:22 .*")
    gateway.wait_line(r"\[!\] FAILED: boxed is closed: its network namespace does not exist .*")


def test_broken_return_path_is_reported(plain_net, launch, directory):
    service = Target(plain_net.origin, "127.0.0.1", conf.SERVICE_PORT)
    gateway = launch(plain_net.origin, "-c", conf.write(
        directory, [conf.listener(target_v6=None)], workers=1, **SETTINGS))
    gateway.wait_listening(*conf.LISTEN)
    until(lambda: Figures(plain_net.origin).get("return_path_up", listener="ssh", family="ipv4")
          == 0, "the return path to be down")
    assert Figures(plain_net.origin).get("target_up", listener="ssh", family="ipv4") == 1
    service.close()


def test_reload_that_fails_is_reported(net, gateway, directory):
    reloader = Reloader(gateway, directory)
    reloader.write([conf.listener(mark=0)], **SETTINGS)
    reloader.hup_only(FAILED)
    until(lambda: Figures(net.origin).get("last_reload_successful") == 0, "the failure to be told")
    assert exporter.status(net.origin)["reload"]["successful"] is False
    reloader.write([conf.listener(keepalive=61)], **SETTINGS)
    reloader.hup_only()
    until(lambda: _answers(net.origin)
          and Figures(net.origin).get("last_reload_successful") == 1, "the success to be told")
    assert Figures(net.origin).get("generation") >= 2


def test_listener_that_only_drains_is_still_counted(net, gateway, directory, session):
    kept = session()
    reloader = Reloader(gateway, directory)
    reloader.write([conf.listener(name="new")], **SETTINGS)
    reloader.hup_only()
    until(lambda: Figures(net.origin).get("sessions_active", listener="ssh") == 1
          and Figures(net.origin).get("sessions_active", listener="new") == 0, "both listeners")
    listeners = exporter.status(net.origin)["listeners"]
    assert [(each["name"], each["draining"]) for each in listeners] == [("new", False),
                                                                        ("ssh", True)]
    kept.close()


# --- HTTP


def test_accept_chooses_the_format(net, gateway):
    _, headers, text = get(net.origin, "/metrics", accept=exporter.OPENMETRICS)
    assert headers["Content-Type"] == ("application/openmetrics-text; version=1.0.0; "
                                       "charset=utf-8")
    assert text.endswith("\n# EOF\n")
    _, headers, plain = get(net.origin, "/metrics", accept="text/html,*/*;q=0.8")
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert exporter.parse(text).keys() == exporter.parse(plain).keys()


def test_only_reading_is_allowed_and_only_there(net, gateway):
    assert get(net.origin, "/healthz")[::2] == (200, "ok\n")
    assert get(net.origin, "/healthz", method="HEAD")[::2] == (200, "")
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
        status, headers, _ = get(net.origin, "/", method=method, body=b"x" * 100)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
    for path in ("/metrics/", "/etc/passwd", "/../etc/passwd", "//", "/%2e%2e/", "/metricsx"):
        assert get(net.origin, path)[0] == 404


def test_page_loads_nothing_from_elsewhere(net, gateway):
    status, headers, page = get(net.origin, "/")
    policy = headers["Content-Security-Policy"]
    assert status == 200
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert not re.findall(r"(?:src|href|url\()=?[\"'(]?(?:https?:)?//", page)


def test_healthz_says_503_while_no_worker_serves(net, gateway):
    gateway.may_lose_workers = True

    def is_unwell():
        for pid in gateway.workers():
            proc.kill(pid)
        return get(net.origin, "/healthz")[0] == 503

    until(is_unwell, "healthz to say 503")
    until(lambda: get(net.origin, "/healthz")[0] == 200, "healthz to say 200 again")


# --- the process


def _answers(namespace):
    try:
        return get(namespace, "/healthz")[0] == 200
    except OSError:
        return False


def test_exporter_has_no_privilege_and_no_session(net, gateway, session):
    kept = session()
    pid, = gateway.exporters()
    until(lambda: not _capabilities(pid), "the exporter to close its jail")
    state = proc.status(pid)
    assert state["Seccomp"] == "2" and state["NoNewPrivs"] == "1"
    worker_state = pathlib.Path(f"/proc/{gateway.workers()[0]}/status").read_text()
    assert f"Uid:\t{state['Uid']}" in worker_state
    # No line of the map is shared memory that it can write, but for its own page of notes.
    writable = [line for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
                if re.match(r"\S+ rw.s", line)]
    assert len(writable) == 1, writable
    # Its sockets: one that listens, none of a session.
    inodes = set(re.findall(r"socket:\[(\d+)\]", "\n".join(proc.descriptors(pid))))
    tcp = net.origin.run("cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()
    own = [line.split()[1] for line in tcp if inodes & set(line.split()[9:10])]
    assert [each.rpartition(":")[2] for each in own] == [f"{exporter.PORT:04X}"]
    kept.close()


def _capabilities(pid):
    """Sets that are not empty."""
    return [name for name, value in proc.status(pid).items() if name.startswith("Cap") and int(value, 16)]


def test_workers_do_not_hold_the_port(gateway):
    worker, = gateway.workers()
    inode = proc.descriptors(gateway.exporters()[0])
    assert not {each for each in inode if each.startswith("socket:")} & set(
        proc.descriptors(worker)) - _shared_log(gateway)


def _shared_log(gateway):
    return {os.readlink(f"/proc/{gateway.pid}/fd/2")}


def test_exporter_that_dies_is_started_again(net, gateway):
    for count in (1, 2):
        pid, = gateway.exporters()
        proc.kill(pid)
        gateway.wait_line(r"\[!\] the exporter died: Killed", count)
        until(lambda: _answers(net.origin), "another exporter to answer")
    assert Figures(net.origin).get("workers") == 1


def test_reloads_replace_the_exporter_and_refuse_no_request(net, gateway, directory):
    reloader = Reloader(gateway, directory)
    failures, is_over = [], threading.Event()

    def ask():
        while not is_over.is_set():
            try:
                if get(net.origin, "/healthz")[0] != 200:
                    failures.append("not 200")
            except (OSError, http.client.HTTPException) as error:
                failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        first = gateway.exporters()
        for number in range(10):
            reloader.reload([conf.listener(keepalive=61 + number)], **SETTINGS)
    finally:
        is_over.set()
        thread.join()
    assert not failures
    until(lambda: len(gateway.exporters()) == 1, "one exporter")
    assert gateway.exporters() != first


def test_reload_moves_and_ends_the_exporter(net, gateway, directory):
    reloader = Reloader(gateway, directory)
    reloader.reload([conf.listener()], metrics="127.0.0.1:9110")
    assert get(net.origin, "/healthz", port=9110)[0] == 200
    assert not net.origin.is_listening(exporter.PORT)
    reloader.reload([conf.listener()])
    until(lambda: not gateway.exporters() and not net.origin.is_listening(9110),
          "the exporter to end")
    reloader.reload([conf.listener()], **SETTINGS)
    assert _answers(net.origin)


def test_port_is_free_after_the_supervisor_is_killed(net, serve, directory, session, launch):
    gateway = serve(settings=SETTINGS)
    kept = session()
    children = proc.children(gateway.pid)
    gateway.signal(signal.SIGKILL)
    gateway.wait_exit()
    until(lambda: not any(map(net.origin.is_listening, (conf.PORT, exporter.PORT))), "free ports")
    again = launch(net.origin, "-c", directory / "mmproxy.conf")
    again.wait_listening(*conf.LISTEN)
    until(lambda: _answers(net.origin), "the exporter of the second one")
    kept.send(b"more")
    assert kept.recv(4) == b"more"
    kept.close()
    until(lambda: not any(map(proc.is_alive, children)), "the first one's workers to end")


def test_address_that_is_taken_or_a_listeners_is_a_mistake(net, directory):
    path = conf.write(directory, [conf.listener()], metrics="127.0.0.1:2222")
    done = daemon.run(["-n", "-c", path], directory, net.origin)
    assert done.returncode == 78
    assert re.search(r'mmproxy\.conf:1: "metrics" is 127\.0\.0\.1:2222, which overlaps', done.stderr)
    path = conf.write(directory, [conf.listener()], metrics="0.0.0.0:9109")
    done = daemon.run(["-n", "-c", path], directory, net.origin)
    assert done.returncode == 0
    assert '"metrics" is 0.0.0.0:9109, which is not on loopback' in done.stderr


# --- hostile clients


def _memory(pid):
    return int(re.search(r"RssAnon:\s+(\d+)",
                         pathlib.Path(f"/proc/{pid}/status").read_text())[1]) * 1024


GARBAGE = [b"\0" * 5000, b"GET", b"\r\n" * 3000, b"GET /metrics HTTP/9.9\r\n\r\n",
           b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
           b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
           b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
           bytes(range(256)) * 16, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]


def _throw(namespace, data):
    conn = connect(namespace, "127.0.0.1", exporter.PORT)
    try:
        conn.sock.sendall(data)
        conn.sock.shutdown(1)
        while conn.sock.recv(65536):
            pass
    except OSError:
        pass
    conn.close()


def _say(namespace, request):
    """Everything that is answered to these bytes."""
    conn = connect(namespace, "127.0.0.1", exporter.PORT)
    conn.sock.sendall(request)
    answer = b""
    while piece := conn.sock.recv(65536):
        answer += piece
    conn.close()
    return answer


def test_a_connection_has_one_answer_and_no_way_out_of_the_page(net, gateway):
    host = b"Host: x\r\n"
    head = _say(net.origin, b"HEAD /metrics HTTP/1.1\r\n" + host + b"\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and head.endswith(b"\r\n\r\n")
    for path in (b"/../etc/passwd", b"/%2e%2e/etc/passwd", b"//etc/passwd", b"/metrics/"):
        answer = _say(net.origin, b"GET " + path + b" HTTP/1.1\r\n" + host + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 404 ") and b"root:" not in answer, path
    part = _say(net.origin, b"GET /healthz HTTP/1.1\r\nRange: bytes=0-0\r\n" + host + b"\r\n")
    assert part.startswith(b"HTTP/1.1 200 ") and part.endswith(b"\r\n\r\nok\n")
    many = _say(net.origin, (b"GET /healthz HTTP/1.1\r\n" + host + b"\r\n") * 20)
    assert many.count(b"HTTP/1.1 200 ") == 1


def test_garbage_and_huge_requests_are_survived(net, gateway):
    pid, = gateway.exporters()
    for data in [*GARBAGE, b"GET /" + b"a" * MIB + b" HTTP/1.1\r\n\r\n",
                 b"GET / HTTP/1.1\r\nX: " + b"a" * MIB + b"\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100000 + b"\r\n",
                 b"POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n" + b"a" * MIB]:
        _throw(net.origin, data)
    assert _answers(net.origin)
    assert gateway.exporters() == [pid]


def test_hundreds_of_slow_readers_keep_no_reader_out(net, serve, directory, session):
    """
    They send no whole request, or read nothing of the answer. A scrape is answered in between, a
    session goes on, and the exporter's memory is bounded.
    """
    gateway = serve(settings=SETTINGS, options={
        "env": footprint.COMPACT_HEAP | footprint.without_quarantine(directory)})
    kept = session()
    pid, = gateway.exporters()
    before = _memory(pid)
    held = []
    for number in range(400):
        conn = connect(net.origin, "127.0.0.1", exporter.PORT, receive_buffer=2048)
        conn.send(b"GET /metrics HTTP/1.1\r\n" + (b"Host: x\r\n\r\n" if number % 2 else b"Ho"))
        held.append(conn)
        if number % 50 == 0:
            assert Figures(net.origin).get("sessions_active", listener="ssh") == 1
            kept.send(b"ping")
            assert kept.recv(4) == b"ping"
    until(lambda: len(net.origin.ss("-tn", "state", "established",
                                    "sport", f"= :{exporter.PORT}")) <= 70,
          "the oldest connections to be closed")
    assert _memory(pid) - before < 8 * MIB
    assert _answers(net.origin)
    for conn in held:
        conn.close()
    kept.close()


def test_slow_request_ends_after_its_time(net, gateway):
    conn = connect(net.origin, "127.0.0.1", exporter.PORT)
    conn.send(b"GET / HTTP/1.1\r\n")

    def has_ended():
        """It sends a little more again and again: that does not keep it alive."""
        try:
            conn.sock.send(b"X: y\r\n")
        except OSError:
            return True
        return False

    until(has_ended, "the request to be cut off")
    conn.close()
    assert _answers(net.origin)


# --- what is shipped for Prometheus and Grafana


def test_shipped_rules_and_dashboard_name_metrics_that_exist(net, gateway):
    names = {name for name, _ in Figures(net.origin).samples} | {
        # Those that need a target's check.
        "mmproxy_target_up", "mmproxy_return_path_up"}
    for file in (ETC / "prometheus" / "alerts.yml", ETC / "grafana" / "mmproxy.json"):
        used = set(re.findall(r"\bmmproxy_\w+", file.read_text()))
        assert used and used <= names, used - names


@pytest.mark.real
def test_promtool_has_nothing_to_say(net, gateway, session):
    session().close()
    _, _, text = get(net.origin, "/metrics")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                          capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    _promtool("check", "rules", ETC / "prometheus" / "alerts.yml")


def _promtool(*arguments):
    done = subprocess.run(["promtool", *arguments], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.real
def test_each_alert_fires_where_it_should_and_only_there():
    cases = pathlib.Path(__file__).with_name("alerts_test.yml")
    _promtool("test", "rules", cases)
    tested = set(re.findall(r"alertname: (\w+)", cases.read_text()))
    assert tested == set(re.findall(r"alert: (\w+)", (ETC / "prometheus/alerts.yml").read_text()))


@pytest.mark.real
def test_prometheus_understands_every_question_of_the_dashboard(directory):
    dashboard = json.loads((ETC / "grafana" / "mmproxy.json").read_text())
    questions = [each["expr"] for panel in dashboard["panels"] for each in panel.get("targets", [])]
    assert len(questions) > 10
    rules = [{"record": f"question:{number}", "expr": re.sub(r"\$__\w+", "5m", question)}
             for number, question in enumerate(questions)]
    path = directory / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    _promtool("check", "rules", path)
