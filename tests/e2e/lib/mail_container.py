# SPDX-License-Identifier: BSD-2-Clause
"""
An image with Postfix and Dovecot of this machine, for the examples of docs/containers.md: it stands for
any mail server's. What is configured is the mail server of that document.
"""

import pathlib

from lib import guide, mail, services
from lib.image import Tree

BLOCKS = guide.section("containers.md", "Mail, a complete example")
MAIN_CF, DOVECOT_CONF = BLOCKS["postfix"][0], BLOCKS["dovecot"][0]
USERS = f"{mail.USER}:{{PLAIN}}{mail.PASSWORD}\n"
SUBMISSION = "submission inet n - y - - smtpd\n"

START = """#!/bin/sh
chown mail: /var/mail
chown postfix: /var/lib/postfix /var/spool/postfix/private
dovecot -F &
exec postfix start-fg
"""


def build(directory):
    """The archive of the image; its command starts both servers."""
    tree = Tree(directory / "mail-image")
    tree.add("/usr/sbin/postfix", "/usr/sbin/postconf", "/usr/sbin/postlog", "/usr/sbin/postsuper",
             "/usr/sbin/postmulti", "/usr/sbin/postalias", "/usr/sbin/postqueue", "/usr/sbin/postdrop", "/usr/lib/postfix",
             "/usr/sbin/dovecot", "/usr/bin/doveconf", "/usr/lib/dovecot", "/usr/share/dovecot",
             "/etc/postfix", "/etc/services", "/etc/nsswitch.conf", "/etc/ssl/openssl.cnf",
             "/usr/lib/ssl/openssl.cnf")
    # What Postfix's own scripts use.
    tree.add(*(f"/usr/bin/{name}" for name in (
        "basename", "chgrp", "chmod", "chown", "cmp", "cp", "dirname", "expr", "egrep",
        "env", "find", "grep", "id", "ln", "mv", "sed", "sort", "touch", "tr", "uniq")))
    tree.write("etc/postfix/master.cf",
               pathlib.Path("/usr/share/postfix/master.cf.dist").read_text(encoding="utf-8") + SUBMISSION)
    tree.write("etc/postfix/main.cf", MAIN_CF)
    tree.write("etc/dovecot/dovecot.conf", DOVECOT_CONF)
    tree.write("etc/dovecot/users", USERS)
    tree.write("etc/dovecot/mail.pem", services.certificate(directory).read_text(encoding="ascii"), 0o600)
    for name in ("var/mail", "var/spool/postfix/private", "var/lib/postfix", "var/lib/dovecot"):
        (tree.path / name).mkdir(parents=True)
    tree.write("usr/bin/start", START, 0o755)
    return tree.pack(directory / "mail-image.tar")
