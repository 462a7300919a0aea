# SPDX-License-Identifier: BSD-2-Clause
"""What -n says of this host: warnings, which leave the exit status as it is."""

import os
import re
import subprocess

import pytest

from lib import conf, daemon
from lib.topology import LB4, ORIGIN4

UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                "--inh-caps=-all", "--bounding-set=-all")
FINE = r".*: configuration is fine, listeners: 1\n"


def _dry_run(path, directory, namespace, prefix=()):
    """It is fine: what stands before the line that says so."""
    done = daemon.run(["-n", "-c", path], directory, namespace, prefix)
    assert done.returncode == 0, done.stderr
    warnings, result = re.fullmatch(rf"((?:.*\n)*?)({FINE})", done.stderr).groups()
    assert result
    return warnings


def _taken(path, owner):
    return (re.escape(f'{path}:2: listener "ssh": 0.0.0.0:2222 is in use by ') + owner +
            r", which listens on 127\.0\.0\.1:2222\n")


def test_port_that_another_program_has_is_warned_of(net, directory, target):
    other = target(port=2222)
    path = conf.write(directory, [conf.listener(listen=["0.0.0.0:2222", "[::]:2222"])])
    assert re.fullmatch(_taken(path, rf".* \(pid {os.getpid()}\)"),
                        _dry_run(path, directory, net.origin))
    other.close()
    assert _dry_run(path, directory, net.origin) == ""


LISTEN = """
import socket
taken = socket.create_server(("127.0.0.1", 2222))
print("ready", flush=True)
input()
"""


def test_port_of_a_program_that_cannot_be_looked_at_is_warned_of(net, directory):
    argv = net.origin.argv("setpriv", "--reuid=4711", "--clear-groups", "/usr/bin/python3", "-c",
                           LISTEN)
    path = conf.write(directory, [conf.listener()])
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"ready\n"
        assert re.fullmatch(_taken(path, "another program"),
                            _dry_run(path, directory, net.origin, UNPRIVILEGED))


def test_ports_of_the_running_mmproxy_are_not_warned_of(serve, net, directory):
    gateway = serve()
    path = directory / "mmproxy.conf"
    assert _dry_run(path, directory, net.origin) == ""
    assert _dry_run(path, directory, net.origin, UNPRIVILEGED) == ""
    gateway.stop()


def test_target_that_is_not_on_this_host_is_warned_of(net, directory):
    path = conf.write(directory, [conf.listener(target_v4="198.51.100.77:22",
                                                return_path="fwmark")])
    assert _dry_run(path, directory, net.origin) == (
        f'{path}:2: listener "ssh": target 198.51.100.77:22 is not an address of this host: the '
        "service's replies would not come back here\n")


def test_target_that_the_return_path_does_not_serve_is_warned_of(net, directory):
    path = conf.write(directory, [conf.listener(target_v4=f"{ORIGIN4}:22",
                                                return_path="loopback")])
    assert _dry_run(path, directory, net.origin) == (
        f'{path}:2: listener "ssh": target {ORIGIN4}:22 is not on loopback: return_path "loopback" '
        "does not bring its replies back\n")


@pytest.fixture
def service(directory):
    """service(user, path): a systemctl that says that the service has that user and file."""
    programs = directory / "bin"
    programs.mkdir()
    programs.chmod(0o755)

    def make(user, path, hides_homes="no"):
        program = programs / "systemctl"
        program.write_text(f"""#!/bin/sh
[ "$*" = "show --property=ExecStart --property=User --property=ProtectHome mmproxy.service" ] || exit 1
cat <<'END'
ExecStart={{ path=/usr/sbin/mmproxy ; argv[]=/usr/sbin/mmproxy -c {path} ; ignore_errors=no ; pid=0 }}
User={user}
ProtectHome={hides_homes}
END
""")
        program.chmod(0o755)
        return ("env", f"PATH={programs}:/usr/sbin:/usr/bin:/sbin:/bin")

    return make


def _as_service(user):
    return f"mmproxy: files are read as user {user}, as mmproxy.service reads them\n"


def test_file_that_the_service_cannot_read_is_a_mistake_for_root_too(net, directory, service):
    path = conf.write(directory, [conf.listener()])
    subnets = directory / "lb.subnets"
    prefix = service("nobody", path)
    assert _dry_run(path, directory, net.origin, prefix) == _as_service("nobody")
    subnets.chmod(0o600)
    done = daemon.run(["-n", "-c", path], directory, net.origin, prefix)
    assert done.returncode == 78, done.stderr
    assert done.stderr == (_as_service("nobody") +
                           f"{path}:2: cannot read {subnets}: Permission denied\n")
    done = daemon.run(["--check", "-c", path], directory, net.origin, prefix)
    assert done.returncode == 78, done.stderr
    assert done.stderr.startswith(_as_service("nobody") + f"{path}:2: cannot read")
    # Neither another file than the service's nor a service that runs as root is judged so.
    assert _dry_run(path, directory, net.origin) == ""
    assert _dry_run(path, directory, net.origin, service("root", path)) == ""
    assert _dry_run(path, directory, net.origin, service("nobody", f"{path}.old")) == ""


def test_file_in_a_home_that_the_service_does_not_see_is_a_mistake(net, directory, service):
    path = conf.write(directory, [conf.listener(allowed_subnets="/home/lb.subnets")])
    # A /home of its own, which everybody may read.
    home = ("unshare", "-m", "sh", "-c", "mount -t tmpfs -o mode=755 none /home && "
            f'echo {LB4} >/home/lb.subnets && exec "$@"', "sh")
    prefix = (*home, *service("nobody", path))
    assert _dry_run(path, directory, net.origin, prefix) == _as_service("nobody")
    prefix = (*home, *service("nobody", path, hides_homes="yes"))
    done = daemon.run(["-n", "-c", path], directory, net.origin, prefix)
    assert done.returncode == 78, done.stderr
    assert done.stderr == (_as_service("nobody") +
                           f"{path}:2: cannot read /home/lb.subnets: Permission denied\n")


def test_user_of_the_service_that_does_not_exist_is_reported(net, directory, service):
    path = conf.write(directory, [conf.listener()])
    assert _dry_run(path, directory, net.origin, service("no-such-user", path)) == (
        "mmproxy: files are read as root: user no-such-user of mmproxy.service: No such file or "
        "directory\n")


def test_tables_that_make_identical_rules_are_warned_of(net, directory):
    smtp = {"name": "smtp", "listen": "0.0.0.0:2525", "target_v6": None}
    path = conf.write(directory, [conf.listener(), conf.listener(**smtp, mark=5, table=7)])
    done = daemon.run(["-n", "-c", path], directory, net.origin)
    assert done.returncode == 0
    assert done.stderr.splitlines()[:-1] == [
        f'{path}:3: listener "smtp": table 7 is of no use for IPv4: table 100 has the same rule '
        'for listener "ssh"']
    # Rules by mark differ.
    conf.write(directory, [conf.listener(), conf.listener(**smtp, mark=5, table=7,
                                                          return_path="fwmark")])
    done = daemon.run(["-n", "-c", path], directory, net.origin)
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_subnet_that_admits_every_host_is_warned_of(net, directory):
    path = conf.write(directory, [conf.listener(allowed_subnets=["0.0.0.0/0", LB4])])
    assert "lets every IPv4 address connect" in _dry_run(path, directory, net.origin)
