# SPDX-License-Identifier: BSD-2-Clause
"""Real fail2ban, with Debian's filters and actions, that bans with nftables."""

import contextlib
import os
import pathlib
import signal
import subprocess

from lib.wait import DEADLINE, until

DEBIAN = pathlib.Path("/etc/fail2ban")


# sshd -E writes its lines without what syslogd puts in front of them in auth.log.
SYSLOG = r"""
tail -n 0 -F "$1" 2>/dev/null | while IFS= read -r line; do
    printf '%s origin sshd[1]: %s\n' "$(date '+%b %e %T')" "$line"
done >>"$2"
"""


class Fail2ban:
    """Watches what sshd logs; two failed logins are one too many."""

    def __init__(self, namespace, directory):
        self._namespace = namespace
        self._socket = directory / "fail2ban.sock"
        home = directory / "fail2ban"
        home.mkdir()
        for name in ("filter.d", "action.d", "fail2ban.conf"):
            (home / name).symlink_to(DEBIAN / name)
        (home / "jail.conf").write_text(f"""
[sshd]
enabled = true
filter = sshd
port = ssh
protocol = tcp
backend = polling
logpath = {directory}/auth.log
usedns = no
maxretry = 2
findtime = 10m
bantime = 1h
ignoreself = false
action = nftables[name=sshd, port="ssh", protocol=tcp]
""")
        (home / "fail2ban.local").write_text(f"""
[DEFAULT]
dbfile = None
logtarget = {directory}/fail2ban.log
""")
        (directory / "auth.log").touch()
        self._syslog = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "sh", "-c", SYSLOG, "sh",
             directory / "sshd.log", directory / "auth.log"], start_new_session=True)
        self._process = subprocess.Popen(
            namespace.argv("fail2ban-server", "-f", "-c", home, "-s", self._socket,
                           "-p", directory / "fail2ban.pid"),
            stdin=subprocess.DEVNULL, stdout=open(directory / "fail2ban.out", "wb"),
            stderr=subprocess.STDOUT)
        try:
            until(lambda: "sshd" in self._ask("status"),
                  lambda: (directory / "fail2ban.out").read_text())
        except BaseException:  # interrupted, too
            self.stop()
            raise

    def _ask(self, *command):
        """What the server answers; it may not be up yet."""
        done = subprocess.run(
            self._namespace.argv("fail2ban-client", "-s", self._socket, *command),
            capture_output=True, text=True, check=False, timeout=DEADLINE)
        return done.stdout

    def banned(self):
        status = self._ask("status", "sshd")
        return set(status.rpartition("Banned IP list:")[2].split())

    def unban(self, address):
        self._ask("set", "sshd", "unbanip", address)

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._syslog.pid, signal.SIGKILL)
        self._syslog.wait()
        self._process.terminate()
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
