# SPDX-License-Identifier: BSD-2-Clause
"""
Real Postfix and Dovecot, with files of their own, and clients for them.

Postfix takes mail for USER@DOMAIN and hands it to Dovecot over LMTP; Dovecot serves it over
IMAP. Each runs in mount and process namespaces of its own: all of it goes with the test.
"""

import imaplib
import shutil
import smtplib

from lib import proc
from lib.conn import connect
from lib.services import Service

DOMAIN = "example.org"
USER, PASSWORD = "alice", "correct horse"
UID = GID = 8  # Debian's user and group "mail"

POSTFIX_SERVICES = """
smtp inet n - n - - smtpd
submission inet n - n - - smtpd -o syslog_name=postfix/submission
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Confined(Service):
    """In mount and process namespaces of its own; mounts: {source: where it shows up}."""

    def __init__(self, namespace, mounts, argv, ports, output):
        script = "".join(f"mount --bind {source} {target} && "
                         for source, target in mounts.items())
        super().__init__(namespace, [
            "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
            "sh", "-c", script + 'exec "$@"', "sh", *argv], ports, output)

    def stop(self):
        # Its first process takes all others with it, and unshare ends when they are gone. Postfix
        # changes its user for a moment, which switches --kill-child off: unshare's end is not enough.
        for pid in proc.children(self._process.pid) or [self._process.pid]:
            proc.kill(pid)
        self._process.wait()


def write_postfix(namespace, directory, mynetworks, interfaces="loopback-only", protocols="all"):
    """Its files; returns the mounts that it is to run with. Its log is mail.log."""
    home = directory / "postfix"
    # Debian's files that are no configuration, but looked for there.
    shutil.copytree("/etc/postfix", home / "etc")
    for name in ("spool", "data"):
        (home / name).mkdir()
    (home / "data").chmod(0o700)
    namespace.run("chown", "postfix:postfix", home / "data")
    (home / "etc" / "main.cf").write_text(f"""
compatibility_level = 3.6
maillog_file = {directory}/mail.log
maillog_file_prefixes = {directory}
inet_interfaces = {interfaces}
inet_protocols = {protocols}
myhostname = mail.{DOMAIN}
mydestination = {DOMAIN}
mynetworks = {' '.join(mynetworks)}
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
local_recipient_maps =
alias_maps =
mailbox_transport = lmtp:unix:{directory}/lmtp
default_transport = discard:nothing leaves this host
biff = no
""")
    (home / "etc" / "master.cf").write_text(POSTFIX_SERVICES)
    return {home / "etc": "/etc/postfix", home / "spool": "/var/spool/postfix",
            home / "data": "/var/lib/postfix"}


def postfix(namespace, directory, mynetworks, protocols="all"):
    """On ports 25 and 587 of both loopback addresses, or of that of one protocol: "ipv4", "ipv6"."""
    mounts = write_postfix(namespace, directory, mynetworks, protocols=protocols)
    return Confined(namespace, mounts, ["postfix", "start-fg"], [25, 587],
                    directory / "postfix.out")


def dovecot(namespace, directory, addresses):
    """IMAP on port 143 of those addresses, LMTP on a socket; its log is dovecot.log."""
    home = directory / "dovecot"
    (home / "mail").mkdir(parents=True)
    namespace.run("chown", f"{UID}:{GID}", home / "mail")
    (home / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    path = home / "dovecot.conf"
    path.write_text(f"""
base_dir = {home}/run
state_dir = {home}/state
log_path = {directory}/dovecot.log
protocols = imap lmtp
listen = {', '.join(addresses)}
ssl = no
disable_plaintext_auth = no
auth_username_format = %Ln
first_valid_uid = {UID}
mail_location = maildir:{home}/mail/%n
passdb {{
  driver = passwd-file
  args = {home}/users
}}
userdb {{
  driver = static
  args = uid={UID} gid={GID} home={home}/mail/%n
}}
service lmtp {{
  unix_listener {directory}/lmtp {{
    mode = 0666
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = 143
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
""")
    (home / "state").mkdir()
    return Confined(namespace, {}, ["dovecot", "-F", "-c", path], [143],
                    directory / "dovecot.out")


class Smtp(smtplib.SMTP):
    """An SMTP session from inside of a namespace; conn.local is the client's end of it."""

    def __init__(self, namespace, address, port, source=None):
        self.conn = connect(namespace, address, port, source=source)
        super().__init__(address, port, local_hostname="client.example.net")

    def _get_socket(self, host, port, timeout):
        return self.conn.sock

    def deliver(self, subject):
        self.sendmail("sender@example.net", [f"{USER}@{DOMAIN}"],
                      f"From: sender@example.net\r\nSubject: {subject}\r\n\r\nHello.\r\n")


class Imap(imaplib.IMAP4):
    """An IMAP session from inside of a namespace, logged in; tls: a context for STARTTLS."""

    def __init__(self, namespace, address, port, source=None, tls=None):
        self.conn = connect(namespace, address, port, source=source)
        super().__init__(address, port)
        if tls:
            self.starttls(tls)
        self.login(USER, PASSWORD)

    def _create_socket(self, timeout):
        return self.conn.sock

    def fetch_by_subject(self, subject):
        """The whole message, None where it is not there yet."""
        self.select("INBOX")
        numbers = self.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
        return self.fetch(numbers[0], "(RFC822)")[1][0][1].decode() if numbers else None


class Imaps(Imap):
    """The same with TLS from its first byte."""

    def __init__(self, namespace, address, port, tls):
        self._tls = tls
        super().__init__(namespace, address, port)

    def _create_socket(self, timeout):
        return self._tls.wrap_socket(self.conn.sock)
