/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a worker may do once everything is open. Not in this list, on purpose: whatever opens,
 * names or changes a file; listen (no port of its own), clone and execve; sendmsg (it could pass
 * descriptors on); dup; rt_sigaction and rt_sigreturn (it handles no signal); mprotect and
 * executable mmap (no new code).
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "mmproxy/jail/filter.h"

/* In linux/in6.h, which can't be included beside netinet/in.h. */
#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif

#define IS(i, v)                                                \
    {                                                           \
        .index = (i), .test = FILTER_IS, .value = (uint32_t)(v) \
    }
#define LACKS(i, v)                                                \
    {                                                              \
        .index = (i), .test = FILTER_LACKS, .value = (uint32_t)(v) \
    }
#define OWN_PID(i)                           \
    {                                        \
        .index = (i), .test = FILTER_OWN_PID \
    }
#define HAS(i, v)                                                \
    {                                                            \
        .index = (i), .test = FILTER_HAS, .value = (uint32_t)(v) \
    }
#define NO_POINTER(i)                     \
    {                                     \
        .index = (i), .test = FILTER_NULL \
    }
#define OPTION(l, o) .args = { IS(1, l), IS(2, o) }
#define TCP_SOCKET(f) \
    .args = { IS(0, f), IS(1, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC), IS(2, IPPROTO_TCP) }

#define UDP_SOCKET(f) \
    .args = { IS(0, f), IS(1, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC), IS(2, IPPROTO_UDP) }

static const struct filter_line lines[] = {
    /* The loop. */
    { .call = "epoll_wait", .why = "libev waits; hangup asks which socket failed" },
    { .call = "epoll_pwait", .why = "the same, where the C library has only this one" },
    { .call = "epoll_ctl", .why = "what is waited for changes; hangup adds sockets" },
    { .call = "epoll_create1", .why = "libev makes its set anew after an event it can't place" },
    { .call = "clock_gettime", .why = "time, where the vDSO has to ask the kernel" },
    { .call = "clock_gettime64", .why = "the same (32-bit)" },
    { .call = "gettimeofday", .why = "libev's time, where clock_gettime fails" },
    { .call = "restart_syscall", .why = "the kernel's own way back into a call that a stop cut" },

    /* Sessions. */
    { .call = "accept4", .why = "takes connections from the sockets that it was given" },
    { .call = "socket", .why = "towards an IPv4 target", TCP_SOCKET(AF_INET) },
    { .call = "socket", .why = "towards an IPv6 target", TCP_SOCKET(AF_INET6) },
    { .call = "setsockopt", .why = "the return path's mark", OPTION(SOL_SOCKET, SO_MARK) },
    { .call = "setsockopt", .why = "the client's address", OPTION(IPPROTO_IP, IP_TRANSPARENT) },
    { .call = "setsockopt", .why = "the same", OPTION(IPPROTO_IPV6, IPV6_TRANSPARENT) },
    { .call = "setsockopt",
      .why = "the kernel picks the port when it knows the target",
      OPTION(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT) },
    { .call = "setsockopt",
      .why = "the client's port, though in TIME_WAIT",
      OPTION(SOL_SOCKET, SO_REUSEADDR) },
    { .call = "setsockopt", .why = "small messages at once", OPTION(IPPROTO_TCP, TCP_NODELAY) },
    { .call = "setsockopt",
      .why = "what is acknowledged with an answer, and what at once",
      OPTION(IPPROTO_TCP, TCP_QUICKACK) },
    { .call = "setsockopt",
      .why = "no pacing on the way to a target on this host",
      OPTION(IPPROTO_TCP, TCP_CONGESTION) },
    { .call = "setsockopt", .why = "urgent bytes in line", OPTION(SOL_SOCKET, SO_OOBINLINE) },
    { .call = "setsockopt", .why = "keepalive", OPTION(SOL_SOCKET, SO_KEEPALIVE) },
    { .call = "setsockopt", .why = "... after how long", OPTION(IPPROTO_TCP, TCP_KEEPIDLE) },
    { .call = "setsockopt", .why = "failure is told by RST", OPTION(SOL_SOCKET, SO_LINGER) },
    { .call = "getsockopt",
      .why = "which of the two sockets failed, and how",
      OPTION(SOL_SOCKET, SO_ERROR) },
    { .call = "getsockopt",
      .why = "would a target believe a reset now?",
      OPTION(IPPROTO_TCP, TCP_INFO) },
    { .call = "bind", .why = "the client's address; not on Unix sockets, see jail.c" },
    { .call = "connect", .why = "the target; not on Unix sockets, see jail.c" },
    { .call = "recvfrom", .why = "header, payload, the supervisor's orders" },
    { .call = "recv", .why = "the same (32-bit)" },
    { .call = "sendto", .why = "payload, answers to the supervisor, log datagrams, netlink" },
    { .call = "send", .why = "the same (32-bit)" },
    { .call = "shutdown", .why = "end of file is passed on; orphans free the ports" },
    { .call = "getsockopt", .why = "... each in the way of its kind", OPTION(SOL_SOCKET, SO_TYPE) },
    { .call = "close", .why = "sessions end" },
    { .call = "splice",
      .why = "bulk, without copying; an offset would write into the midst of the log's file",
      .args = { NO_POINTER(1), NO_POINTER(3) } },
    { .call = "pipe2", .why = "... through these", .args = { IS(1, O_NONBLOCK | O_CLOEXEC) } },
    { .call = "fcntl", .why = "... of a good size", .args = { IS(1, F_SETPIPE_SZ) } },
    { .call = "fcntl", .why = "... or of what size?", .args = { IS(1, F_GETPIPE_SZ) } },
    { .call = "fcntl64", .why = "the same (32-bit)", .args = { IS(1, F_SETPIPE_SZ) } },
    { .call = "fcntl64", .why = "the same (32-bit)", .args = { IS(1, F_GETPIPE_SZ) } },
    { .call = "recvmsg", .why = "rtnetlink says that this host's addresses changed (libmnl)" },

    /* The log: descriptors and the path of a datagram's reader were fixed before. */
    { .call = "write", .why = "a line to stderr" },
    { .call = "poll", .why = "will stderr take it without waiting?" },
    { .call = "ppoll", .why = "the same, where the C library has only this one" },
    { .call = "ppoll_time64", .why = "the same (32-bit)" },
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
    { .call = "madvise", .why = "huge pages (GLIBC_TUNABLES)", .args = { IS(2, MADV_HUGEPAGE) } },
    { .call = "sysinfo", .why = "qsort of much asks once how much memory there is" },

    /* The end. */
    { .call = "exit_group", .why = "drained" },
    { .call = "tgkill", .why = "abort and SIGSYS, for itself only", .args = { OWN_PID(0) } },
    { .call = "gettid", .why = "raise" },
    { .call = "rt_sigprocmask", .why = "abort unblocks its signal" },
    { .call = "writev", .why = "the last words of the C library's own checks" },
};

/* Only where a listener has protocol = "udp". */
static const struct filter_line udp_lines[] = {
    { .call = "recvmmsg", .why = "datagrams, many at once, each with its local address" },
    { .call = "recvmmsg_time64", .why = "the same (32-bit)" },
    { .call = "sendmmsg", .why = "datagrams, many at once, from the local address they came to" },
    { .call = "socket", .why = "towards an IPv4 target", UDP_SOCKET(AF_INET) },
    { .call = "socket", .why = "towards an IPv6 target", UDP_SOCKET(AF_INET6) },
    { .call = "setsockopt",
      .why = "a closed port is told, though the socket is not connected",
      OPTION(IPPROTO_IP, IP_RECVERR) },
    { .call = "setsockopt", .why = "the same", OPTION(IPPROTO_IPV6, IPV6_RECVERR) },
    { .call = "setsockopt",
      .why = "replies that the kernel has put together",
      OPTION(IPPROTO_UDP, UDP_GRO) },
    { .call = "getsockname", .why = "an orphan frees a UDP port: of which family?" },
    { .call = "setsockopt",
      .why = "... and it leaves its group",
      OPTION(SOL_SOCKET, SO_REUSEPORT) },
};

struct filter_table filter_worker_calls(void)
{
    return (struct filter_table){ lines, sizeof lines / sizeof *lines };
}

struct filter_table filter_worker_udp_calls(void)
{
    return (struct filter_table){ udp_lines, sizeof udp_lines / sizeof *udp_lines };
}
