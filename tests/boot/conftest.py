# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the installed package on a booted system, where they may change everything."""

import pathlib
import subprocess

import pytest

from lib import wait  # of tests/e2e

ROOT = pathlib.Path(__file__).resolve().parents[2]
ETC = pathlib.Path("/etc/mmproxy.d")
MAIN = pathlib.Path("/etc/mmproxy.conf")

SSH = """listeners = (
  { name = "ssh"; listen = [ "0.0.0.0:2222", "[::]:2222" ];
    allowed_subnets = [ "127.0.0.1", "::1" ]; target_v4 = "127.0.0.1:22"; target_v6 = "[::1]:22"; }
);
"""


def pytest_configure():
    if not pathlib.Path("/run/systemd/system").is_dir() or not ETC.is_dir():
        pytest.exit("these tests change the system: tools/package-test runs them", 4)


def run(*command, check=True):
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=300)


def show(name):
    return run("systemctl", "show", "--property", name, "--value", "mmproxy").stdout.strip()


def until(condition, what):
    def failure():
        log = run("journalctl", "-u", "mmproxy", "-n", "30", "--no-pager").stdout
        return f"{what}; status: {show('StatusText')}\n{log}"
    return wait.until(condition, failure)


def write(text=SSH):
    (ETC / "ssh.conf").write_text(text)


def write_main(more=""):
    """The main file as the package has it, with lines in front."""
    MAIN.write_text(more + (ROOT / "etc" / "mmproxy.conf").read_text())


def start_greeter():
    run("systemd-run", "--quiet", "--unit=greeter", "--collect", "python3",
        str(ROOT / "tests" / "boot" / "greeter.py"))


def stop_greeter():
    run("systemctl", "stop", "greeter", check=False)


@pytest.fixture(scope="session", autouse=True)
def greeter():
    """In sshd's place, which refuses many clients at once."""
    run("systemctl", "stop", "ssh", check=False)
    start_greeter()
    yield
    stop_greeter()


@pytest.fixture(autouse=True)
def service():
    """The service with one listener, and a target."""
    write()
    run("systemctl", "reset-failed", "mmproxy", check=False)
    run("systemctl", "restart", "mmproxy")
    yield
    write()
    write_main()
    run("systemctl", "stop", "mmproxy", check=False)


@pytest.fixture
def say(capsys):
    """Prints a line that is seen even if the test passes."""
    def write_line(line):
        with capsys.disabled():
            print(f"\n  {line}", end="")
    return write_line
