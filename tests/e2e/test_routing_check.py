# SPDX-License-Identifier: BSD-2-Clause
"""The target checks: what fails is diagnosed, and many targets take no longer than one."""

import re
import subprocess
import sys

import pytest

from lib import conf, preload, return_path_faults, routing
from lib.conn import Conn
from lib.target import EchoTarget, Target
from lib.topology import LB4, ORIGIN4
from lib.wait import until


@pytest.fixture
def origin(plain_net):
    plain_net.return_path_fwmark()
    return plain_net.origin


@pytest.fixture
def service(origin):
    made = EchoTarget(origin, "127.0.0.1", conf.SERVICE_PORT)
    yield made
    made.close()


def check(origin, directory, **keys):
    keys = {"return_path": "fwmark", "target_v6": None} | keys
    prefix = keys.pop("prefix", ())
    return routing.run(origin, "check", conf.write(directory, [conf.listener(**keys)]), directory,
                       prefix=prefix)


LOCAL = "[+] OK. Routing to 127.0.0.1 points to a local machine."
PLAIN = "[+] OK. Target server 127.0.0.1:22 is up and reachable using conventional connection."
SPOOFED = "[+] OK. Target server 127.0.0.1:22 is up and reachable using spoofed connection."


@pytest.mark.usefixtures("service")
def test_a_good_target_has_three_lines_in_this_order(origin, directory):
    result = check(origin, directory)
    assert (result.status, result.lines) == (0, [LOCAL, PLAIN, SPOOFED])


def test_a_port_where_mmproxy_listens_itself_is_not_advised(origin, directory):
    """To point the target there would be a loop."""
    own = Target(origin, ORIGIN4, conf.SERVICE_PORT)
    result = check(origin, directory, listen=f"{ORIGIN4}:{conf.SERVICE_PORT}")
    assert result.status == 1
    assert "Nothing listens on port 22: start the service." in result.text and ORIGIN4 not in result.text
    # A service there is advised.
    result = check(origin, directory)
    assert f'A service listens on {ORIGIN4}:22: set target_v4 = "{ORIGIN4}:22"' in result.text
    own.close()


def test_the_service_sees_the_test_client_and_no_byte(origin, directory):
    target = Target(origin, "127.0.0.1", conf.SERVICE_PORT)
    check(origin, directory)
    sources = []
    while target.has_waiting():
        connection = Conn(*target.sock.accept())
        sources.append(connection.peer_address)
        assert connection.end()[0] == b""
        connection.close()
    target.close()
    assert sorted(sources) == ["127.0.0.1", "192.0.2.1"]
    assert not origin.ss("-tn", "state", "established")


@pytest.mark.usefixtures("service")
def test_targets_shared_by_listeners_count_once(origin, directory):
    listeners = [conf.listener(name=f"l{i}", listen=f"0.0.0.0:{1000 + i}", return_path="fwmark",
                               target_v6=None) for i in range(3)]
    result = routing.run(origin, "check", conf.write(directory, listeners), directory)
    assert (result.status, result.lines) == (0, [LOCAL, PLAIN, SPOOFED])


def test_a_service_that_is_down_is_said(origin, directory):
    result = check(origin, directory)
    assert result.status == 1 and result.lines[0] == LOCAL
    down = "[!] FAILED: Target server 127.0.0.1:22 seems to be down: connection refused."
    assert [line.startswith(down) for line in result.lines[1:]] == [True]


def test_a_target_elsewhere_is_said(origin, directory):
    result = check(origin, directory, target_v4=f"{LB4}:22")
    assert result.status == 1
    assert result.lines[0].startswith(f"[!] FAILED: Target {LB4} isn't on a local machine")


@pytest.mark.usefixtures("service")
def test_a_missing_capability_is_named(origin, directory):
    result = check(origin, directory, prefix=("setpriv", "--bounding-set", "-all",
                                              "--inh-caps", "-all", "--reuid", "65534",
                                              "--regid", "65534", "--clear-groups"))
    assert result.status == 1 and result.lines[:2] == [LOCAL, PLAIN]
    assert "CAP_NET_RAW is missing" in result.lines[2]


@pytest.mark.usefixtures("service")
def test_a_firewall_is_suspected_when_everything_of_ours_is_there(origin, directory):
    origin.run("nft", "-f", "-", input="""
        table inet wall {
            chain i {
                type filter hook input priority filter
                @nh,96,8 192 drop
            }
        }""")
    result = check(origin, directory)
    assert result.status == 1 and result.lines[:2] == [LOCAL, PLAIN]
    assert any("nft list ruleset" in line for line in result.lines[3:]), result.text


@pytest.mark.usefixtures("service")
def test_the_way_that_replies_take_is_reported(origin, directory):
    origin.ip("rule del fwmark 123 lookup 100")
    result = check(origin, directory)
    assert any("its reply leaves by eth0 (table 254)" in line for line in result.lines)
    origin.ip("route del default")
    result = check(origin, directory)
    assert any("its reply has no route (Network is unreachable)" in line
               for line in result.lines)


FORWARDER = """
import ctypes, socket, sys
ctypes.CDLL(None).prctl(15, b"{name}", 0, 0, 0)
listener = socket.socket({family})
listener.bind(({address!r}, 22))
listener.listen()
print("ready", flush=True)
while True:
    listener.accept()[0].close()
"""


@pytest.mark.parametrize("published", return_path_faults.PUBLISHED)
def test_a_forwarder_of_ports_is_named_with_the_cure(published, origin, directory):
    name, address, target, options, cure = return_path_faults.PUBLISHED[published]
    family = "socket.AF_INET6" if ":" in address else "socket.AF_INET"
    proxy = subprocess.Popen(origin.argv(sys.executable, "-c", FORWARDER.format(
        name=name, family=family, address=address), *options), stdout=subprocess.PIPE)
    try:
        assert proxy.stdout.readline() == b"ready\n"
        keys = {"target_v4": None, "target_v6": None}
        keys[target] = "127.0.0.1:22" if target == "target_v4" else "[::1]:22"
        result = check(origin, directory, **keys)
    finally:
        proxy.kill()
        proxy.wait()
        proxy.stdout.close()
    assert result.status == 1
    assert f"Target server {keys[target]} is {name}" in result.lines[3], result.text
    assert cure in result.lines[3]


def test_a_rule_that_publishes_a_port_is_named_with_the_container_s_address(origin, directory):
    """As docker has it without docker-proxy."""
    origin.run("nft", "-f", "-", input="""
        table ip nat { chain DOCKER { tcp dport 8080 dnat to 172.17.0.2:80; }
            chain OUTPUT { type nat hook output priority -100;
                ip daddr != 127.0.0.0/8 fib daddr type local jump DOCKER; }; }""")
    result = check(origin, directory, target_v4="10.99.0.2:8080")
    assert result.status == 1
    assert re.search(r"Target server 10\.99\.0\.2:8080 is a published port of 172\.17\.0\.2:80: ip "
                     r"nat, chain DOCKER: .*target_v4 = \"172\.17\.0\.2:80\" in listener ssh\.",
                     result.text), result.text


def test_500_silent_targets_are_tried_at_once(origin, directory):
    """One after the other they would take ten minutes, far more than the tool is given."""
    origin.run("nft", "-f", "-", input="""
        table inet wall {
            chain i {
                type filter hook input priority filter
                tcp dport 10000-10999 drop
            }
        }""")
    listeners = [conf.listener(name=f"l{i}", listen=f"0.0.0.0:{20000 + i}", return_path="fwmark",
                               target_v4=f"127.0.0.1:{10000 + i}", target_v6=f"[::1]:{10500 + i}")
                 for i in range(500)]
    path = conf.write(directory, listeners)
    result = routing.run(origin, "check", path, directory,
                         prefix=("prlimit", "--nofile=4096:4096"))
    assert result.status == 1
    assert sum("no answer within 300 ms" in line for line in result.lines) == 1000
    # With few descriptors they take turns, and still all get their answer.
    result = routing.run(origin, "check", path, directory, prefix=("prlimit", "--nofile=512:512"))
    assert sum("no answer within 300 ms" in line for line in result.lines) == 1000


# How often the lists that grow with every listener are asked for: all rules of ip and of nftables.
COUNT_LISTINGS = r"""
#define _GNU_SOURCE
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static unsigned listings;

static void count(const struct nlmsghdr *request)
{
    if (request->nlmsg_type == RTM_GETRULE || request->nlmsg_type >> 8 == NFNL_SUBSYS_NFTABLES)
        listings++;
}

ssize_t sendto(int fd, const void *bytes, size_t len, int flags, __CONST_SOCKADDR_ARG to,
               socklen_t to_len)
{
    count(bytes);
    return syscall(SYS_sendto, fd, bytes, len, flags, to.__sockaddr__, to_len);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    count(message->msg_iov[0].iov_base);
    return syscall(SYS_sendmsg, fd, message, flags);
}

__attribute__((destructor)) static void tell(void)
{
    FILE *file = fopen(getenv("LISTINGS"), "w");

    fprintf(file, "%u", listings);
    fclose(file);
}
"""


def _verify(origin, directory, listeners):
    """Sets a return path up and verifies it; returns the report and the number of listings."""
    path = conf.write(directory, listeners, routing="managed")
    counter = preload.environment(directory, "count_listings", COUNT_LISTINGS)
    managed = routing.Managed(origin, path, directory)
    try:
        result = routing.run(origin, "verify", path, directory,
                             env=counter | {"LISTINGS": str(directory / "listings")})
    finally:
        managed.stop()
    until(lambda: not routing.own(origin), "everything to be gone")
    return result, int((directory / "listings").read_text())


@pytest.mark.release
def test_500_listeners_are_verified_at_once(origin, directory):
    """With one look at all rules: one for each listener would be a million rules."""
    listeners = [conf.listener(name=f"l{i}", listen=f"0.0.0.0:{20000 + i}", return_path="connmark",
                               mark=1000 + i, table=1000 + i) for i in range(500)]
    one, listings_for_one = _verify(origin, directory, listeners[:1])
    assert one.status == 0 and len(one.items) == 8 + 1
    all_of_them, listings = _verify(origin, directory, listeners)
    assert all_of_them.status == 0 and len(all_of_them.items) == 500 * 8 + 1
    assert listings == listings_for_one > 0
