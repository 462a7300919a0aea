/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/spoof_datagram.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mmproxy/net/sock.h"

/*
 * Of sockets with one address and port the latest gets the answers. So only sockets of one client
 * may have the same (SO_REUSEADDR): its sessions with other targets, or of other workers.
 */
static int bind_to_port_of_client(int fd, const struct spoof *spoof)
{
    int err = sock_set(fd, SOL_SOCKET, SO_REUSEADDR, !spoof->is_shared);

    if (err < 0)
        return err;
    return bind(fd, &spoof->source.sa, addr_len(&spoof->source)) < 0 ? -errno : 0;
}

/* One that no other socket with this address has. */
static int bind_to_any_port(int fd, const struct spoof *spoof)
{
    struct addr source = spoof->source;
    int err = sock_set(fd, SOL_SOCKET, SO_REUSEADDR, 0);

    if (err < 0)
        return err;
    addr_set_port(&source, 0);
    return bind(fd, &source.sa, addr_len(&source)) < 0 ? -errno : 0;
}

static int bind_datagram(int fd, const struct spoof *spoof)
{
    int err = -EADDRINUSE;

    if (spoof->preserve_port && addr_port(&spoof->source) != 0)
        err = bind_to_port_of_client(fd, spoof);
    return err == -EADDRINUSE || err == -EACCES ? bind_to_any_port(fd, spoof) : err;
}

static int set_up_datagram(int fd, const struct spoof *spoof, bool is_connected)
{
    int err = sock_set(fd, SOL_SOCKET, SO_MARK, (int)spoof->mark);
    if (err == 0)
        err = sock_set_transparent(fd, addr_family(&spoof->source));
    if (err == 0)
        err = bind_datagram(fd, spoof);
    /* A service's message of several datagrams, such as QUIC's, comes as one (datagram.h). */
    (void)sock_set(fd, IPPROTO_UDP, UDP_GRO, 1);
    if (err < 0)
        return err;
    if (is_connected)
        return connect(fd, &spoof->target.sa, addr_len(&spoof->target)) < 0 ? -errno : 0;
    return addr_family(&spoof->source) == AF_INET6 ? sock_set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1)
                                                   : sock_set(fd, IPPROTO_IP, IP_RECVERR, 1);
}

int spoof_datagram(const struct spoof *spoof, bool is_connected)
{
    int fd =
        socket(addr_family(&spoof->target), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
    if (fd < 0)
        return -errno;

    int err = set_up_datagram(fd, spoof, is_connected);
    if (err < 0) {
        close(fd);
        return err;
    }
    return fd;
}

int spoof_datagram_error(int fd)
{
    _Alignas(struct cmsghdr)
        uint8_t control[CMSG_SPACE(sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6))];
    struct msghdr message = { .msg_control = control, .msg_controllen = sizeof control };

    if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
        return 0;
    for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
        struct sock_extended_err error;
        bool is_error = (each->cmsg_level == IPPROTO_IP && each->cmsg_type == IP_RECVERR) ||
                        (each->cmsg_level == IPPROTO_IPV6 && each->cmsg_type == IPV6_RECVERR);

        if (!is_error)
            continue;
        memcpy(&error, CMSG_DATA(each), sizeof error);
        return (int)error.ee_errno;
    }
    return EIO;
}
