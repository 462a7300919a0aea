# SPDX-License-Identifier: BSD-2-Clause
"""What /proc knows about processes."""

import contextlib
import ctypes
import os
import re
import signal
import socket
import stat
import time

from lib.wait import until

PIDFD_GETFD = 438  # the same on every architecture

_libc = ctypes.CDLL(None, use_errno=True)


def _stat(pid):
    """Fields of /proc/PID/stat behind the name, the first of them being the state."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def _all_children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def children(pid):
    """Living children, oldest first; none where the process is gone."""
    return [child for child in _all_children(pid) if is_alive(child)]


def zombies(pid):
    return [child for child in _all_children(pid) if not is_alive(child)]


def is_alive(pid):
    try:
        return _stat(pid)[0] not in "ZX"
    except OSError:
        return False


def name(pid):
    """The name that the process has given itself; None where it is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().rstrip("\n")
    except OSError:
        return None


def descriptors(pid):
    """What each open descriptor is, as /proc/PID/fd has it."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:
            pass  # closed meanwhile
    return sorted(found)


def resting_descriptors(pid):
    """
    The same of a process that waits in its event loop: none that it opened for a moment only, nor
    while it waits for a child that reads the rules of a firewall.
    """
    def look():
        before = rest(pid)
        found = descriptors(pid)
        return before and rest(pid) == before and found
    return until(look, f"process {pid} to rest")


def rest(pid):
    """Which of its rests a process is in; None where neither its event loop waits nor it is stopped."""
    count = status(pid)["voluntary_ctxt_switches"]
    with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
        # The kernel's version decides which of the first two it is.
        waits = re.search("epoll|ep_poll|signal_stop", file.read())
    return count if waits else None


def expect_calm(pid):
    """
    For a second, which is measured: it hardly uses the processor, and its event loop waits and seldom
    wakes. Where others keep the processor busy the latter alone would tell.
    """
    began, cpu, wakes = time.monotonic(), _cpu_seconds(pid), int(until(lambda: rest(pid), f"{pid} to wait"))
    until(lambda: time.monotonic() - began > 1 and rest(pid), f"process {pid} to wait")
    seconds = time.monotonic() - began
    assert _cpu_seconds(pid) - cpu < 0.3 * seconds
    assert int(status(pid)["voluntary_ctxt_switches"]) - wakes < 100 * seconds


def _cpu_seconds(pid):
    user, system = _stat(pid)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def memory(pid):
    """
    Bytes that belong to no file, whether forked children still share them or not, and the
    process's part of all that is shared as well (pss): what other processes that run the same
    program do does not change them. (RssAnon in /proc/PID/status may lag behind.)
    """
    kib = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            key, _, rest = line.partition(":")
            if rest.endswith(" kB\n"):
                kib[key] = int(rest.split()[0])
    return 1024 * (kib["Anonymous"] + kib["Swap"]), 1024 * (kib["Pss_Anon"] + kib["Pss_Shmem"])


def anonymous_kb(pid):
    return memory(pid)[0] // 1024


def copy(pidfd, number):
    """A copy of one socket of another process, to be closed by the caller."""
    return socket.socket(fileno=_libc.syscall(PIDFD_GETFD, pidfd, number, 0))


def watched(pid):
    """Inodes of what the process's event loop waits for."""
    found = set()
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as file:
                found |= {int(each, 16) for each in re.findall(r"(?m)^tfd:.* ino:([0-9a-f]+)", file.read())}
        except FileNotFoundError:
            pass  # closed meanwhile
    return found


def sockets(pid):
    """Copies of its sockets, to be closed by the caller: options show how it set them."""
    copies = []
    pidfd = os.pidfd_open(pid)
    for number in map(int, os.listdir(f"/proc/{pid}/fd")):
        copy = _libc.syscall(PIDFD_GETFD, pidfd, number, 0)
        if copy >= 0 and stat.S_ISSOCK(os.fstat(copy).st_mode):
            copies.append(socket.socket(fileno=copy))
        elif copy >= 0:
            os.close(copy)
    os.close(pidfd)
    return copies


def status(pid):
    """/proc/PID/status as a dict."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def ignores(pid, number):
    try:
        return bool(int(status(pid)["SigIgn"], 16) & 1 << number - 1)
    except (OSError, KeyError):
        return False  # gone meanwhile


def stop(pid):
    """Returns when it has stopped, or was gone before."""
    def has_stopped():
        try:
            return _stat(pid)[0] in "TZX"
        except OSError:
            return True
    send(pid, signal.SIGSTOP)
    until(has_stopped, f"process {pid} to stop")


@contextlib.contextmanager
def stopped(pid):
    """It runs no instruction meanwhile."""
    stop(pid)
    try:
        yield
    finally:
        send(pid, signal.SIGCONT)


def send(pid, number):
    """A signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def cut_off(pid, log):
    """
    Ends a mmproxy at once: its second SIGTERM does that. Two that come together are one, so it gets
    them until it has ended. log: a function that returns what it has said.
    """
    def is_gone():
        send(pid, signal.SIGTERM)
        return not is_alive(pid)
    until(is_gone, lambda: f"process {pid} to end\n{log()}")


def kill(pid):
    send(pid, signal.SIGKILL)
