# SPDX-License-Identifier: BSD-2-Clause
"""This machine: namespaces, processes, and what they cost."""

import ctypes
import os
import pathlib
import resource
import subprocess
import time

CLONE_NEWNET = 0x40000000
DEADLINE = 20  # seconds for anything that should happen at once

_libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """A run that has no figures, and why."""


def wait(condition, what, deadline=DEADLINE):
    """Waits until condition() is true; what: what it means, or a function that says."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"{what() if callable(what) else what}: not within {deadline} s")
        time.sleep(0.005)


# --- the network

RETURN_PATH = """\
link set lo up
rule add from 127.0.0.0/8 iif lo lookup 100
route add local 0.0.0.0/0 dev lo table 100
"""


# Room for many short connections, and buffers as large as Linux has them if nobody changes that.
SYSCTLS = (
    ("ip_local_port_range", "20000 65535"),
    ("tcp_max_tw_buckets", "1000000"),
    ("tcp_rmem", "4096 131072 6291456"),
    ("tcp_wmem", "4096 16384 4194304"),
)


_CONGESTION = "tcp_congestion_control"
wanted_congestion = None  # instead of the host's own, for networks that are made from now on


def _sysctl(key):
    return pathlib.Path("/proc/sys/net/ipv4", key)


# The host's own, which every new network namespace begins with: read before the first is made.
OWN_CONGESTION = _sysctl(_CONGESTION).read_text(encoding="ascii").strip()


def congestion():
    """The runs' congestion control."""
    return wanted_congestion or OWN_CONGESTION


def is_paced():
    return congestion().startswith("bbr")


def describe_network():
    """Which settings of the network the runs have, in words."""
    words = (f"{wanted_congestion} (the host's own is {OWN_CONGESTION})" if wanted_congestion
             else f"{OWN_CONGESTION}, the host's own")
    return (f"Congestion control: {words}. Set in the runs' own namespaces: " +
            ", ".join(f"net.ipv4.{key} = {value}" for key, value in SYSCTLS) + ".")


def _set_sysctl(key, value):
    try:
        _sysctl(key).write_text(value, encoding="ascii")
    except OSError as error:
        raise Failure(f"net.ipv4.{key} can't be set to {value}: {error.strerror}") from error


def enter_new_network():
    """
    Moves this process into a network namespace of its own, in which whatever it starts from
    now on will be too. The one before goes with its last process: no run meets another's
    connections in TIME_WAIT, learnt metrics or sockets.
    """
    if _libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    run_ip(RETURN_PATH)
    for key, value in SYSCTLS:
        _set_sysctl(key, value)
    if wanted_congestion:
        _set_sysctl(_CONGESTION, wanted_congestion)


def run_ip(commands, prefix=()):
    """Lines for ip(8); prefix: what it is started through."""
    subprocess.run([*prefix, "ip", "-batch", "-"], input=f"{commands}\n", text=True, check=True)


def forget_return_path():
    """For a gateway that brings its own."""
    run_ip(RETURN_PATH.replace(" add ", " del ").split("\n", 1)[1])


def is_listening(port, pid="thread-self"):
    """Does a TCP socket of this network namespace, or of that process's, listen on that port?"""
    wanted = f":{port:04X} 00000000:0000 0A "
    # Not /proc/net: that is the first thread's namespace, which is the same only by luck.
    return wanted in pathlib.Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii")


def has_udp_socket(port):
    """The same for UDP."""
    wanted = f":{port:04X} 00000000:0000 07 "
    return wanted in pathlib.Path("/proc/thread-self/net/udp").read_text(encoding="ascii")


def segments_sent():
    """TCP segments that this namespace's sockets have sent, whoever sent them."""
    lines = pathlib.Path("/proc/thread-self/net/snmp").read_text(encoding="ascii").splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(values[names.index("OutSegs")])


# --- processes

DESCRIPTORS = 20000  # enough for 9,000 sessions of two, whichever worker they fall to


def raise_descriptor_limit():
    """For this process and whatever it starts; more would be more than the peers are told."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        hard = DESCRIPTORS
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
    except ValueError:
        raise Failure(f"{DESCRIPTORS} descriptors are needed (ulimit -Hn)") from None


class Process:
    """A program that does not outlive this one; its output goes to a file."""

    def __init__(self, argv, output, env=None, stdin=subprocess.DEVNULL, stdout=None):
        self.name = pathlib.Path(argv[0]).name
        self.output = pathlib.Path(output)
        with open(self.output, "wb") as file:
            self.popen = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *map(str, argv)],
                                          stdin=stdin, stdout=stdout or file, stderr=file,
                                          env={**os.environ, **(env or {})})
        self.pid = self.popen.pid

    def is_running(self):
        return self.popen.poll() is None

    def said(self):
        return self.output.read_text(errors="replace").strip()

    def expect_running(self):
        if not self.is_running():
            raise Failure(f"{self.name} exited {self.popen.returncode}: {self.said()[-500:]}")

    def stop(self):
        """SIGTERM, then SIGKILL for it and its children: no run may be met by the next."""
        pids = tree(self.pid) if self.is_running() else []
        self.popen.terminate()
        try:
            self.popen.wait(1)
        except subprocess.TimeoutExpired:
            pass
        for pid in pids:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
        self.popen.wait()


def tree(pid):
    """A process and all that descend from it."""
    pids = [pid]
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in path.read_text(encoding="ascii").split():
                pids += tree(int(child))
        except OSError:
            pass  # gone meanwhile
    return pids


def run_on(pids, cpus):
    """All their threads, from now on."""
    for pid in pids:
        for path in pathlib.Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(path.name), cpus)


# --- processor time

def cpu_seconds(pids):
    """
    What these processes have used, all threads and the kernel's work for them included, to
    the nanosecond: /proc/PID/stat counts in ticks of 10 ms.
    """
    total = 0.0
    for pid in pids:
        clock = ctypes.c_int()
        error = _libc.clock_getcpuclockid(pid, ctypes.byref(clock))
        if error != 0:
            raise Failure(f"process {pid} has died")
        total += time.clock_gettime(clock.value)
    return total


def busy_seconds():
    """What all of this machine's processors have used, time stolen by a hypervisor included."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


# --- memory

def pss_bytes(pids):
    """
    User space: memory that processes share counts in parts, so the sum is right. Without
    pages of files: programs and libraries don't grow with sessions, and what is counted of
    them changes when another process that has the same library comes or goes.
    """
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            total += sum(int(line.split()[1]) for line in file
                         if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return total * 1024


def descriptors(pids):
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


# The kernel's caches that a session's sockets come from. Not dentry, though each socket has
# one (0.2 KiB): whoever looks into /proc meanwhile, as this program does, makes more of them.
SESSION_CACHES = ("TCP", "request_sock_TCP", "tw_sock_TCP", "sock_inode_cache", "lsm_file",
                  "ep_head", "eventpoll_", "skbuff_", "kmalloc-",
                  "filp")


def slab_bytes():
    """The kernel's objects in use for sockets, epoll's items, pipes and buffers."""
    total = 0
    with open("/proc/slabinfo", encoding="ascii") as file:
        for line in file:
            if line.startswith(SESSION_CACHES):
                fields = line.split()
                total += int(fields[1]) * int(fields[3])
    return total


def settled_slab_bytes():
    """Once what earlier runs left has been freed, which the kernel does by and by."""
    last = slab_bytes()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        time.sleep(0.3)
        now = slab_bytes()
        if abs(now - last) < 500_000:
            return now
        last = now
    return last
