# SPDX-License-Identifier: BSD-2-Clause
"""What an operator does to the service, with sessions open and probes every 10 ms."""

import os
import pathlib
import re
import signal
import time

import pytest

from conftest import ETC, SSH, run, show, start_greeter, stop_greeter, until, write
from probe import Probes, Session, is_refused

STOP_S = 60  # twice drain_timeout: the bound of a hung test


def main_pid():
    return int(show("MainPID"))


def journal(*match):
    return run("journalctl", "-u", "mmproxy", "-o", "cat", "--no-pager", *match).stdout


def upgrade():
    before = main_pid()
    run("systemctl", "kill", "--kill-whom=main", "-s", "USR2", "mmproxy")
    until(lambda: main_pid() not in (0, before), "another main process")


def kill():
    before = main_pid()
    os.kill(before, signal.SIGKILL)
    until(lambda: main_pid() not in (0, before) and show("ActiveState") == "active", "a restart")


@pytest.mark.parametrize("happening", (upgrade, kill))
def test_a_session_of_before_does_not_hold_up_stop_and_start(happening):
    """No black hole, no "Address already in use"; the return path stays for as long as it."""
    with Session() as old:
        happening()
        with Session() as other:
            assert other.lives()
        assert old.lives()
    old = Session()
    happening()
    run("systemctl", "stop", "--no-block", "mmproxy")
    until(is_refused, "connections to be refused")
    assert old.lives(), "the return path went before the session"
    assert old.is_over()
    until(lambda: show("ActiveState") == "inactive", "the stop", STOP_S)
    run("systemctl", "start", "mmproxy")
    with Session() as new:
        assert new.lives()
    assert "Address already in use" not in journal()


def test_kill_9_a_session_of_before_lives_while_the_next_start_serves():
    with Session() as old, Probes() as probes:
        kill()
        assert old.lives()
    print("kill -9:", probes.told(), f"{len(probes.failed)} refused or reset")


def test_restart_with_an_open_session_serves_within_a_second_and_refuses_none(record):
    with Session() as old:
        with Probes() as probes:
            time.sleep(0.5)
            run("systemctl", "restart", "mmproxy")
            time.sleep(0.5)
        assert old.lives()
    record("restart", probes)
    assert not probes.failed
    assert probes.worst_s < 1


def test_reload_and_upgrade_lose_nobody(record):
    for name, act in (("reload", lambda: run("systemctl", "reload", "mmproxy")),
                      ("upgrade", upgrade)):
        with Session() as old:
            with Probes() as probes:
                time.sleep(0.3)
                write(SSH.replace("target_v4", "keepalive = 61; target_v4"))
                act()
                time.sleep(0.5)
            assert old.lives()
        record(name, probes)
        assert not probes.failed


def test_stop_refuses_at_once_and_ends_every_generation_within_drain_timeout():
    pathlib.Path("/etc/mmproxy.d/ssh.conf").write_text(SSH)
    main = pathlib.Path("/etc/mmproxy.conf")
    text = main.read_text()
    main.write_text("drain_timeout = 3;\n" + text)
    try:
        run("systemctl", "restart", "mmproxy")
        sessions = [Session()]
        for act in (upgrade, lambda: run("systemctl", "restart", "mmproxy"), kill):
            act()
            sessions.append(Session())
        run("systemctl", "stop", "--no-block", "mmproxy")
        until(is_refused, "connections to be refused", 2)
        until(lambda: show("ActiveState") == "inactive", "the stop", STOP_S)
        assert all(session.is_over() for session in sessions)
        until(lambda: not run("pgrep", "-x", "mmproxy", check=False).stdout, "all processes to end", 10)
        assert len(run("ip", "rule").stdout.splitlines()) == 3
    finally:
        main.write_text(text)


def test_reload_of_a_broken_file_fails_and_the_old_one_serves():
    write(SSH.replace("target_v4", "target_v5"))
    done = run("systemctl", "reload", "mmproxy", check=False)
    assert done.returncode != 0 and "failed" in done.stderr, done
    mistake = f'{ETC}/ssh.conf:3: unknown key "target_v5" (did you mean "target_v4"?)'
    assert mistake in run("mmproxy", "-n", check=False).stderr
    assert mistake in run("systemctl", "status", "--no-pager", "-l", "-n", "20", "mmproxy").stdout
    with Session() as session:
        assert session.lives()
    write()
    run("systemctl", "reload", "mmproxy")


@pytest.mark.parametrize("option", ("-n", "--check"))
def test_what_the_service_may_not_read_is_a_mistake_for_root_too(option):
    home = pathlib.Path("/root/lb.subnets")
    secret = pathlib.Path("/etc/mmproxy/secret.subnets")
    for path, mode in ((home, 0o644), (secret, 0o600)):
        path.write_text("127.0.0.1\n")
        path.chmod(mode)
        write(SSH.replace('[ "127.0.0.1", "::1" ]', f'"{path}"'))
        try:
            done = run("mmproxy", option, check=False)
            assert done.returncode == 78 and str(path) in done.stderr, done
            assert "user _mmproxy" in done.stderr
        finally:
            path.unlink()


def test_status_after_boot_is_true_when_targets_start_later():
    run("systemctl", "stop", "mmproxy")
    stop_greeter()
    run("systemctl", "start", "mmproxy")
    until(lambda: "2 of 2 targets fail" in show("StatusText"), "failed targets")
    start_greeter()
    until(lambda: "targets" not in show("StatusText"), "targets that hold")
    assert "127.0.0.1:22 is back" in journal("MMPROXY_EVENT=check")


def test_status_counts_the_sessions_of_old_processes():
    with Session(), Session():
        upgrade()
        until(lambda: re.search("earlier process.* 2 sessions", show("StatusText")), "2 sessions")
    assert "reception only permitted" not in run("journalctl", "--no-pager").stdout


def test_check_changes_nothing_while_the_service_runs():
    rules = run("ip", "rule").stdout
    done = run("mmproxy", "--check", check=False)
    assert done.returncode == 0 and "changes nothing" in done.stderr, done
    assert run("ip", "rule").stdout == rules
    (ETC / "ssh.conf").unlink()
    assert "No listener is configured" in run("mmproxy", "--check").stderr
