# SPDX-License-Identifier: BSD-2-Clause
"""What an operator does to the service, with sessions open and probes every 10 ms."""

import os
import pathlib
import re
import signal
import socket

import pytest

from conftest import ETC, SSH, run, show, start_greeter, stop_greeter, until, write, write_main
from probe import Probes, Session, is_refused

BROKEN = SSH.replace("target_v4", "target_v5")
MISTAKE = f'{ETC}/ssh.conf:3: unknown key "target_v5" (did you mean "target_v4"?)'


def main_pid():
    return int(show("MainPID"))


def journal(*match):
    """By the name and not by the unit: journald can't tell the unit of a process that has ended."""
    return run("journalctl", "-t", "mmproxy", "-o", "cat", "--no-pager", *match).stdout


def reload():
    run("systemctl", "reload", "mmproxy")


def restart():
    run("systemctl", "restart", "mmproxy")


def send_usr2():
    run("systemctl", "kill", "--kill-whom=main", "-s", "USR2", "mmproxy")


def upgrade():
    before = main_pid()
    send_usr2()
    until(lambda: main_pid() not in (0, before), "another main process")


def kill():
    before = main_pid()
    os.kill(before, signal.SIGKILL)
    until(lambda: main_pid() not in (0, before) and show("ActiveState") == "active", "a restart")


def reload_with_a_change():
    write(SSH.replace("target_v4", "keepalive = 61; target_v4"))
    reload()


def reload_a_broken_file():
    write(BROKEN)
    assert run("systemctl", "reload", "mmproxy", check=False).returncode != 0


def upgrade_with_a_broken_file():
    before = main_pid()
    write(BROKEN)
    send_usr2()
    until(lambda: "upgrade failed" in show("StatusText"), "an upgrade that fails")
    assert main_pid() == before


@pytest.mark.parametrize("scenario", (
    reload_with_a_change, reload_a_broken_file, upgrade, upgrade_with_a_broken_file, restart, kill))
def test_nothing_is_refused_and_an_open_session_lives_over(scenario, say):
    with Session() as old:
        with Probes() as probes:
            scenario()
            probes.wait_for_more()
        assert old.lives()
    say(f"{scenario.__name__}: {probes.summary()}")
    assert not probes.failed


def test_a_stop_refuses_new_sessions_until_the_start(say):
    with Probes() as probes:
        run("systemctl", "stop", "mmproxy")
        until(lambda: probes.failed, "a refusal")
        run("systemctl", "start", "mmproxy")
        probes.wait_for_more()
    say(f"stop and start: {probes.summary()}")
    assert not any("timed out" in error for error in probes.failed), probes.failed


@pytest.mark.parametrize("scenario", (upgrade, kill))
def test_a_session_of_before_does_not_hold_up_stop_and_start(scenario):
    """No black hole, no "Address already in use"; the return path stays for as long as it."""
    with Session() as old:
        scenario()
        with Session() as other:
            assert other.lives()
        assert old.lives()
    old = Session()
    scenario()
    run("systemctl", "stop", "--no-block", "mmproxy")
    until(is_refused, "connections to be refused")
    assert old.lives(), "the return path went before the session"
    assert old.is_over()
    until(lambda: show("ActiveState") == "inactive", "the stop")
    run("systemctl", "start", "mmproxy")
    with Session() as new:
        assert new.lives()
    assert "Address already in use" not in journal()


def test_stop_refuses_at_once_and_ends_every_generation_within_drain_timeout():
    write_main("drain_timeout = 3;\n")
    restart()
    sessions = [Session()]
    for act in (upgrade, restart, kill):
        act()
        sessions.append(Session())
    run("systemctl", "stop", "--no-block", "mmproxy")
    until(is_refused, "connections to be refused")
    until(lambda: show("ActiveState") == "inactive", "the stop")
    assert all(session.is_over() for session in sessions)
    until(lambda: not run("pgrep", "-x", "mmproxy", check=False).stdout, "all processes to end")
    assert len(run("ip", "rule").stdout.splitlines()) == 3


def test_reload_of_a_broken_file_fails_and_says_why():
    write(BROKEN)
    for how in (("mmproxyctl", "reload"), ("mmproxy", "-n")):
        done = run(*how, check=False)
        assert done.returncode == 78 and MISTAKE in done.stdout + done.stderr, done
    done = run("systemctl", "reload", "mmproxy", check=False)
    assert done.returncode != 0 and "failed" in done.stderr, done
    assert MISTAKE in run("systemctl", "status", "--no-pager", "-l", "-n", "20", "mmproxy",
                          check=False).stdout
    with Session() as session:
        assert session.lives()
    write()
    reload()


def test_reload_fails_where_the_port_is_taken():
    """A good file is not enough: the reload has to take effect."""
    with socket.create_server(("127.0.0.1", 2223)):
        write(SSH.replace(":2222", ":2223", 1))
        assert run("systemctl", "reload", "mmproxy", check=False).returncode != 0
    until(lambda: "Address already in use" in journal(), "a line that says why")
    reload()
    write()


def test_reload_without_a_control_socket_tests_the_file():
    write_main('control = "";\n')
    reload()
    until(lambda: not pathlib.Path("/run/mmproxy/control.sock").exists(), "no socket")
    write(BROKEN)
    assert run("systemctl", "reload", "mmproxy", check=False).returncode != 0
    write()
    write_main()
    reload()
    until(lambda: run("mmproxyctl", "status", check=False).returncode == 0, "a socket")


def test_a_group_of_the_service_may_look_and_change_nothing():
    folder = pathlib.Path("/run/systemd/system/mmproxy.service.d")
    folder.mkdir(parents=True)
    (folder / "group.conf").write_text("[Service]\nSupplementaryGroups=adm\n")
    as_member = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=adm", "mmproxyctl")
    try:
        run("systemctl", "daemon-reload")
        write_main('control_group = "adm";\n')
        restart()
        until(lambda: run(*as_member, "status", check=False).returncode == 0, "a status")
        assert run(*as_member, "reload", check=False).returncode == 77
    finally:
        (folder / "group.conf").unlink()
        folder.rmdir()
        run("systemctl", "daemon-reload")


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
    until(lambda: "127.0.0.1:22 is back" in journal("MMPROXY_EVENT=check"), "a line that says so")


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
