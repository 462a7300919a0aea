# SPDX-License-Identifier: BSD-2-Clause
"""dnsdist as the load balancer, in front of dnsmasq and unbound, over UDP and TCP."""

import itertools
import socket

import pytest

from lib import conf, dns
from lib.topology import CLIENT_OF, FRONT4, FRONT6, FRONT_OF, LOOPBACK_OF, ORIGIN4, ORIGIN6, ORIGIN_OF

pytestmark = pytest.mark.real

KINDS = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}
# Where the service is bound, and the listener's targets.
PLACES = {"loopback": LOOPBACK_OF, "own": ORIGIN_OF, "any-by-loopback": LOOPBACK_OF,
          "any-by-own": ORIGIN_OF}
PORT_OF = dict(zip(PLACES, (5301, 5302, 5303, 5303)))      # of the services
LISTEN_OF = dict(zip(PLACES, (5401, 5402, 5403, 5404)))
FRONT_PORT_OF = {case: 1000 + number
                 for number, case in enumerate(itertools.product(PLACES, (4, 6)))}


def _listener(place, protocol):
    targets, port, listen = PLACES[place], PORT_OF[place], LISTEN_OF[place]
    return conf.listener(name=f"{place}-{protocol}", protocol=protocol,
                         listen=[f"0.0.0.0:{listen}", f"[::]:{listen}"],
                         target_v4=f"{targets[4]}:{port}", target_v6=f"[{targets[6]}]:{port}")


@pytest.fixture
def resolvers(real_net, directory, start):
    """By place."""
    unbound = start(dns.Unbound(real_net.origin, directory, PORT_OF["any-by-own"]))
    return {"any-by-loopback": unbound, "any-by-own": unbound} | {
        place: start(dns.Dnsmasq(real_net.origin, directory, PLACES[place].values(),
                                 PORT_OF[place]))
        for place in ("loopback", "own")}


def test_each_service_is_asked_by_the_client_itself(real_net, launch, directory, start, resolvers):
    path = conf.write(directory, [_listener(*case) for case in itertools.product(PLACES, KINDS)],
                      workers=2, routing="managed", drain_timeout=0)
    gateway = launch(real_net.origin, "-c", path,
                     env={"RUNTIME_DIRECTORY": str(directory / "run")})
    gateway.wait_workers(2)
    gateway.wait_line(r"\[\+\] OK\. Replies of .* come back to this machine\.", 8)
    start(dns.dnsdist(real_net.lb, directory, (FRONT4, f"[{FRONT6}]"), {
        port: f"{ORIGIN4 if link == 4 else f'[{ORIGIN6}]'}:{LISTEN_OF[place]}"
        for (place, link), port in FRONT_PORT_OF.items()}))
    wrong = []
    for (place, link), client, kind in itertools.product(FRONT_PORT_OF, (4, 6), KINDS):
        name = f"{place}-link{link}-client{client}-{kind}.test"
        is_answered = dns.ask(real_net.client, KINDS[kind], FRONT_OF[client],
                              FRONT_PORT_OF[place, link], name)
        wanted = resolvers[place].line(name, CLIENT_OF[client])
        if not is_answered or wanted not in resolvers[place].log.read_text():
            wrong.append(name)
    assert not wrong, gateway.text()
