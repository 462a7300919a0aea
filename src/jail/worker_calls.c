/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls of a worker once everything is open, besides common_calls.c. Not in this list, on
 * purpose: calls that open, name or change a file; listen (a worker opens no port), clone and
 * execve; sendmsg (it could pass descriptors on); dup; rt_sigaction and rt_sigreturn (a worker
 * handles no signal).
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "filter_args.h"

/* In linux/in6.h, which can't be included beside netinet/in.h. */
#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif

#define TCP_SOCKET(f) \
    .args = { IS(0, f), IS(1, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC), IS(2, IPPROTO_TCP) }

#define UDP_SOCKET(f) \
    .args = { IS(0, f), IS(1, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC), IS(2, IPPROTO_UDP) }

static const struct filter_line lines[] = {

    /* Sessions. */
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
    { .call = "setsockopt",
      .why = "what is acknowledged with an answer, and what at once",
      OPTION(IPPROTO_TCP, TCP_QUICKACK) },
    { .call = "setsockopt",
      .why = "no pacing on the way to a target or container on this host",
      OPTION(IPPROTO_TCP, TCP_CONGESTION) },
    { .call = "setsockopt", .why = "urgent bytes in line", OPTION(SOL_SOCKET, SO_OOBINLINE) },
    { .call = "setsockopt", .why = "keepalive", OPTION(SOL_SOCKET, SO_KEEPALIVE) },
    { .call = "setsockopt", .why = "... after how long", OPTION(IPPROTO_TCP, TCP_KEEPIDLE) },
    { .call = "getsockopt",
      .why = "would a target believe a reset now? is a connection over?",
      OPTION(IPPROTO_TCP, TCP_INFO) },
    { .call = "bind", .why = "the client's address; not on Unix sockets, see jail.c" },
    { .call = "connect", .why = "the target; not on Unix sockets, see jail.c" },
    { .call = "getsockopt",
      .why = "an orphan frees a port: TCP or UDP?",
      OPTION(SOL_SOCKET, SO_TYPE) },
    { .call = "close_range", .why = "sockets of sessions that end, many at once" },
    { .call = "splice",
      .why = "bulk, without copying; an offset would write into the midst of the log's file",
      .args = { NO_POINTER(1), NO_POINTER(3) } },
    { .call = "pipe2", .why = "... through these", .args = { IS(1, O_NONBLOCK | O_CLOEXEC) } },
    { .call = "fcntl", .why = "... of a good size", .args = { IS(1, F_SETPIPE_SZ) } },
    { .call = "fcntl", .why = "... or of what size?", .args = { IS(1, F_GETPIPE_SZ) } },
    { .call = "fcntl64", .why = "the same (32-bit)", .args = { IS(1, F_SETPIPE_SZ) } },
    { .call = "fcntl64", .why = "the same (32-bit)", .args = { IS(1, F_GETPIPE_SZ) } },
    { .call = "recvmsg", .why = "rtnetlink says that this host's addresses changed (libmnl)" },

    /* Memory. */
    { .call = "madvise", .why = "huge pages (GLIBC_TUNABLES)", .args = { IS(2, MADV_HUGEPAGE) } },
    { .call = "sysinfo", .why = "qsort of much asks once how much memory there is" },
};

/* Only where a listener has protocol = "udp". */
static const struct filter_line udp_lines[] = {
    { .call = "recvmmsg", .why = "datagrams, many at once, each with its local address" },
    { .call = "recvmmsg_time64", .why = "the same (32-bit)" },
    { .call = "sendmmsg", .why = "datagrams, many at once, from the local address they came to" },
    { .call = "socket", .why = "towards an IPv4 target", UDP_SOCKET(AF_INET) },
    { .call = "socket", .why = "towards an IPv6 target", UDP_SOCKET(AF_INET6) },
    { .call = "setsockopt",
      .why = "an error for a closed port, though the socket is not connected",
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
