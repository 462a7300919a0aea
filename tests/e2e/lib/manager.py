# SPDX-License-Identifier: BSD-2-Clause
"""A service manager: the socket of sd_notify(3), and descriptors kept and handed over."""

import array
import os
import select
import socket
import struct

from lib.wait import DEADLINE


class Message:
    """One notification: its lines in order, who sent it, descriptors that came with it."""

    def __init__(self, text, pid, fds):
        self.text, self.pid, self.fds = text, pid, fds
        self.fields = dict(line.split("=", 1) for line in text.splitlines())


class Manager:
    def __init__(self, directory):
        self._path = directory / "notify"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(self._path))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        os.chmod(self._path, 0o777)
        self.environment = {"NOTIFY_SOCKET": str(self._path)}
        self.store = []  # (descriptor, name) of those that wait() has passed over

    def fileno(self):
        return self._sock.fileno()

    def next(self, deadline=None):
        self._sock.settimeout(deadline or DEADLINE)
        text, ancillary, _, _ = self._sock.recvmsg(
            4096, socket.CMSG_SPACE(12) + socket.CMSG_SPACE(64 * 4))
        pid, fds = None, array.array("i")
        for _, kind, data in ancillary:
            if kind == socket.SCM_CREDENTIALS:
                pid = struct.unpack("iII", data)[0]
            elif kind == socket.SCM_RIGHTS:
                fds.frombytes(data)
        return Message(text.decode(), pid, list(fds))

    def wait(self, key, value=None):
        """The next message with that field; value is what it has to be equal to."""
        while True:
            message = self.next()
            if key in message.fields and value in (None, message.fields[key]):
                return message
            self.store += [(fd, message.fields["FDNAME"]) for fd in message.fds]

    def wait_status(self, matches):
        """The first status that the function is content with."""
        while not matches(status := self.wait("STATUS").fields["STATUS"]):
            pass
        return status

    def take_all(self):
        """The messages that are there now."""
        messages = []
        while select.select([self._sock], [], [], 0)[0]:
            messages.append(self.next())
        return messages

    def close(self):
        self._sock.close()


# Takes its parent's descriptors (pidfd_getfd), puts them where sd_listen_fds(3) has them, execs.
_HAND_OVER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
pid, *fds = map(int, sys.argv[1].split(","))
handle = os.pidfd_open(pid)
mine = [libc.syscall(438, handle, fd, 0) for fd in fds]
above = [os.dup2(fd, 100 + i) for i, fd in enumerate(mine)]
for i, fd in enumerate(above):
    os.dup2(fd, 3 + i, inheritable=True)
os.closerange(3 + len(fds), 200)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds))}
if sys.argv[2]:
    os.environ["LISTEN_FDNAMES"] = sys.argv[2]
os.execv(sys.argv[3], sys.argv[3:])
"""


def handing_over(fds, names=()):
    """What to start a daemon through that is to get copies of these sockets of the test's."""
    numbers = ",".join(map(str, [os.getpid(), *fds]))
    return ["/usr/bin/python3", "-c", _HAND_OVER, numbers, ":".join(names)]


def handing_over_store(store):
    """The same with what is in a manager's store."""
    return handing_over([fd for fd, _ in store], [name for _, name in store])


def as_watched():
    """What to start a daemon through whose own number is to be in WATCHDOG_PID."""
    return ["sh", "-c", "WATCHDOG_PID=$$ exec \"$@\"", "sh"]
