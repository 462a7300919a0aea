/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the exporter may do once it serves. Not in this list, on purpose: whatever opens a file or
 * makes a socket, connect, bind, listen, clone and execve, mprotect (the counters stay read-only).
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "mmproxy/jail/filter.h"

#define IS(i, v)                                                \
    {                                                           \
        .index = (i), .test = FILTER_IS, .value = (uint32_t)(v) \
    }
#define LACKS(i, v)                                                \
    {                                                              \
        .index = (i), .test = FILTER_LACKS, .value = (uint32_t)(v) \
    }
#define HAS(i, v)                                                \
    {                                                            \
        .index = (i), .test = FILTER_HAS, .value = (uint32_t)(v) \
    }
#define OWN_PID(i)                           \
    {                                        \
        .index = (i), .test = FILTER_OWN_PID \
    }
#define OPTION(l, o) .args = { IS(1, l), IS(2, o) }

static const struct filter_line lines[] = {
    /* The loop. */
    { .call = "poll", .why = "waits for requests and for the supervisor's end" },
    { .call = "ppoll", .why = "the same, where the C library has only this one" },
    { .call = "ppoll_time64", .why = "the same (32-bit)" },
    { .call = "epoll_wait", .why = "libmicrohttpd asks which connection is ready" },
    { .call = "epoll_pwait", .why = "the same, where the C library has only this one" },
    { .call = "epoll_ctl", .why = "connections come and go" },
    { .call = "clock_gettime", .why = "deadlines, where the vDSO has to ask the kernel" },
    { .call = "clock_gettime64", .why = "the same (32-bit)" },
    { .call = "time", .why = "the date of a response, the same" },
    { .call = "gettimeofday", .why = "the same" },
    { .call = "restart_syscall", .why = "the kernel's own way back into a call that a stop cut" },

    /* Connections. */
    { .call = "accept4", .why = "takes connections from the socket that it was given" },
    { .call = "setsockopt", .why = "the head leaves at once", OPTION(IPPROTO_TCP, TCP_NODELAY) },
    { .call = "setsockopt", .why = "... with the body", OPTION(IPPROTO_TCP, TCP_CORK) },
    { .call = "setsockopt",
      .why = "a response ends with FIN, not with RST",
      OPTION(SOL_SOCKET, SO_LINGER) },
    { .call = "getsockopt",
      .why = "libmicrohttpd asks how a connection failed",
      OPTION(SOL_SOCKET, SO_ERROR) },
    { .call = "fcntl", .why = "is a connection non-blocking?", .args = { IS(1, F_GETFL) } },
    { .call = "fcntl64", .why = "the same (32-bit)", .args = { IS(1, F_GETFL) } },
    { .call = "recvfrom", .why = "a request" },
    { .call = "recv", .why = "the same (32-bit)" },
    { .call = "sendto", .why = "a response; log datagrams" },
    { .call = "send", .why = "the same (32-bit)" },
    { .call = "sendmsg", .why = "the head and the body of a response at once" },
    { .call = "writev", .why = "the same; the last words of the C library's own checks" },
    { .call = "shutdown", .why = "a connection that takes too long ends" },
    { .call = "close", .why = "connections end" },

    /* The log. */
    { .call = "write", .why = "a line to stderr" },
    { .call = "getpid", .why = "in every line to syslog" },

    /* Memory, never executable. */
    { .call = "brk", .why = "malloc" },
    { .call = "mmap",
      .why = "malloc of much, memory for a connection; of no file",
      .args = { LACKS(2, PROT_EXEC), HAS(3, MAP_ANONYMOUS) } },
    { .call = "mmap2",
      .why = "the same (32-bit)",
      .args = { LACKS(2, PROT_EXEC), HAS(3, MAP_ANONYMOUS) } },
    { .call = "munmap", .why = "free of much" },
    { .call = "mremap", .why = "realloc of much" },
    { .call = "madvise", .why = "free", .args = { IS(2, MADV_DONTNEED) } },
    { .call = "futex", .why = "libmicrohttpd's locks, which nobody contends for" },

    /* The end. */
    { .call = "exit_group", .why = "the supervisor wants no more" },
    { .call = "tgkill", .why = "abort and SIGSYS, for itself only", .args = { OWN_PID(0) } },
    { .call = "gettid", .why = "raise" },
    { .call = "rt_sigprocmask", .why = "abort unblocks its signal" },
};

struct filter_table filter_exporter_calls(void)
{
    return (struct filter_table){ lines, sizeof lines / sizeof *lines };
}
