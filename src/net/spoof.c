/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/spoof.h"

#include <errno.h>
#include <unistd.h>

#include "mmproxy/net/congestion.h"
#include "mmproxy/net/sock.h"

static int set_identity(int fd, const struct spoof *spoof)
{
    int err = spoof->mark ? sock_set(fd, SOL_SOCKET, SO_MARK, (int)spoof->mark) : 0;

    return err < 0 ? err : sock_set_transparent(fd, addr_family(&spoof->source));
}

static int set_options(int fd, const struct spoof *spoof)
{
    int err = set_identity(fd, spoof);
    if (err == 0)
        err = sock_set(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    return err < 0 ? err : sock_set_abortive(fd);
}

/* Leaves the port to connect(2), which knows the target and so can share ports. */
static int bind_any_port(int fd, const struct addr *source)
{
    struct addr any_port = *source;

    addr_set_port(&any_port, 0);
    int err = sock_set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    if (err == 0 && bind(fd, &any_port.sa, addr_len(&any_port)) < 0)
        err = -errno;
    return err;
}

static int bind_source(int fd, const struct spoof *spoof, bool preserve_port)
{
    if (!preserve_port)
        return bind_any_port(fd, &spoof->source);

    /* So that a port whose last connection is in TIME_WAIT can be bound again. */
    int err = sock_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (err < 0)
        return err;
    if (bind(fd, &spoof->source.sa, addr_len(&spoof->source)) == 0)
        return 0;
    /* A wildcard listener on this host has the port, or it is a privileged one. */
    if (errno != EADDRINUSE && errno != EACCES)
        return -errno;
    err = sock_set(fd, SOL_SOCKET, SO_REUSEADDR, 0);
    return err < 0 ? err : bind_any_port(fd, &spoof->source);
}

static int connect_from(int fd, const struct spoof *spoof, bool preserve_port, bool *connected)
{
    int err = set_options(fd, spoof);
    if (err == 0)
        err = bind_source(fd, spoof, preserve_port);
    if (err < 0)
        return err;
    if (spoof->sends_at_once)
        sock_acknowledge_late(fd);
    if (spoof->avoids_pacing)
        congestion_avoid_pacing(fd);

    err = spoof_finish(fd, &spoof->target);
    /*
     * A target on this host has answered by the time connect(2) returns, but the answer is
     * looked at only then: asking once more saves waiting for it. Sending asks as well.
     */
    if (err == -EINPROGRESS && !spoof->sends_at_once)
        err = spoof_finish(fd, &spoof->target);
    *connected = err == 0;
    return err == -EALREADY || err == -EINPROGRESS ? 0 : err;
}

static int try_connect(const struct spoof *spoof, bool preserve_port, bool *connected)
{
    int fd = socket(addr_family(&spoof->target), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                    IPPROTO_TCP);
    if (fd < 0)
        return -errno;

    int err = connect_from(fd, spoof, preserve_port, connected);
    if (err < 0) {
        close(fd);
        return err;
    }
    return fd;
}

int spoof_connect(const struct spoof *spoof, bool *connected)
{
    bool preserve_port = spoof->preserve_port && addr_port(&spoof->source) != 0;
    int fd = try_connect(spoof, preserve_port, connected);

    /* A connection with the same addresses and ports still exists. */
    if (fd == -EADDRNOTAVAIL && preserve_port)
        fd = try_connect(spoof, false, connected);
    return fd;
}

int spoof_finish(int fd, const struct addr *target)
{
    return connect(fd, &target->sa, addr_len(target)) < 0 ? -errno : 0;
}

ssize_t spoof_send(int fd, const uint8_t *bytes, size_t len)
{
    ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

    return n < 0 ? -errno : n;
}

int spoof_probe(uint32_t mark)
{
    struct spoof spoof = { .source.in.sin_family = AF_INET, .mark = mark };

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0 && errno == EAFNOSUPPORT) {
        spoof.source.in6.sin6_family = AF_INET6;
        fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    }
    if (fd < 0)
        return -errno;
    int err = set_options(fd, &spoof);
    close(fd);
    return err;
}
