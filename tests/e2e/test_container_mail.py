# SPDX-License-Identifier: BSD-2-Clause
"""
The mail server of docs/containers.md: its files and its commands as they are written there, with real
podman, HAProxy, Postfix, Dovecot and swaks. Only the image is not a reader's: see lib/mail_container.py.
"""

import contextlib
import re
import smtplib
import ssl

import pytest

from lib import container_world, engine, mail, mail_container, services
from lib.container_world import BALANCER
from lib.topology import CLIENT_OF, FRONT_OF
from lib.wait import until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("mail")]  # one process, one world

BOX, BRIDGE = "172.18.0.2", "172.18.0.1"
PORTS = {"smtp": 2525, "imap": 2143, "imaps": 2993}
BLOCKS = mail_container.BLOCKS
CREATE, CHECK, LOGS, OUTSIDE = BLOCKS["sh"]


class World(container_world.World):
    """The document's container, which trusts no network."""

    def prepare(self):
        self._write_files()
        self.config = self.write("etc/mmproxy.conf", BLOCKS["conf"][0])
        self.host(CREATE)
        self.wait_mail("mail")

    def _write_files(self):
        self.write("srv/mail/main.cf", mail_container.MAIN_CF)
        self.write("srv/mail/dovecot/dovecot.conf", mail_container.DOVECOT_CONF)
        self.write("srv/mail/dovecot/users", mail_container.USERS)
        self.write("srv/mail/dovecot/mail.pem", (self.directory / "front.pem").read_text())

    def log(self):
        return self.host(LOGS)

    def wait_log(self, pattern):
        return until(lambda: re.search(pattern, self.log()), self.log)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("mail")
    haproxy = directory / "haproxy.cfg"
    haproxy.write_text(BLOCKS["haproxy"][0])
    with contextlib.closing(World(directory, engine.Podman)) as made:
        made.prepare()
        with made.serving(made.config, PORTS, len(PORTS)) as made.gateway:
            balancer = services.Service(made.net.lb, ["haproxy", "-db", "-f", haproxy], [25, 143, 993],
                                        directory / "haproxy.log")
            yield made
            balancer.stop()


def client_of(world, service, version):
    """The client's address as the container knows it, by mmproxy's log."""
    found = world.gateway.wait_line(
        rf"\[\+\] {service}: {re.escape(BALANCER)}:[0-9]+ connected, proxy protocol source "
        rf"\[?{re.escape(CLIENT_OF[version])}\]?:[0-9]+(?: as (\S+))?, local destination .*")
    assert bool(found[1]) == (version == 6)
    return found[1] or CLIENT_OF[4]


def test_every_log_names_the_client(world):
    assert "FAILED" not in world.host(CHECK)
    for version in (4, 6):
        deliver_and_fetch(world, version)


def deliver_and_fetch(world, version):
    client, server = world.net.client, FRONT_OF[version]
    subject = f"over IPv{version}"
    with mail.Smtp(client, server, 25) as smtp:
        smtp.deliver(subject)
    known = client_of(world, "smtp", version)
    world.wait_log(rf"postfix/smtpd\[[0-9]+\]: connect from unknown\[{re.escape(known)}\]")
    untrusting = ssl.create_default_context()
    untrusting.check_hostname, untrusting.verify_mode = False, ssl.CERT_NONE
    for service, port, kind in (("imap", 143, mail.Imap), ("imaps", 993, mail.Imaps)):
        imap = kind(client, server, port, tls=untrusting)
        message = until(lambda imap=imap: imap.fetch_by_subject(subject), world.log)
        assert f"[{known}]" in message
        imap.logout()
        assert client_of(world, service, version) == known
        world.wait_log(rf"imap-login: Info: Login: user=<{mail.USER}>, .*rip={re.escape(known)}, "
                       rf"lip={BOX}, ")
    # Whoever has sent mail was seen under an address of its own.
    assert BRIDGE not in re.findall(r" client=unknown\[(\S+)\]", world.log())


def test_it_is_no_open_relay(world):
    """Both of the document's last commands, one for each family."""
    for line in OUTSIDE.splitlines():
        said = world.outside(line, status=24)  # swaks: no recipient was taken
        assert "<** 554 5.7.1 <b@example.net>: Relay access denied" in said, said
    for version in (4, 6):
        world.wait_log(rf"reject: RCPT from unknown\[{re.escape(client_of(world, 'smtp', version))}\]: 554")
    # Nor does a neighbour: the bridge's address, which a published port would show for every client.
    with mail.Smtp(world.net.origin, BOX, 25) as smtp, pytest.raises(smtplib.SMTPRecipientsRefused):
        smtp.sendmail("a@example.com", ["b@example.net"], "Hello.\r\n")
    world.wait_log(rf"reject: RCPT from unknown\[{re.escape(BRIDGE)}\]: 554")
