# SPDX-License-Identifier: BSD-2-Clause
"""nginx's stream module as the load balancer (it speaks version 1); sshd and nginx as services."""

import hashlib
import random
import re

import pytest

from lib import services
from lib.conn import FIN, connect
from lib.target import Target
from lib.topology import CLIENT_OF, FRONT4, FRONT6, FRONT_OF, LOOPBACK_OF, ORIGIN4, ORIGIN6
from lib.wait import until

pytestmark = pytest.mark.real

# The service's port and the link, by nginx's port.
FRONTS = {1022: (2222, 4), 1023: (2222, 6), 1080: (8080, 4), 1081: (8080, 6)}


@pytest.fixture
def balancer(real_net, directory, start):
    servers = "".join(f"""
    server {{
        listen {FRONT4}:{port};
        listen [{FRONT6}]:{port};
        proxy_pass {ORIGIN4 if link == 4 else f"[{ORIGIN6}]"}:{service};
        proxy_protocol on;
    }}""" for port, (service, link) in FRONTS.items())
    return start(services.nginx(real_net.lb, directory, "balancer", f"""
stream {{{servers}
}}
""", list(FRONTS), "load_module /usr/lib/nginx/modules/ngx_stream_module.so;"))


@pytest.mark.usefixtures("balancer", "gateway")
@pytest.mark.parametrize("client", (4, 6))
def test_nginx_stream_as_load_balancer(real_net, client):
    target = Target(real_net.origin, LOOPBACK_OF[client], 22)
    for port in (1022, 1023):
        conn = connect(real_net.client, FRONT_OF[client], port)
        service = target.accept()
        assert service.peer == conn.local
        assert service.peer_address == CLIENT_OF[client]
        service.send(b"220 ready\r\n")
        assert conn.recv(11) == b"220 ready\r\n"
        data = random.Random(port).randbytes(8 << 20)
        _exchange(conn, service, data)
        service.close()
        conn.expect_end(FIN)
        conn.close()
    target.close()


def _exchange(sender, receiver, data):
    """In pieces that the buffers on the way hold, so that one thread can do both ends."""
    digest = hashlib.sha256()
    for start in range(0, len(data), 65536):
        piece = data[start:start + 65536]
        sender.send(piece)
        digest.update(receiver.recv(len(piece)))
    assert digest.digest() == hashlib.sha256(data).digest()


@pytest.mark.usefixtures("balancer", "gateway")
def test_sshd_behind_nginx_stream_sees_the_real_client(real_net, directory, start):
    start(services.sshd(real_net.origin, directory))
    for client in (4, 6):
        for port in (1022, 1023):
            done = services.ssh(real_net.client, directory, FRONT_OF[client], port, "root",
                                "echo $SSH_CLIENT")
            assert done.returncode == 0, (done, (directory / "sshd.log").read_text())
            assert done.stdout.split()[0] == CLIENT_OF[client]


@pytest.mark.usefixtures("balancer", "gateway")
def test_nginx_behind_nginx_stream_sees_the_real_client(real_net, directory, start):
    start(services.web(real_net.origin, directory))
    for client in (4, 6):
        for port in (1080, 1081):
            page = services.get(real_net.client, FRONT_OF[client], port, f"/{port}-{client}")
            assert page == f"you are {CLIENT_OF[client]}\n"
            until(lambda: re.search(rf"(?m)^{CLIENT_OF[client]} [0-9]+ /{port}-{client}$",
                                    (directory / "access.log").read_text()), "the access log")
