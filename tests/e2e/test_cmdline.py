# SPDX-License-Identifier: BSD-2-Clause
"""The command line: exit statuses with one clear line each, -n, and serving without a file."""

import re

import pytest

from lib import conf, daemon, header, lines
from lib.conn import RST, connect, endpoint
from lib.target import Target
from lib.topology import CLIENT_OF, LB4, LB6, LOOPBACK_OF, ORIGIN4, ORIGIN_OF, STRANGER4

UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                "--inh-caps=-all", "--bounding-set=-all")


def _fails(done, status, *words):
    """It exited with that status and one line on stderr that has all the words."""
    assert done.returncode == status, done
    told = done.stderr.splitlines()
    assert len(told) == 1, done.stderr
    for word in words:
        assert word in told[0], told[0]
    return told[0]


@pytest.mark.parametrize("arguments, word", (
    (["--nonsense"], "nonsense"), (["-c"], "c"), (["-c", "/dev/null", "extra"], "extra"),
    (["-l", "0.0.0.0:2222"], "allowed"),
    (["-a", "SUBNETS", "-l", "0.0.0.0:2222"], "target"),
    (["-a", "SUBNETS", "-4", "127.0.0.1:22"], "listen"),
    (["-a", "SUBNETS", "-l", "0.0.0.0", "-4", "127.0.0.1:22"], "0.0.0.0"),
    (["-a", "SUBNETS", "-l", "0.0.0.0:2222", "-4", "localhost:22"], "localhost:22"),
    (["-a", "SUBNETS", "-l", "0.0.0.0:2222", "-4", "127.0.0.1:65536"], "65536"),
    (["-a", "SUBNETS", "-l", "0.0.0.0:2222", "-4", "127.0.0.1:22", "-m", "0"], "mark"),
    (["-a", "SUBNETS", "-l", "0.0.0.0:2222", "-4", "127.0.0.1:22", "-m", "12x"], "12x"),
    (["-a", "SUBNETS", "-l", "0.0.0.0:2222", "-4", "127.0.0.1:22", "-t", "255"], "table"),
    (["-a", "SUBNETS", "-l", "0.0.0.0:2222", "-4", "127.0.0.1:22", "--return-path", "magic"],
     "magic"),
    (["-c", "/dev/null", "-l", "0.0.0.0:2222"], "-c"),
    (["--rules=nonsense"], "nonsense"),
))
def test_wrong_usage_exits_64(plain_net, directory, arguments, word):
    subnets = directory / "lb.subnets"
    subnets.write_text(f"{LB4}\n")
    arguments = [subnets if each == "SUBNETS" else each for each in arguments]
    _fails(daemon.run(arguments, directory, plain_net.origin), 64, word)


def test_address_in_use_exits_71(net, directory, target):
    other = target(port=2222)
    path = conf.write(directory, [conf.listener()], workers=2)
    _fails(daemon.run(["-c", path], directory, net.origin), 71, "2222", "Address already in use")
    other.close()


def test_address_that_is_not_here_exits_71(net, directory):
    path = conf.write(directory, [conf.listener(listen="192.0.2.77:2222")], workers=2)
    _fails(daemon.run(["-c", path], directory, net.origin), 71, "192.0.2.77:2222",
           "Cannot assign requested address")


def test_missing_privilege_exits_77(net, directory):
    path = conf.write(directory, [conf.listener()], workers=2)
    _fails(daemon.run(["-c", path], directory, net.origin, UNPRIVILEGED), 77)


def test_missing_configuration_file_exits_78(directory, plain_net):
    path = directory / "no.conf"
    _fails(daemon.run(["-c", path], directory, plain_net.origin), 78, str(path),
           "No such file or directory")


def test_syntax_error_exits_78_with_file_and_line(directory, plain_net):
    path = directory / "mmproxy.conf"
    path.write_text("workers = 1;\nlisteners = (\n  { name = ; }\n);\n")
    told = _fails(daemon.run(["-c", path], directory, plain_net.origin), 78)
    assert f"{path}:3: " in told


MISTAKES = """workers = "many";
listenerz = 1;
listeners = (
  { name = "ssh"; listen = "0.0.0.0:2222"; allowed_subnets = "lb.subnets";
    target_v4 = "127.0.0.1:22"; heder_timeout = 3; },
  { name = "ssh"; listen = "0.0.0.0:2223"; allowed_subnets = "none.subnets";
    target_v4 = "[::1]:22"; mark = 0;
    table = 254; }
);
"""


@pytest.mark.parametrize("option", (["-n"], []))
def test_every_mistake_has_its_line_and_it_exits_78(directory, plain_net, option):
    (directory / "lb.subnets").write_text("10.0.0.0/8\n10.0.0.0/33\n")
    path = directory / "mmproxy.conf"
    path.write_text(MISTAKES)
    done = daemon.run([*option, "-c", path], directory, plain_net.origin)
    assert done.returncode == 78
    for where, words in ((f"{path}:1: ", "workers"), (f"{path}:2: ", "listeners"),
                         (f"{path}:5: ", "header_timeout"), (f"{path}:6: ", "none.subnets"),
                         (f"{path}:6: ", "ssh"), (f"{path}:7: ", "target_v4"),
                         (f"{path}:7: ", "mark"), (f"{path}:8: ", "table"),
                         (f"{directory}/lb.subnets:2: ", "33")):
        assert any(where in line and words in line for line in done.stderr.splitlines()), \
            f"{where}{words}\n{done.stderr}"


def test_test_config_needs_no_privilege(net, directory, target):
    """Nor does it mind that the address is in use."""
    target(port=2222)
    path = conf.write(directory, [conf.listener()])
    done = daemon.run(["-n", "-c", path], directory, net.origin, UNPRIVILEGED)
    assert done.returncode == 0, done


@pytest.mark.parametrize("option, words", (
    ("--help", ("--config", "--allowed-subnets", "--return-path", "--rules")),
    ("--version", ("mmproxy",))))
def test_help_and_version_exit_0(directory, plain_net, option, words):
    done = daemon.run([option], directory, plain_net.origin, UNPRIVILEGED)
    assert done.returncode == 0 and not done.stderr, done
    for word in words:
        assert word in done.stdout


@pytest.mark.parametrize("redirection, reason", ((">/dev/full", "No space left on device"),
                                                 (">&-", "Bad file descriptor")))
@pytest.mark.parametrize("option", ("--help", "--version", "--rules"))
def test_what_can_not_be_printed_exits_71(directory, plain_net, option, redirection, reason):
    path = conf.write(directory, [conf.listener()])
    done = daemon.run([option, *(("-c", path) if option == "--rules" else ())], directory,
                      plain_net.origin, prefix=("sh", "-c", f'exec "$0" "$@" {redirection}'))
    assert done.returncode == 71, done
    assert len(done.stderr.splitlines()) == 1 and done.stderr.endswith(f": {reason}\n")


# --- without a file

@pytest.fixture
def drop_in(plain_net, launch, directory):
    """drop_in(*more options, subnets=...): started as the original is, on its return path."""
    plain_net.return_path_connmark()

    def start(*options, subnets=f"{LB4}\n{LB6}\n", listen=conf.LISTEN,
              targets=("-4", "127.0.0.1:22", "-6", "[::1]:22")):
        path = directory / "allowed.txt"
        path.write_text(subnets)
        listens = [word for address in listen for word in ("-l", address)]
        gateway = launch(plain_net.origin, "--allowed-networks", path, *listens, *targets,
                         *options)
        gateway.wait_listening(*listen, name=None)
        return gateway

    return start


def _session(net, link=4, client=4):
    service = Target(net.origin, LOOPBACK_OF[client], 22)
    peer = connect(net.lb, ORIGIN_OF[link], conf.PORT)
    peer.send(header.v1(CLIENT_OF[client], 51234))
    conn = service.accept()
    service.close()
    peer.trip(conn)
    assert conn.peer_address == CLIENT_OF[client]
    return peer, conn


def _end(gateway, peer, conn):
    peer.finish()
    conn.end()
    conn.close()
    peer.end()
    assert gateway.is_running()


@pytest.mark.parametrize("link", (4, 6))
@pytest.mark.parametrize("client", (4, 6))
def test_without_a_file_over_connmark(plain_net, drop_in, client, link):
    gateway = drop_in("-v")
    peer, conn = _session(plain_net, link, client)
    assert conn.peer_port != 51234
    source = endpoint(CLIENT_OF[client], 51234)
    gateway.wait_line(lines.connected(peer.local, source, conn.local, name=None))
    _end(gateway, peer, conn)
    gateway.wait_line(lines.disconnected(peer.local, source, 4, 4, name=None))


def test_without_a_file_and_without_v_connections_are_not_logged(plain_net, drop_in):
    gateway = drop_in()
    _end(gateway, *_session(plain_net))
    refused = connect(plain_net.lb, ORIGIN4, conf.PORT)
    refused.send(b"SSH-2.0-x\r\n")
    refused.expect_end(RST)
    gateway.wait_line(lines.bad_header(refused.local, name=None))
    assert not gateway.find(".*connected.*"), gateway.text()


def test_force_real_client_port(plain_net, drop_in):
    gateway = drop_in("-P")
    peer, conn = _session(plain_net)
    assert conn.peer_port == 51234
    _end(gateway, peer, conn)


@pytest.mark.parametrize("options", (
    ("-m", "0x7b", "-t", "0x64"), ("--mark=123", "--table=100", "--quiet", "--verbose"),
    ("-N", "-q")))
def test_options_of_the_original(plain_net, drop_in, options):
    _end(drop_in(*options), *_session(plain_net))


def test_target_of_the_wrong_family_is_a_warning(plain_net, drop_in):
    """Scripts written for the original pass one as a dummy."""
    gateway = drop_in(targets=("-4", "127.0.0.1:22", "-6", "127.0.0.1:22"))
    assert gateway.find(r".*127\.0\.0\.1:22.*(?i:ignored).*"), gateway.text()
    _end(gateway, *_session(plain_net))


def test_bad_lines_of_the_subnets_file_are_skipped_with_a_warning(plain_net, drop_in, directory):
    gateway = drop_in(subnets=f"nonsense\n10.99.0.0/33\n{LB4}\n::1/129\n")
    for number in (1, 2, 4):
        assert gateway.find(re.escape(f"{directory}/allowed.txt:{number}: ").join((".*", ".*"))), \
            gateway.text()
    _end(gateway, *_session(plain_net))
    stranger = connect(plain_net.lb, ORIGIN4, conf.PORT, source=STRANGER4)
    stranger.expect_end(RST)
    gateway.wait_line(lines.not_allowed(stranger.local, name=None))


def test_return_path_of_choice_without_a_file(net, launch, directory):
    (directory / "allowed.txt").write_text(f"{LB4}\n")
    gateway = launch(net.origin, "-a", directory / "allowed.txt", "-l", "0.0.0.0:2222",
                     "-4", "127.0.0.1:22", "--return-path", "loopback")
    gateway.wait_listening("0.0.0.0:2222", name=None)
    _end(gateway, *_session(net))
