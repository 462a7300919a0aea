# SPDX-License-Identifier: BSD-2-Clause
"""sshd, Postfix and Dovecot on one host, behind one mmproxy and a real HAProxy."""

import contextlib
import re
import select
import signal
import smtplib

import pytest

from lib import lines, mail
from lib.fail2ban import Fail2ban
from lib.ssh_and_mail import CLIENTS, LISTENERS, World
from lib.topology import FRONT4, LB4, LB6
from lib.wait import until

pytestmark = pytest.mark.real

THREE = ("ssh", "smtp", "imap")


def routing(world):
    """Rules and routes of the origin, and the sysctls that mmproxy may set."""
    origin = world.net.origin
    return "".join([
        origin.run("ip", "rule"), origin.run("ip", "-6", "rule"),
        origin.run("ip", "route", "show", "table", "all"),
        origin.run("ip", "-6", "route", "show", "table", "all"),
        origin.run("sysctl", "net.ipv4.tcp_fwmark_accept", "net.ipv4.fwmark_reflect",
                   "net.ipv6.fwmark_reflect")])


@pytest.fixture
def world(directory):
    made = World(directory)
    yield made
    made.close()


@pytest.fixture
def gateway(world, launch, directory):
    # What managed routing remembers must not be the host's.
    started = launch(world.net.origin, "-c", world.configure(*THREE),
                     env={"RUNTIME_DIRECTORY": str(directory / "run")})
    for name in THREE:
        started.wait_line(rf"\[\+\] Listening on \[::\]:[0-9]+ \({name}\)")
    # Three listeners have two targets each, and each target three checks.
    started.wait_line(lines.REACHED, count=6)
    return started


@pytest.fixture
def sessions():
    """Closed after the test, in reverse order."""
    with contextlib.ExitStack() as stack:
        def keep(session):
            stack.callback(session.close)
            return session
        yield keep


def wait_log(world, name, pattern):
    """A service may write its log behind the client's back."""
    until(lambda: re.search(pattern, world.log(name)), lambda: world.log(name))


def in_brackets(address):
    return rf"unknown\[{re.escape(address)}\]"


def without_checks(log):
    """
    Without sshd's lines about the check of its target, which comes once after the start, straight
    from loopback, and is reset before a byte: whether sshd sees it is a matter of luck.
    """
    for address in ("127.0.0.1", "::1"):
        checks = re.findall(rf"^Connection (?:reset|closed) by {address} port ([0-9]+)", log, re.M)
        assert len(checks) <= 1, log
        for port in checks:
            log = re.sub(rf"^.* {address} port {port}\b.*\n", "", log, flags=re.M)
    return log


@pytest.mark.parametrize("link", (4, 6))
def test_every_log_names_the_client(world, gateway, link):
    """A login, a mail delivered and fetched, for each client; HAProxy is in no log."""
    for client in (*CLIENTS[4], *CLIENTS[6]):
        done = world.ssh(client, link, command="echo $SSH_CLIENT")
        assert done.returncode == 0, (done, world.log("sshd.log"), gateway.text())
        assert done.stdout.split()[0] == client
        subject = f"from {client} over {link}"
        with world.smtp(client, link) as smtp:
            smtp.deliver(subject)
        imap = world.imap(client, link)
        message = until(lambda: imap.fetch_by_subject(subject), lambda: world.log("mail.log"))
        received = f"IPv6:{client}" if ":" in client else client
        assert f"(unknown [{received}])" in message
        imap.logout()
        wait_log(world, "sshd.log", rf"Accepted publickey for root from {client} port [0-9]+ ")
        wait_log(world, "mail.log", rf"connect from {in_brackets(client)}")
        wait_log(world, "dovecot.log", rf"Login: user=<alice>.*\brip={client},")
    for name in ("sshd.log", "mail.log", "dovecot.log"):
        for stranger in (LB4, LB6, "127.0.0.1", "::1", FRONT4):
            pattern = rf"(from|rip=)\W*(unknown\[)?{re.escape(stranger)}\b(?!:)"
            assert not re.search(pattern, without_checks(world.log(name))), world.log(name)
    assert not gateway.find(lines.told("?", "", name=None)), gateway.text()


def test_permit_mynetworks_does_not_take_a_client_for_a_local_user(world, gateway, sessions):
    """Who connects straight from loopback or from HAProxy's address may relay: no client may."""
    relay = ["someone@elsewhere.example"]
    with mail.Smtp(world.net.origin, "127.0.0.1", 25) as local:
        local.sendmail("sender@example.net", relay, "Subject: may\r\n\r\n")
    for client in (CLIENTS[4][0], CLIENTS[6][0]):
        for link in (4, 6):
            smtp = sessions(world.smtp(client, link))
            with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
                smtp.sendmail("sender@example.net", relay, "Subject: may not\r\n\r\n")
            assert b"Relay access denied" in refused.value.recipients[relay[0]][1]
        wait_log(world, "mail.log", rf"RCPT from {in_brackets(client)}: .* Relay access denied")
    assert gateway.is_running()


@pytest.mark.parametrize("family", (4, 6))
def test_fail2ban_bans_one_client_behind_the_load_balancer(world, gateway, start, sessions,
                                                           family):
    guest, neighbour = CLIENTS[family]
    fail2ban = start(Fail2ban(world.net.origin, world.directory))
    held = sessions(world.open_ssh(guest))
    held_by_neighbour = sessions(world.open_ssh(neighbour))
    for _ in range(2):
        assert world.ssh(guest, user="intruder").returncode != 0
    until(lambda: guest in fail2ban.banned(), lambda: world.log("fail2ban.log"))
    assert fail2ban.banned() == {guest}
    until(lambda: guest in world.net.origin.run("nft", "list", "ruleset"), "the ban in nftables")

    # The one is cut off, over either link; what it holds open is silent.
    for link in (4, 6):
        assert world.ssh(guest, link).returncode == 255
    gateway.wait_line(r"\[-\] ssh: .* failed: (Connection refused|Connection timed out), .*")
    held.send("anybody?")
    # The other goes on, through the same gateway.
    held_by_neighbour.trip("still here")
    assert not select.select([held.output], [], [], 0)[0]
    assert world.ssh(neighbour).returncode == 0

    fail2ban.unban(guest)
    until(lambda: world.ssh(guest).returncode == 0, lambda: world.log("fail2ban.log"))


def test_configuration_edited_while_sessions_are_open(world, gateway, sessions):
    """A service is added, one removed, subnets are narrowed; SIGHUP; all of it holds."""
    client, other = CLIENTS[4]
    ssh = sessions(world.open_ssh(client))
    ssh_v6 = sessions(world.open_ssh(CLIENTS[6][0], link=6))
    smtp = world.smtp(client, link=6)
    imap = world.imap(other, link=6)  # over the link that will not be allowed any more

    world.configure("ssh", "imap", "submission", subnets={"imap": f"{LB4}  # not {LB6}\n"})
    gateway.signal(signal.SIGHUP)
    gateway.wait_line(r"\[\+\] reloaded: generation 2 serves, generation 1 drains")

    # Open sessions go on, those of the removed service and of the narrowed one too.
    ssh.trip("after the reload")
    ssh_v6.trip("after the reload")
    assert smtp.noop()[0] == 250
    smtp.deliver("sent after the reload")
    assert imap.noop()[0] == "OK"
    until(lambda: imap.fetch_by_subject("sent after the reload"), lambda: world.log("mail.log"))

    # Added: submission works at once, and sees the client.
    with world.smtp(CLIENTS[6][1], link=4, service="submission") as added:
        added.deliver("by the added service")
    wait_log(world, "mail.log", rf"submission/smtpd.* connect from {in_brackets(CLIENTS[6][1])}")
    # Removed: nothing listens there.
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        world.smtp(client)
    # Narrowed: the IPv6 link is refused, the IPv4 link goes on.
    with pytest.raises((mail.Imap.abort, ConnectionError)):
        world.imap(client, link=6)
    gateway.wait_line(rf"\[\?\] imap: \[{LB6}\]:[0-9]+ is not allowed to connect")
    world.imap(client, link=4).logout()
    assert world.ssh(other).returncode == 0

    # The return path of what was removed stays for its session, and not a moment longer.
    mark, table = (LISTENERS["smtp"][key] for key in ("mark", "table"))
    rule = f"fwmark {hex(mark)} lookup {table}"
    assert rule in routing(world)
    smtp.quit()
    imap.logout()
    for each in (ssh, ssh_v6):
        each.finish()
    gateway.wait_line(r"\[ \] generation 1 has drained")
    until(lambda: rule not in routing(world), lambda: routing(world))
    assert f"lookup {LISTENERS['submission']['table']}" in routing(world)


def test_nothing_is_left_in_the_kernel(world, launch, directory):
    before = routing(world)
    gateway = launch(world.net.origin, "-c", world.configure(*THREE),
                     env={"RUNTIME_DIRECTORY": str(directory / "run")})
    gateway.wait_line(lines.REACHED, count=6)
    assert world.ssh(CLIENTS[4][0]).returncode == 0
    assert routing(world) != before
    gateway.stop()
    assert routing(world) == before

