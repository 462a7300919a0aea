# SPDX-License-Identifier: BSD-2-Clause
"""--check says of UDP targets whether there is a socket and whether replies come back."""

import pytest

from lib import conf, daemon, udp
from lib.topology import LOOPBACK_OF, ORIGIN_OF

SOCKET = "[+] OK. Target server {} has a UDP socket."
REPLIES = "[+] OK. Replies of {} come back to this machine."


def check(net, directory, **keys):
    done = daemon.run(["--check", "-c", conf.write(directory, [udp.listener(**keys)])], directory,
                      net.origin)
    return done.returncode, done.stderr.splitlines()


def test_a_service_that_is_there(net, directory, service):
    service(4), service(6, address="::")
    status, lines = check(net, directory)
    assert status == 0, lines
    for target in ("127.0.0.1:53", "[::1]:53"):
        assert SOCKET.format(target) in lines
        assert REPLIES.format(target) in lines


def test_nothing_is_sent_to_the_service(net, directory, service):
    target = service()
    assert check(net, directory, target_v6=None)[0] == 0
    assert target.is_silent()


@pytest.mark.parametrize("address", ("127.0.0.2", "10.99.0.2"))
def test_a_socket_on_another_address_or_for_tcp_is_none(net, directory, service, address):
    service(4, address=address)
    with net.origin.socket(2) as tcp:
        tcp.bind((LOOPBACK_OF[4], udp.SERVICE_PORT))
        tcp.listen()
        status, lines = check(net, directory, target_v6=None)
    assert status == 1
    assert any(line.startswith("[!] FAILED: Target server 127.0.0.1:53 has no UDP socket. Start")
               for line in lines)
    assert REPLIES.format("127.0.0.1:53") in lines


def test_without_a_return_path_replies_do_not_come_back(plain_net, directory):
    target = udp.Service(plain_net.origin, LOOPBACK_OF[4], udp.SERVICE_PORT)
    status, lines = check(plain_net, directory, target_v6=None)
    target.close()
    assert status == 1
    assert SOCKET.format("127.0.0.1:53") in lines
    assert "[!] FAILED: Replies of 127.0.0.1:53 do not come back to this machine." in lines


def test_replies_from_an_own_address_bear_no_mark(net, directory):
    net.origin.ip("rule add fwmark 123 lookup 100")
    target = udp.Service(net.origin, ORIGIN_OF[4], udp.SERVICE_PORT)
    status, lines = check(net, directory, target_v6=None, target_v4=f"{ORIGIN_OF[4]}:53",
                          return_path="fwmark")
    target.close()
    assert status == 1
    assert any(line.startswith("[!] FAILED: Replies of 10.99.0.2:53 do not come back")
               for line in lines)
