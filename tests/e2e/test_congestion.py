# SPDX-License-Identifier: BSD-2-Clause
"""Where TCP paces by default, the way to a target on this host is not paced, and nothing else changes."""

import socket

import pytest

from lib import conf, header, preload, proc, routing
from lib.box import BOX_OF, Box
from lib.conn import connect
from lib.topology import CLIENT4, ORIGIN4

# The kernel may have no algorithm that paces: the daemon is told that it has one.
PACES = r"""
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    if (level != IPPROTO_TCP || name != TCP_CONGESTION)
        return (int)syscall(SYS_getsockopt, fd, level, name, value, len);
    memcpy(value, "bbr", 4);
    *len = 4;
    return 0;
}
"""
DEFAULT = "/proc/sys/net/ipv4/tcp_congestion_control"


@pytest.fixture
def paced(directory):
    """The environment of a daemon whose default paces."""
    return preload.environment(directory, "paces", PACES)


def _default(namespace):
    def inside():
        with open(DEFAULT, encoding="ascii") as file:
            return file.read().strip()
    return namespace.call(inside)


def _algorithms(gateway):
    """(the accepted socket's, the target's)"""
    found = {}
    for sock in proc.sockets(gateway.workers()[0]):
        with sock:
            if sock.family == socket.AF_INET and sock.getsockname()[1] in (2222, 51234):
                name = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
                found[sock.getsockname()] = name.rstrip(b"\0").decode()
    return found[ORIGIN4, 2222], found[CLIENT4, 51234]


def test_target_on_this_host_is_reached_without_pacing(net, serve, target, session, paced):
    gateway = serve(options={"env": paced})
    peer, conn = session(target(), header.v1(CLIENT4, 51234))
    peer.trip(conn)
    assert _algorithms(gateway) == (_default(net.origin), "reno")


def test_default_that_does_not_pace_is_kept(net, serve, target, session):
    net.origin.sysctl("net.ipv4.tcp_congestion_control", "reno")
    gateway = serve()
    peer, conn = session(target(), header.v1(CLIENT4, 51234))
    peer.trip(conn)
    assert _algorithms(gateway) == ("reno", "reno")
    config = conf.write(gateway.directory, [conf.listener()])
    assert "congctl" not in routing.run(net.origin, "rules", config, gateway.directory).text


@pytest.mark.parametrize("is_bridged", [True, False], ids=["bridge", "veth"])
def test_container_on_a_bridge_is_reached_without_pacing(is_bridged, net, launch, directory, paced):
    """A network device of its own may lead anywhere."""
    box = Box(net.origin, is_bridged)
    try:
        targets = conf.listener(target_v4=f"{BOX_OF[4]}:25", return_path="routed")
        config = conf.write(directory, [targets], workers=1, routing="managed")
        gateway = launch(net.origin, "-c", config,
                         env=paced | {"RUNTIME_DIRECTORY": str(directory / "run")})
        gateway.wait_listening(*conf.LISTEN)
        peer = connect(net.lb, ORIGIN4, conf.PORT)
        peer.send(header.v1(CLIENT4, 51234) + b"hello")
        assert peer.recv(5) == b"hello"
        default = _default(net.origin)
        assert _algorithms(gateway) == (default, "reno" if is_bridged else default)
    finally:
        box.close()
