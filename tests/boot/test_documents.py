# SPDX-License-Identifier: BSD-2-Clause
"""Every command of docs/quick-start.md and docs/operating.md, as it is written there."""

import pathlib
import re
import subprocess

import pytest

from conftest import ETC, MAIN, ROOT, run, show, until
from probe import Session

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PACKAGES = pathlib.Path("/root/packages")
# Those that other steps of tools/package-test run: from the bare tree to the package, and purge.
ELSEWHERE = ("dpkg-buildpackage", "purge")


def blocks(name):
    text = (ROOT / "docs" / name).read_text()
    return [(kind, block) for kind, block in BLOCK.findall(text)
            if not any(word in block for word in ELSEWHERE)]


def shell(block, directory="/", status=0):
    """Runs a block. A command that follows the log is ended; top gets a terminal and a q."""
    prefix = ("timeout", "--preserve-status", "2") if " -f" in block else ()
    block = re.sub(r"^(sudo mmproxyctl top)$", r"printf q | script -qec '\1' /dev/null", block,
                   flags=re.MULTILINE)
    done = subprocess.run([*prefix, "bash", "-e", "-o", "pipefail", "-c", block], cwd=directory,
                          capture_output=True, text=True, timeout=300, check=False,
                          env={"SYSTEMD_PAGER": "", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                               "HOME": "/root", "TERM": "linux",
                               "DEBIAN_FRONTEND": "noninteractive"})
    assert prefix or done.returncode == status, (block, done)
    return done.stdout + done.stderr


@pytest.fixture(autouse=True)
def bare():
    """As after the installation; what the guides write is gone afterwards."""
    ETC.joinpath("ssh.conf").unlink()
    run("systemctl", "restart", "mmproxy")
    yield
    for path in (*ETC.glob("*"), pathlib.Path("/etc/mmproxy/balancers.subnets")):
        path.unlink(missing_ok=True)


def test_the_quick_start_works_as_it_is_written(tmp_path):
    files = iter(["ssh.conf", "smtp.conf"])
    written = ""
    for kind, block in blocks("quick-start.md"):
        if kind == "conf":
            ETC.joinpath(next(files)).write_text(block)
        elif kind == "haproxy":
            path = tmp_path / "haproxy.cfg"
            path.write_text(block)
            run("haproxy", "-c", "-f", str(path))
        else:
            written += shell(block)
    assert "/etc/mmproxy.conf: configuration is fine, listeners: 1" in written
    assert "[+] OK. Target server 127.0.0.1:22 is up and reachable using spoofed connection." in written
    run("systemctl", "reload", "mmproxy")
    until(lambda: "serves 2 listeners" in show("StatusText"), "two listeners")


def test_operating_works_as_it_is_written():
    ETC.joinpath("ssh.conf").write_text(
        'listeners = ( { name = "ssh"; listen = "0.0.0.0:2222"; allowed_subnets = [ "127.0.0.1" ];\n'
        '                target_v4 = "127.0.0.1:22"; } );\n')
    run("useradd", "alice")
    older, newer = sorted(PACKAGES.glob("mmproxy_*.deb"), key=lambda path: "next" in path.name)
    run("systemctl", "reload", "mmproxy")
    written = ""
    for _, block in blocks("operating.md"):
        run("systemctl", "start", "mmproxy")
        if "VERSION" in block:
            back = block.replace("install", "install -y --allow-downgrades")
            for package, command in ((older, back), (newer, block)):
                shell(command.replace("mmproxy_VERSION_amd64.deb", package.name), PACKAGES)
            continue
        if "mmproxyctl" not in block:
            shell(block)
            continue
        with Session() as session:
            written += shell(block.replace("close --client 198.51.100.7",
                                           f"close --client {session.client}"))
    for line in ("generation 2 serves", "1 closed", "mmproxy_sessions_active"):
        assert line in written
    assert run("runuser", "-u", "alice", "--", "mmproxyctl", "status").stdout
    run("userdel", "alice")


@pytest.fixture
def balancer():
    """The load balancer of README.md and --help is on this host."""
    run("ip", "addr", "add", "192.0.2.10/32", "dev", "lo")
    yield "192.0.2.10"
    run("ip", "addr", "del", "192.0.2.10/32", "dev", "lo")


def serves(balancer):
    try:
        with Session(balancer) as session:
            return session.lives()
    except OSError:
        return False


def test_the_example_of_the_readme_works_as_it_is_written(balancer):
    MAIN.write_text(re.search(r"^```\n(routing.*?)^```$", (ROOT / "README.md").read_text(),
                              re.MULTILINE | re.DOTALL)[1])
    shell("sudo mmproxy -n && sudo systemctl reload mmproxy && sudo mmproxy --check")
    until(lambda: serves(balancer), "the README's listener")


def test_the_example_of_the_help_works_as_it_is_written(balancer, tmp_path):
    run("systemctl", "stop", "mmproxy")
    example = run("mmproxy", "--help").stdout.partition("Example: ")[2].partition("See also")[0]
    script = example.partition("\n")[2]
    with subprocess.Popen(["bash", "-e", "-c", script.replace("  mmproxy", "  exec mmproxy")],
                          cwd=tmp_path, stderr=subprocess.DEVNULL) as mmproxy:
        try:
            until(lambda: serves(balancer), "the listener of --help")
        finally:
            mmproxy.terminate()
    shell("ip rule del from 127.0.0.0/8 iif lo lookup 100; ip route flush table 100")
