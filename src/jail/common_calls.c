/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The system calls that workers and the exporter may both make. Not in this list, on purpose: calls
 * that open a file or make a process, mprotect and executable mmap (no new code).
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "filter_args.h"

static const struct filter_line lines[] = {
    /* The loop. */
    { .call = "epoll_wait", .why = "waits for whatever is ready" },
    { .call = "epoll_pwait", .why = "the same, where the C library has only this one" },
    { .call = "epoll_ctl", .why = "connections come and go" },
    { .call = "poll", .why = "waits for the supervisor's end; takes stderr a line at once?" },
    { .call = "ppoll", .why = "the same, where the C library has only this one" },
    { .call = "ppoll_time64", .why = "the same (32-bit)" },
    { .call = "clock_gettime", .why = "time, where the vDSO has to ask the kernel" },
    { .call = "clock_gettime64", .why = "the same (32-bit)" },
    { .call = "gettimeofday", .why = "the same, where clock_gettime fails" },
    { .call = "restart_syscall", .why = "the kernel's own way back into a call that a stop cut" },

    /* Connections. */
    { .call = "accept4", .why = "takes connections from the sockets that it was given" },
    { .call = "setsockopt", .why = "small messages at once", OPTION(IPPROTO_TCP, TCP_NODELAY) },
    { .call = "setsockopt", .why = "an end by FIN or by RST", OPTION(SOL_SOCKET, SO_LINGER) },
    { .call = "getsockopt", .why = "how a connection failed", OPTION(SOL_SOCKET, SO_ERROR) },
    { .call = "recvfrom", .why = "bytes from a peer, the supervisor's orders" },
    { .call = "recv", .why = "the same (32-bit)" },
    { .call = "sendto", .why = "bytes to a peer, answers to the supervisor, log datagrams" },
    { .call = "send", .why = "the same (32-bit)" },
    { .call = "shutdown", .why = "no more bytes in one direction; orphans free the ports" },
    { .call = "close", .why = "connections end" },

    /* The log: descriptors and the path of a datagram's reader were fixed before. */
    { .call = "write", .why = "a line to stderr" },
    { .call = "getpid", .why = "in every line to syslog" },

    /* Memory, never executable. */
    { .call = "brk", .why = "malloc" },
    { .call = "mmap",
      .why = "malloc of much; of no file",
      .args = { LACKS(2, PROT_EXEC), HAS(3, MAP_ANONYMOUS) } },
    { .call = "mmap2",
      .why = "the same (32-bit)",
      .args = { LACKS(2, PROT_EXEC), HAS(3, MAP_ANONYMOUS) } },
    { .call = "munmap", .why = "free of much" },
    { .call = "mremap", .why = "realloc of much" },
    /* No other advice: MADV_REMOVE empties shared memory, even where it can only be read. */
    { .call = "madvise", .why = "free, malloc_trim", .args = { IS(2, MADV_DONTNEED) } },

    /* The end. */
    { .call = "exit_group", .why = "drained, or no longer wanted" },
    { .call = "tgkill", .why = "abort and SIGSYS, for itself only", .args = { OWN_PID(0) } },
    { .call = "gettid", .why = "raise" },
    { .call = "rt_sigprocmask", .why = "abort unblocks its signal" },
    { .call = "writev", .why = "the last words of the C library's own checks" },
};

struct filter_table filter_common_calls(void)
{
    return (struct filter_table){ lines, sizeof lines / sizeof *lines };
}
