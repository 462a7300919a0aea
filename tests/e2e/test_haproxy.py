# SPDX-License-Identifier: BSD-2-Clause
"""HAProxy as the load balancer; sshd, nginx and plain sockets as services."""

import json
import re
import socket
import ssl

import pytest

from lib import lines, services
from lib.conn import FIN, Conn, connect, endpoint
from lib.ctl import Ctl
from lib.target import Target
from lib.topology import (CLIENT_OF, FRONT4, FRONT6, FRONT_OF, LB4, LB6, LOOPBACK_OF, ORIGIN4,
                          ORIGIN6)
from lib.wait import until

pytestmark = pytest.mark.real

OPTIONS = {
    "v1": "send-proxy",
    "v2": "send-proxy-v2",
    "v2 crc32c": "send-proxy-v2 proxy-v2-options crc32c",
    "v2 unique-id": "send-proxy-v2 proxy-v2-options unique-id",
    "v2 ssl": "send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key",
    "v2 authority": "send-proxy-v2 proxy-v2-options authority",
    "v2 all": "send-proxy-v2 proxy-v2-options ssl,cert-cn,authority,crc32c,unique-id",
}
TLS = ("v2 ssl", "v2 authority", "v2 all")
PORT_OF = {(name, link): 1000 + 10 * number + link
           for number, name in enumerate(OPTIONS) for link in (4, 6)}


def _frontend(name, link, port, options, tls, service_port=2222):
    crt = f" ssl crt {tls}" if tls else ""
    back = {4: ORIGIN4, 6: f"[{ORIGIN6}]"}[link]
    return f"""
listen {name.replace(' ', '_')}_{link}
    unique-id-format %{{+X}}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid
    bind {FRONT4}:{port}{crt}
    bind [{FRONT6}]:{port}{crt}
    server origin {back}:{service_port} {options}
"""


@pytest.fixture
def balancer(real_net, directory, start):
    """A HAProxy with a port for every kind of header and every link."""
    pem = services.certificate(directory)
    sections = "".join(_frontend(name, link, port, OPTIONS[name], name in TLS and pem)
                       for (name, link), port in PORT_OF.items())
    return start(services.haproxy(real_net.lb, directory, sections, list(PORT_OF.values())))


def _connect(real_net, client, name, link):
    """Returns a connection of the client to HAProxy; its .local is what the target must see."""
    conn = connect(real_net.client, FRONT_OF[client], PORT_OF[name, link])
    if name in TLS:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        tls = context.wrap_socket(conn.sock, server_hostname="service.example.org")
        return Conn(tls, (conn.peer_address, conn.peer_port))
    return conn


@pytest.mark.usefixtures("balancer")
def test_haproxy_with_every_kind_of_header(real_net, gateway):
    for client in (4, 6):
        target = Target(real_net.origin, LOOPBACK_OF[client], 22)
        for name, link in PORT_OF:
            conn = _connect(real_net, client, name, link)
            # HAProxy connects to the origin only when the TLS handshake is complete.
            service = target.accept()
            assert service.peer == conn.local, (name, link)
            assert service.peer_address == CLIENT_OF[client]
            conn.send(b"hello")
            assert service.recv(5) == b"hello"
            service.send(b"x" * 200_000)
            assert conn.recv(200_000) == b"x" * 200_000
            service.close()
            conn.expect_end(FIN)
            conn.close()
            gateway.wait_line(lines.told("+", re.escape(
                f"connected, proxy protocol source {conn.local}, local destination "
                f"{endpoint(LOOPBACK_OF[client], 22)}")))
        target.close()
    assert not gateway.find(lines.told("?", "")), gateway.text()


def _server_state(directory):
    """HAProxy's check_status of each server, by backend."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(directory / "haproxy.sock"))
        control.sendall(b"show stat json\n")
        answer = b""
        while piece := control.recv(65536):
            answer += piece
    state = {}
    for row in json.loads(answer):
        fields = {f["field"]["name"]: f["value"]["value"] for f in row}
        if fields.get("svname") == "origin":
            state[fields["pxname"]] = (fields.get("status"), fields.get("check_status"))
    return state


def _checked(name, options, lines_=""):
    return "".join(f"""
listen {name}_{link}
    bind {FRONT_OF[4]}:{port}
    timeout check 20s
{lines_}
    server origin {address}:2222 {options} check inter 50ms fastinter 50ms downinter 50ms
""" for link, address, port in ((4, ORIGIN4, 3004), (6, f"[{ORIGIN6}]", 3006)))


@pytest.mark.parametrize("options", ("send-proxy-v2 check-send-proxy", "send-proxy"))
def test_health_checks_of_haproxy_reach_the_target_as_itself(real_net, gateway, directory, start,
                                                            options):
    """LOCAL (v2) or UNKNOWN (v1), over both links; the check waits for the target's banner."""
    targets = [Target(real_net.origin, LOOPBACK_OF[version], 22) for version in (4, 6)]
    start(services.haproxy(real_net.lb, directory, _checked(
        "check", options, "    option tcp-check\n    tcp-check expect string SSH-2.0"),
        [3004, 3006]))
    for target, source in zip(targets, (LB4, LB6)):
        for _ in range(3):
            conn = target.accept()
            assert conn.peer_address == source
            conn.send(b"SSH-2.0-here\r\n")
            conn.end()
            conn.close()
    # A target that stops answering is noticed through the gateway: refused becomes RST.
    for target in targets:
        target.close()
    until(lambda: all(status == "DOWN" for status, _ in _server_state(directory).values()),
          lambda: f"HAProxy to notice: {_server_state(directory)}")
    assert not gateway.find(lines.told("?", "")), gateway.text()


@pytest.mark.parametrize("options", ("send-proxy-v2", "send-proxy"))
def test_connect_only_health_checks_do_not_spoil_the_log(real_net, gateway, directory, start,
                                                         options):
    """HAProxy sends its header and resets; it finds the server up."""
    target = Target(real_net.origin, "127.0.0.1", 22)
    start(services.haproxy(real_net.lb, directory, _checked("check", options), [3004, 3006]))
    until(lambda: _server_state(directory).get("check_4") == ("UP", "L4OK"),
          lambda: str(_server_state(directory)))
    until(lambda: Ctl(directory).listener()["accepted"] >= 10, "checks")
    gateway.stop()
    assert not gateway.find(lines.told("?", "")), gateway.text()
    target.close()


@pytest.mark.usefixtures("balancer")
def test_sshd_sees_the_real_client(real_net, gateway, directory, start):
    start(services.sshd(real_net.origin, directory))
    log = directory / "sshd.log"
    for name in ("v1", "v2"):
        for client in (4, 6):
            done = services.ssh(real_net.client, directory, FRONT_OF[client],
                                PORT_OF[name, 4], "root", "echo $SSH_CLIENT")
            assert done.returncode == 0, (done, log.read_text())
            address, port, service_port = done.stdout.split()
            assert (address, service_port) == (CLIENT_OF[client], "22")
            assert f"Connection from {address} port {port} on " in log.read_text()
    for client in (4, 6):
        services.ssh(real_net.client, directory, FRONT_OF[client], PORT_OF["v2", 6], "intruder")
        until(lambda: re.search(rf"Invalid user intruder from {CLIENT_OF[client]} port [0-9]+",
                                log.read_text()), log.read_text)
    # mmproxy's own check of its targets, from loopback, logs in as nobody.
    logins = re.findall(r"(?:Accepted \S+ for|Invalid user) \S+ from (\S+)", log.read_text())
    assert set(logins) == set(CLIENT_OF.values())
    for address in (LB4, LB6):
        assert f" from {address} " not in log.read_text()
    assert gateway.is_running()


def test_nginx_sees_the_real_client(real_net, gateway, directory, start):
    ports = {("v1", 4): 1080, ("v1", 6): 1081, ("v2", 4): 1082, ("v2", 6): 1083}
    sections = "".join(_frontend(name, link, port, OPTIONS[name], None, 8080)
                       for (name, link), port in ports.items())
    start(services.web(real_net.origin, directory))
    start(services.haproxy(real_net.lb, directory, sections, list(ports.values())))
    for port in ports.values():
        for client in (4, 6):
            page = services.get(real_net.client, FRONT_OF[client], port, f"/{port}-{client}")
            assert page == f"you are {CLIENT_OF[client]}\n"
            log = directory / "access.log"
            until(lambda: re.search(rf"(?m)^{CLIENT_OF[client]} [0-9]+ /{port}-{client}$",
                                    log.read_text()), log.read_text)
    assert gateway.is_running()
