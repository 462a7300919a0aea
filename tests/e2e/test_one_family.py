# SPDX-License-Identifier: BSD-2-Clause
"""Real sshd, Postfix and Dovecot that have one family alone, and clients of both behind HAProxy."""

import re
import smtplib

import pytest

from lib import lines, mail, mapped
from lib.fail2ban import Fail2ban
from lib.ssh_and_mail import CLIENTS, World
from lib.topology import CLIENT4, LB4, LB6
from lib.wait import until

pytestmark = pytest.mark.real

THREE = ("ssh", "smtp", "imap")
OTHER_NETWORK = "2001:db8:1::7"


@pytest.fixture
def world(directory, family):
    made = World(directory, family)
    yield made
    made.close()


@pytest.fixture
def gateway(world, launch, directory):
    started = launch(world.net.origin, "-c", world.configure(*THREE),
                     env={"RUNTIME_DIRECTORY": str(directory / "run")})
    for name in THREE:
        started.wait_line(rf"\[\+\] Listening on \[::\]:[0-9]+ \({name}\)")
    started.wait_line(lines.REACHED, count=3)
    return started


def _seen(client, family):
    """The address by which a service of that family knows the client."""
    return client if (":" in client) == (family == 6) else mapped.of(client)


def _wait_log(world, name, pattern):
    until(lambda: re.search(pattern, world.log(name)), lambda: world.log(name))


@pytest.mark.parametrize("family", (4, 6))
def test_every_service_knows_a_client_of_the_other_family(world, gateway, family):
    for client in (CLIENTS[4][0], CLIENTS[6][0]):
        seen = _seen(client, family)
        for link in (4, 6):
            done = world.ssh(client, link, command="echo $SSH_CLIENT")
            assert done.returncode == 0, (done, world.log("sshd.log"), gateway.text())
            assert done.stdout.split()[0] == seen
            subject = f"from {client} over {link}"
            with world.smtp(client, link) as smtp:
                smtp.deliver(subject)
            imap = world.imap(client, link)
            message = until(lambda: imap.fetch_by_subject(subject), lambda: world.log("mail.log"))
            assert f"(unknown [{'IPv6:' if family == 6 else ''}{seen}])" in message
            imap.logout()
        _wait_log(world, "dovecot.log", rf"Login: user=<alice>.*\brip={seen},")
        both = f"[{client}]" if ":" in client else client
        as_mapped = f" as {seen}" if seen != client else ""
        for name in THREE:
            gateway.wait_line(rf"\[\+\] {name}: .* connected, proxy protocol source "
                              rf"{re.escape(both)}:[0-9]+{re.escape(as_mapped)}, local destination .*")


@pytest.mark.parametrize("family", (4, 6))
def test_permit_mynetworks_does_not_take_a_mapped_client_for_a_local_user(world, gateway, family):
    """mynetworks has loopback and HAProxy's addresses: an open relay for these alone."""
    relay = ["someone@elsewhere.example"]
    with mail.Smtp(world.net.origin, "127.0.0.1" if family == 4 else "::1", 25) as local:
        local.sendmail("sender@example.net", relay, "Subject: may\r\n\r\n")
    for client in (CLIENTS[4][0], CLIENTS[6][0]):
        seen = _seen(client, family)
        assert seen not in (LB4, LB6)
        with world.smtp(client) as smtp:
            with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
                smtp.sendmail("sender@example.net", relay, "Subject: may not\r\n\r\n")
        assert b"Relay access denied" in refused.value.recipients[relay[0]][1]
        _wait_log(world, "mail.log", rf"RCPT from unknown\[{re.escape(seen)}\]: .* Relay access denied")
    assert gateway.is_running()


@pytest.mark.parametrize("family", (4,))
def test_ban_of_a_mapped_address_is_a_ban_of_its_64(world, gateway, start, family):
    """A twin in the same /64 is banned too; another network and IPv4 clients are not."""
    world.net.client.ip(f"address add {OTHER_NETWORK}/64 dev eth0 nodad")
    world.net.lb.ip("-6 route add 2001:db8:1::/64 dev front0")
    guest, twin = CLIENTS[6]
    seen = _seen(guest, family)
    fail2ban = start(Fail2ban(world.net.origin, world.directory))
    for client in (guest, twin, OTHER_NETWORK, CLIENT4):
        assert world.ssh(client).returncode == 0, gateway.text()
    for _ in range(2):
        assert world.ssh(guest, user="intruder").returncode != 0
    until(lambda: fail2ban.banned() == {seen}, lambda: world.log("fail2ban.log"))
    until(lambda: seen in world.net.origin.run("nft", "list", "ruleset"), "the ban in nftables")
    for client in (guest, twin):
        assert world.ssh(client).returncode == 255
    gateway.wait_line(rf"\[-\] ssh: .* failed: (Connection refused|Connection timed out), "
                      rf"proxy protocol source \[{guest}\]:[0-9]+.*")
    for client in (OTHER_NETWORK, CLIENT4):
        assert world.ssh(client).returncode == 0, gateway.text()
    fail2ban.unban(seen)
    until(lambda: world.ssh(twin).returncode == 0, lambda: world.log("fail2ban.log"))
