# SPDX-License-Identifier: BSD-2-Clause
"""Makes a running process call what it would never call: what a hijacked one could try."""

import ctypes
import os
import platform
import time

from lib.wait import DEADLINE

IS_POSSIBLE = platform.machine() == "x86_64"

PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_DETACH = 12, 13, 17
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WALL = 0x40000000

_NAMES = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags "
          "rsp ss fs_base gs_base ds es fs gs").split()


class _Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in _NAMES]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def _ptrace(request, pid, data=None):
    if _libc.ptrace(request, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace({request:#x})")


def call(pid, number, *arguments):
    """
    Has the process, which must wait in a system call, make this one instead. The kernel looks
    at it as at any other; what follows is the process's own doing.
    """
    _ptrace(PTRACE_SEIZE, pid)
    _ptrace(PTRACE_INTERRUPT, pid)
    os.waitpid(pid, WALL)
    registers = _Registers()
    _ptrace(PTRACE_GETREGS, pid, ctypes.byref(registers))
    registers.rip -= 2  # back onto the instruction `syscall`
    registers.rax = number
    registers.orig_rax = ctypes.c_ulonglong(-1).value  # nothing to take up again
    for name, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), arguments):
        setattr(registers, name, ctypes.c_ulonglong(value).value)
    _ptrace(PTRACE_SETREGS, pid, ctypes.byref(registers))
    _ptrace(PTRACE_DETACH, pid)


def wait_blocked(pid):
    """Waits until the process waits in a system call."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
            if file.read().split()[0] not in ("running", "-1"):
                return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} never waits")
