# SPDX-License-Identifier: BSD-2-Clause
"""
Stops a process's next child at its very first instruction, by ptrace(2).

Between fork and READY a worker lives for a millisecond; a test of what happens in that time
has to hold it there.
"""

import contextlib
import ctypes
import os
import signal

from lib import proc

_CONT, _DETACH, _GETEVENTMSG, _SEIZE = 7, 17, 0x4201, 0x4206
_TRACEFORK, _TRACEVFORK, _TRACECLONE = 2, 4, 8
_EVENT_STOP = 128
_WALL = 0x40000000
_PROVOKING = 1 << signal.SIGHUP - 1 | 1 << signal.SIGUSR2 - 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, pid, address=0, data=0):
    if _libc.ptrace(request, pid, address, data) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace({request:#x}, {pid})")


class StoppedChild:
    """A stopped child: let it go, kill it, or leave it."""

    def __init__(self, pid):
        self.pid = pid

    def resume(self):
        self._signal(signal.SIGCONT)

    def kill(self):
        self._signal(signal.SIGKILL)

    def _signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def stop_next_child(pid, provoke, behind=0):
    """
    Calls provoke(), waits until the process forks, and returns its child, stopped; behind: so many
    children before it are let go. The first child of a process that sets the return path up is
    libnftables'.
    """
    _ptrace(_SEIZE, pid, 0, _TRACEFORK | _TRACEVFORK | _TRACECLONE)
    provoke()
    child = _wait_fork(pid)
    while (is_early := _has_not_heard(pid)) or behind > 0:
        behind -= not is_early
        _wait_stop(child)
        _ptrace(_DETACH, child)
        _ptrace(_CONT, pid)
        child = _wait_fork(pid)
    _wait_stop(child)
    os.kill(child, signal.SIGSTOP)  # taken as soon as it is let go
    _ptrace(_DETACH, child)
    _ptrace(_DETACH, pid)
    return StoppedChild(child)


def _has_not_heard(pid):
    """The signal is pending still: a child that is made now is one that checks the targets."""
    return bool(int(proc.status(pid)["ShdPnd"], 16) & _PROVOKING)


def _wait_fork(pid):
    """Passes the process's signals on until it forks; it is stopped then."""
    while True:
        status = _wait_stop(pid)
        if status >> 16 and status >> 16 != _EVENT_STOP:
            child = ctypes.c_ulong()
            _ptrace(_GETEVENTMSG, pid, 0, ctypes.addressof(child))
            return child.value
        number = 0 if status >> 16 == _EVENT_STOP else os.WSTOPSIG(status)
        _ptrace(_CONT, pid, 0, number)


def _wait_stop(pid):
    """Python's own waitpid drops the event that is in the upper half of the status."""
    status = ctypes.c_int()
    if _libc.waitpid(pid, ctypes.byref(status), _WALL) != pid:
        raise OSError(ctypes.get_errno(), f"waitpid({pid})")
    assert os.WIFSTOPPED(status.value & 0xFFFF), f"process {pid} ended: status {status.value:#x}"
    return status.value
