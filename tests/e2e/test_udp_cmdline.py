# SPDX-License-Identifier: BSD-2-Clause
"""UDP without a file, and what is said of udp_header = "first"."""

from lib import conf, daemon, udp
from lib.topology import CLIENT_OF, LB4


def test_udp_without_a_file(net, launch, directory, service, balancer):
    subnets = directory / "lb.subnets"
    subnets.write_text(LB4 + "\n")
    gateway = launch(net.origin, "-a", subnets, "-l", f"0.0.0.0:{udp.PORT}", "-4",
                     f"127.0.0.1:{udp.SERVICE_PORT}", "--protocol", "udp", "-v")
    gateway.wait_listening(f"0.0.0.0:{udp.PORT}", name="")
    target, sender = service(), balancer()
    sender.send(udp.v2(CLIENT_OF[4], 40000) + b"query")
    assert target.recv() == (b"query", (CLIENT_OF[4], 40000))
    target.send(b"answer", (CLIENT_OF[4], 40000))
    assert sender.recv() == b"answer"
    gateway.wait_line(r"\[\+\] .* connected, proxy protocol source .*:40000, local destination .*")


def test_the_price_of_first_is_reported_at_the_start_and_by_a_test(net, launch, directory):
    path = conf.write(directory, [udp.listener("first")])
    price = "a client can claim any address"
    assert price in daemon.run(["-n", "-c", path], directory, net.origin).stderr
    launch(net.origin, "-c", path).wait_line(f".*{price}.*")
    for mode in ("every", "spp"):
        conf.write(directory, [udp.listener(mode)])
        assert price not in daemon.run(["-n", "-c", path], directory, net.origin).stderr
