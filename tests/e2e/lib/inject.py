# SPDX-License-Identifier: BSD-2-Clause
"""Makes a running process call what it would never call: what a hijacked one could try."""

import ctypes
import os
import pathlib
import platform

from lib.wait import until

IS_POSSIBLE = platform.machine() == "x86_64"

PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_DETACH, PTRACE_SYSCALL = 12, 13, 17, 24
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WALL = 0x40000000

# As an argument: where the call's data is in the process's memory.
DATA = "data"
_FAR_BELOW_THE_STACK = 8192
_NO_CALL = ctypes.c_ulonglong(-1).value  # as the number of the call in which a process was stopped

_NAMES = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags "
          "rsp ss fs_base gs_base ds es fs gs").split()


class _Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in _NAMES]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def _ptrace(request, pid, data=None):
    if _libc.ptrace(request, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace({request:#x})")


def _stop(pid):
    """In a system call, not between two: the call before may have given it something to do."""
    while True:
        wait_blocked(pid)
        _ptrace(PTRACE_SEIZE, pid)
        _ptrace(PTRACE_INTERRUPT, pid)
        os.waitpid(pid, WALL)
        registers = _Registers()
        _ptrace(PTRACE_GETREGS, pid, ctypes.byref(registers))
        if registers.orig_rax != _NO_CALL:
            return registers
        _ptrace(PTRACE_DETACH, pid)


def _make_call(pid, stopped, number, arguments, data):
    place = stopped.rsp - _FAR_BELOW_THE_STACK & ~15
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(place)
        memory.write(data)
    registers = _Registers.from_buffer_copy(stopped)
    registers.rip -= 2  # back onto the instruction `syscall`
    registers.rax = number
    registers.orig_rax = _NO_CALL  # nothing to take up again
    for name, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), arguments):
        setattr(registers, name, ctypes.c_ulonglong(place if value is DATA else value).value)
    _ptrace(PTRACE_SETREGS, pid, ctypes.byref(registers))


def call(pid, number, *arguments, data=b""):
    """
    Has the process make this system call, as soon as it waits in one, instead of that. The kernel
    looks at it as at any other; what follows is the process's own doing. data is in its memory, at
    DATA.
    """
    _make_call(pid, _stop(pid), number, arguments, data)
    _ptrace(PTRACE_DETACH, pid)


def result(pid, number, *arguments, data=b""):
    """
    The same for a call that does not end it: returns what it came to, a value or -errno. The
    process goes on as if nothing had happened.
    """
    stopped = _stop(pid)
    _make_call(pid, stopped, number, arguments, data)
    for _ in ("entry", "exit"):
        _ptrace(PTRACE_SYSCALL, pid)
        os.waitpid(pid, WALL)
    after = _Registers()
    _ptrace(PTRACE_GETREGS, pid, ctypes.byref(after))
    _ptrace(PTRACE_SETREGS, pid, ctypes.byref(stopped))
    _ptrace(PTRACE_DETACH, pid)
    return ctypes.c_longlong(after.rax).value


def wait_blocked(pid):
    """Waits until the process waits in a system call."""
    path = pathlib.Path(f"/proc/{pid}/syscall")
    until(lambda: path.read_text().split()[0] not in ("running", "-1"), f"process {pid} to wait")
