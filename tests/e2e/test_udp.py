# SPDX-License-Identifier: BSD-2-Clause
"""UDP listeners: whose address the service sees, and where replies go."""

import itertools

import pytest

from lib import udp
from lib.topology import CLIENT_OF
from lib.udp import MODES

@pytest.mark.parametrize("mode, client, link, workers", [
    pytest.param(*case, id="{}-client{}-link{}-workers{}".format(*case))
    for case in itertools.product(MODES, (4, 6), (4, 6), (1, 4))])
def test_the_service_sees_the_client_and_its_reply_comes_back(udp_listener, service, balancer, mode,
                                                              client, link, workers):
    udp_listener(mode, workers)
    target = service(client)
    sender = balancer(link)
    head = udp.header_of(mode, CLIENT_OF[client], 40000)
    for number in range(3):
        is_bare = mode == "first" and number > 0
        sender.send((b"" if is_bare else head) + b"query %d" % number)
        data, source = target.recv()
        assert (data, source) == (b"query %d" % number, (CLIENT_OF[client], 40000))
        target.send(b"answer %d" % number, source)
        assert sender.recv() == (head if mode == "spp" else b"") + b"answer %d" % number


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_datagram_is_one_too(udp_listener, service, balancer, mode):
    udp_listener(mode)
    target = service()
    sender = balancer()
    sender.send(udp.header_of(mode, CLIENT_OF[4], 40000))
    assert target.recv() == (b"", (CLIENT_OF[4], 40000))
    if mode == "first":
        sender.send(b"")
        assert target.recv() == (b"", (CLIENT_OF[4], 40000))
    target.send(b"", (CLIENT_OF[4], 40000))
    assert sender.recv() == (udp.header_of(mode, CLIENT_OF[4], 40000) if mode == "spp" else b"")
