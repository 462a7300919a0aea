/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls that are denied to every process of mmproxy. A list of allowed calls is not possible: the
 * supervisor runs the host's own iptables, asks its name services and loads libnftables, and
 * what those call is not ours to say. Most lines need a capability that it does not have
 * either: each of the two locks holds on its own.
 *
 * It goes with every program that the supervisor starts, a new binary at SIGUSR2 too.
 */
#include <asm/ioctls.h>
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "filter_args.h"

/* Of Linux 6.3. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define NO_FAMILY(f)                                                               \
    {                                                                              \
        .call = "socket", .why = "not a family that we use", .args = { IS(0, f) }, \
        .error = EAFNOSUPPORT                                                      \
    }
#define NO_NAMESPACE(flag)                                                          \
    {                                                                               \
        .call = "clone", .why = "no namespace of its own", .args = { HAS(0, flag) } \
    }

static const struct filter_line lines[] = {
/* Other processes. */
#ifndef MMPROXY_INSTRUMENTED
    { .call = "ptrace", .why = "no look into other processes; LeakSanitizer needs it" },
#endif
    { .call = "process_vm_readv", .why = "the same, reading" },
    { .call = "process_vm_writev", .why = "the same, writing" },
    { .call = "process_madvise", .why = "no say in other processes' memory" },
    { .call = "pidfd_getfd", .why = "no taking of other processes' descriptors" },
    { .call = "kcmp", .why = "no comparing of other processes" },
    { .call = "perf_event_open", .why = "no measuring of others; a rich source of kernel bugs" },

    /* The kernel's code and configuration. */
    { .call = "init_module", .why = "no kernel modules; iptables' modprobe fails and says so" },
    { .call = "finit_module", .why = "the same" },
    { .call = "delete_module", .why = "the same" },
    { .call = "kexec_load", .why = "no other kernel" },
    { .call = "kexec_file_load", .why = "the same" },
    { .call = "reboot", .why = "no end of the machine" },
    { .call = "bpf", .why = "no programs in the kernel but these filters" },
    { .call = "userfaultfd", .why = "makes kernel bugs exploitable, and has no use here" },
    { .call = "io_uring_setup", .why = "calls that no filter sees" },
    { .call = "io_uring_enter", .why = "the same" },
    { .call = "io_uring_register", .why = "the same" },
    { .call = "add_key", .why = "no kernel keyrings" },
    { .call = "request_key", .why = "the same" },
    { .call = "keyctl", .why = "the same" },
    { .call = "acct", .why = "no process accounting" },
    { .call = "syslog", .why = "no kernel log" },
    { .call = "quotactl", .why = "no quotas" },
    { .call = "quotactl_fd", .why = "the same" },
    { .call = "lookup_dcookie", .why = "no profiling" },
    { .call = "vhangup", .why = "no hanging up of terminals" },

    /* File systems. */
    { .call = "mount", .why = "no file systems" },
    { .call = "umount2", .why = "the same" },
    { .call = "umount", .why = "the same" },
    { .call = "pivot_root", .why = "the same" },
    { .call = "chroot", .why = "no other root" },
    { .call = "move_mount", .why = "no file systems, the new way" },
    { .call = "open_tree", .why = "the same" },
    { .call = "fsopen", .why = "the same" },
    { .call = "fsconfig", .why = "the same" },
    { .call = "fsmount", .why = "the same" },
    { .call = "fspick", .why = "the same" },
    { .call = "mount_setattr", .why = "the same" },
    { .call = "swapon", .why = "no swap" },
    { .call = "swapoff", .why = "the same" },
    { .call = "open_by_handle_at",
      .why = "CAP_DAC_READ_SEARCH would open any file of the file system with it" },
    { .call = "fanotify_init", .why = "no watching of all files" },
    { .call = "mknod", .why = "no devices", .error = EPERM },
    { .call = "mknodat", .why = "the same", .error = EPERM },
    { .call = "memfd_create",
      .why = "no program without a file; shared memory that none can be run from is no program",
      .args = { LACKS(1, MFD_NOEXEC_SEAL) },
      .error = EPERM },
    { .call = "memfd_secret", .why = "the same", .error = EPERM },

    /* Namespaces: all are as they were given. */
    { .call = "unshare", .why = "no namespace of its own" },
    NO_NAMESPACE(CLONE_NEWUSER),
    NO_NAMESPACE(CLONE_NEWNS),
    NO_NAMESPACE(CLONE_NEWNET),
    NO_NAMESPACE(CLONE_NEWPID),
    NO_NAMESPACE(CLONE_NEWIPC),
    NO_NAMESPACE(CLONE_NEWUTS),
    NO_NAMESPACE(CLONE_NEWCGROUP),
    { .call = "clone3", .why = "its flags can't be seen; C libraries fall back", .error = ENOSYS },
    { .call = "sethostname", .why = "no other name" },
    { .call = "setdomainname", .why = "the same" },

    /* The machine. */
    { .call = "clock_settime", .why = "no other time" },
    { .call = "clock_settime64", .why = "the same (32-bit)" },
    { .call = "settimeofday", .why = "the same" },
    { .call = "stime", .why = "the same (32-bit)" },
    { .call = "iopl", .why = "no hardware" },
    { .call = "ioperm", .why = "the same" },
    { .call = "modify_ldt", .why = "no segments of the processor's" },
    { .call = "vm86", .why = "no old processor (32-bit)" },
    { .call = "vm86old", .why = "the same" },

    /* Terminals and new code. */
    { .call = "ioctl",
      .why = "no keys pressed on our starter's terminal",
      .args = { IS(1, TIOCSTI) } },
    { .call = "ioctl", .why = "the same, on the console", .args = { IS(1, TIOCLINUX) } },
    { .call = "mmap",
      .why = "no memory to write code to",
      .args = { HAS(2, PROT_WRITE | PROT_EXEC) } },
    { .call = "mprotect", .why = "no data that becomes code", .args = { HAS(2, PROT_EXEC) } },
    { .call = "pkey_mprotect", .why = "the same", .args = { HAS(2, PROT_EXEC) } },

    /* Sockets: Unix, IPv4, IPv6, netlink. CAP_NET_RAW would read all traffic with AF_PACKET. */
    NO_FAMILY(AF_AX25),
    NO_FAMILY(AF_IPX),
    NO_FAMILY(AF_APPLETALK),
    NO_FAMILY(AF_NETROM),
    NO_FAMILY(AF_BRIDGE),
    NO_FAMILY(AF_ATMPVC),
    NO_FAMILY(AF_X25),
    NO_FAMILY(AF_ROSE),
    NO_FAMILY(AF_DECnet),
    NO_FAMILY(AF_NETBEUI),
    NO_FAMILY(AF_SECURITY),
    NO_FAMILY(AF_KEY),
    { .call = "socket",
      .why = "AF_PACKET and all that came later",
      .args = { ABOVE(0, AF_NETLINK) },
      .error = EAFNOSUPPORT },
};

/* Where no listener has the key netns. */
static const struct filter_line namespace_lines[] = {
    { .call = "setns", .why = "no other's namespace", .error = EPERM },
};

struct filter_table filter_namespace_calls(void)
{
    return (struct filter_table){ namespace_lines,
                                  sizeof namespace_lines / sizeof *namespace_lines };
}

struct filter_table filter_supervisor_calls(void)
{
    return (struct filter_table){ lines, sizeof lines / sizeof *lines };
}
