/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/sock.h"

#include <errno.h>
#include <limits.h>
#include <linux/tcp.h>
#include <string.h>
#include <unistd.h>

/* In linux/in6.h, which can't be included beside netinet/in.h. */
#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif

/* TCP_CLOSE of netinet/tcp.h, which can't be included beside linux/tcp.h. */
enum { STATE_CLOSE = 7 };

/* The longest idle time that the kernel takes. */
enum { KEEPALIVE_MAX_S = 32767 };

enum { DISCARD_PORT = 9 };

int sock_set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

int sock_set_transparent(int fd, sa_family_t family)
{
    return family == AF_INET6 ? sock_set(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
                              : sock_set(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
}

int sock_set_keepalive(int fd, unsigned seconds)
{
    int err = sock_set(fd, SOL_SOCKET, SO_KEEPALIVE, seconds > 0);
    if (err < 0 || seconds == 0)
        return err;

    int idle = seconds > KEEPALIVE_MAX_S ? KEEPALIVE_MAX_S : (int)seconds;
    return sock_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle);
}

static int set_linger(int fd, bool is_abortive)
{
    struct linger linger = { .l_onoff = is_abortive, .l_linger = 0 };

    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) < 0 ? -errno : 0;
}

int sock_set_abortive(int fd)
{
    return set_linger(fd, true);
}

/* Options that accepted sockets inherit. */
static int set_inherited(int fd, unsigned keepalive_s)
{
    int err = sock_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    /* A relay has no use for urgency; out of line, the urgent byte would be lost. */
    if (err == 0)
        err = sock_set(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    if (err == 0)
        err = sock_set_abortive(fd);
    return err < 0 ? err : sock_set_keepalive(fd, keepalive_s);
}

static int start_listening(int fd, unsigned backlog)
{
    if (listen(fd, backlog > INT_MAX ? INT_MAX : (int)backlog) < 0)
        return -errno;
    sock_acknowledge_late(fd); /* inherited, but listen(2) sets it back */
    return 0;
}

void sock_acknowledge_late(int fd)
{
    (void)sock_set(fd, IPPROTO_TCP, TCP_QUICKACK, 0);
}

void sock_acknowledge_now(int fd)
{
    (void)sock_set(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
}

int sock_share_port(int fd, bool on)
{
    return sock_set(fd, SOL_SOCKET, SO_REUSEPORT, on);
}

static int set_up_listener(int fd, const struct addr *addr, unsigned backlog, unsigned keepalive_s)
{
    int err = sock_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (err == 0 && addr_family(addr) == AF_INET6)
        err = sock_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (err == 0)
        err = set_inherited(fd, keepalive_s);
    if (err == 0 && bind(fd, &addr->sa, addr_len(addr)) < 0)
        err = -errno;
    return err < 0 ? err : start_listening(fd, backlog);
}

int sock_listen(const struct addr *addr, unsigned backlog, unsigned keepalive_s, bool shares_port)
{
    int fd = socket(addr_family(addr), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        return -errno;

    int err = shares_port ? sock_share_port(fd, true) : 0;
    if (err == 0)
        err = set_up_listener(fd, addr, backlog, keepalive_s);
    if (err < 0) {
        close(fd);
        return err;
    }
    return fd;
}

/*
 * What comes while the worker does something else: the system's own default is full after 270 small
 * datagrams. Without the privilege it is as much as net.core.rmem_max allows.
 */
static void enlarge_receive_buffer(int fd)
{
    enum { RECEIVE_BUFFER = 1 << 20 }; /* the kernel doubles it, for what it adds itself */

    if (sock_set(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER) < 0)
        (void)sock_set(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);
}

static int set_up_receiver(int fd, const struct addr *addr, enum sock_beside beside)
{
    int err = sock_set(fd, SOL_SOCKET, SO_REUSEPORT, beside == SOCK_IN_GROUP);
    /* Sessions of clients with this port, and sockets that sock_free_port was for, have it too. */
    if (err == 0 && beside != SOCK_ALONE)
        err = sock_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (err == 0 && addr_family(addr) == AF_INET6)
        err = sock_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (err == 0)
        err = sock_tell_local(fd, addr);
    enlarge_receive_buffer(fd);
    if (err == 0 && bind(fd, &addr->sa, addr_len(addr)) < 0)
        err = -errno;
    if (err == 0)
        err = sock_set(fd, SOL_SOCKET, SO_REUSEADDR, 0);
    return err < 0 ? err : sock_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
}

int sock_tell_local(int fd, const struct addr *addr)
{
    static const uint8_t any[16];
    bool is_v6 = addr_family(addr) == AF_INET6;

    if (memcmp(addr_bytes(addr), any, is_v6 ? 16 : 4) != 0)
        return 0;
    return is_v6 ? sock_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                 : sock_set(fd, IPPROTO_IP, IP_PKTINFO, 1);
}

int sock_receive(const struct addr *addr, enum sock_beside beside)
{
    int fd = socket(addr_family(addr), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
    if (fd < 0)
        return -errno;

    int err = set_up_receiver(fd, addr, beside);
    if (err < 0) {
        close(fd);
        return err;
    }
    return fd;
}

/*
 * A UDP socket that is connected gets nothing from other addresses. No program uses this port. It
 * leaves its group: the members of a new one are counted without it.
 */
static void turn_away(int fd, const struct addr *own)
{
    static const uint8_t loopback[16] = { [15] = 1 };
    static const uint8_t loopback_v4[4] = { 127, 0, 0, 1 };
    sa_family_t family = addr_family(own);
    struct addr discard;

    addr_from_bytes(&discard, family, family == AF_INET ? loopback_v4 : loopback, DISCARD_PORT);
    (void)connect(fd, &discard.sa, addr_len(&discard));
    (void)sock_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    (void)sock_set(fd, SOL_SOCKET, SO_REUSEPORT, 0);
}

bool sock_is_connected(int fd)
{
    struct addr peer;
    socklen_t len = sizeof peer;

    return getpeername(fd, &peer.sa, &len) == 0;
}

void sock_free_port(int fd)
{
    struct addr own = { 0 };
    socklen_t len = sizeof own;
    int type = SOCK_STREAM;
    socklen_t type_len = sizeof type;

    (void)getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len);
    if (type == SOCK_DGRAM && getsockname(fd, &own.sa, &len) == 0)
        turn_away(fd, &own);
    else
        (void)shutdown(fd, SHUT_RD);
}

void sock_set_up_again(int fd, unsigned backlog, unsigned keepalive_s)
{
    (void)set_inherited(fd, keepalive_s);
    (void)start_listening(fd, backlog);
}

struct addr sock_source_for(const struct addr *target)
{
    int fd = socket(addr_family(target), SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct addr own = { 0 };
    socklen_t len = sizeof own;

    /* Of a datagram socket nothing is sent. */
    if (fd >= 0 &&
        (connect(fd, &target->sa, addr_len(target)) < 0 || getsockname(fd, &own.sa, &len) < 0))
        own = (struct addr){ 0 };
    if (fd >= 0)
        close(fd);
    return own;
}

void sock_reset(int fd)
{
    (void)set_linger(fd, true);
    close(fd);
}

/* Not SYN, which counts as an acknowledged byte. */
static uint64_t bytes_in_flight(const struct tcp_info *info)
{
    return info->tcpi_bytes_sent - info->tcpi_bytes_retrans - (info->tcpi_bytes_acked - 1);
}

bool sock_takes_reset(int fd)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof info;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 || info.tcpi_state == STATE_CLOSE)
        return true;
    if (info.tcpi_unacked == 0 && info.tcpi_notsent_bytes == 0)
        return true;
    /*
     * With its window closed a reset is sent at the window's beginning, whatever is on its way;
     * unless that is less than the unit of window sizes, which the kernel takes for a rounding.
     */
    return info.tcpi_snd_wnd == 0 &&
           (info.tcpi_unacked == 0 || bytes_in_flight(&info) >= 1U << info.tcpi_rcv_wscale);
}

bool sock_is_over(int fd, uint64_t read)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof info;

    /* TIME_WAIT is shown as closed. After a reset no FIN has been counted as a byte. */
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           info.tcpi_state == STATE_CLOSE && info.tcpi_bytes_received == read + 1;
}

void sock_set_orderly(int fd)
{
    (void)set_linger(fd, false);
}

void sock_finish(int fd)
{
    sock_set_orderly(fd);
    close(fd);
}

int sock_send_with(int fd, const void *message, size_t len, int passed)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { .space = { 0 } };
    struct iovec piece = { .iov_base = (void *)(uintptr_t)message, .iov_len = len };
    struct msghdr header = { .msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space };

    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(sizeof passed);
    memcpy(CMSG_DATA(&control.head), &passed, sizeof passed);
    return sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

ssize_t sock_receive_with(int fd, void *message, size_t size, int *passed)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { .space = { 0 } };
    struct iovec piece = { .iov_base = message, .iov_len = size };
    struct msghdr header = { .msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space };

    *passed = -1;
    ssize_t n = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    const struct cmsghdr *first = CMSG_FIRSTHDR(&header);
    if (first && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS)
        memcpy(passed, CMSG_DATA(first), sizeof *passed);
    return n;
}
