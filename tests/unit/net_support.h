/* SPDX-License-Identifier: BSD-2-Clause */
/* net_support: real sockets, and waiting for them instead of for time. */
#ifndef NET_SUPPORT_H
#define NET_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "mmproxy/base/addr.h"
#include "patience.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static inline struct addr support_addr(const char *text)
{
    struct addr addr = { 0 };

    if (addr_parse(&addr, text))
        fail_msg("not an address: %s", text);
    return addr;
}

static inline struct addr support_host(const char *text)
{
    struct addr addr = { 0 };

    if (addr_parse_host(&addr, text))
        fail_msg("not an address: %s", text);
    return addr;
}

static inline struct addr support_name(int fd)
{
    struct addr addr = { 0 };
    socklen_t len = sizeof addr;

    assert_return_code(getsockname(fd, &addr.sa, &len), errno);
    return addr;
}

static inline struct addr support_peer(int fd)
{
    struct addr addr = { 0 };
    socklen_t len = sizeof addr;

    assert_return_code(getpeername(fd, &addr.sa, &len), errno);
    return addr;
}

static inline int support_option(int fd, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof value;

    assert_return_code(getsockopt(fd, level, option, &value, &len), errno);
    return value;
}

static inline void support_set_option(int fd, int level, int option, int value)
{
    assert_return_code(setsockopt(fd, level, option, &value, sizeof value), errno);
}

static inline bool support_is_ready(int fd, short events, int timeout_ms)
{
    struct pollfd ready = { .fd = fd, .events = events };

    return poll(&ready, 1, timeout_ms) == 1;
}

static inline void support_wait(int fd, short events)
{
    if (!support_is_ready(fd, events, SUPPORT_DEADLINE_MS))
        fail_msg("descriptor %d did not become ready", fd);
}

/* A non-blocking listener on 127.0.0.1 at any port; buffer: bytes asked for, 0 = as they are. */
static inline int support_listen(int buffer)
{
    struct addr any = { .in = { .sin_family = AF_INET } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    any.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_return_code(fd, errno);
    if (buffer > 0) {
        support_set_option(fd, SOL_SOCKET, SO_RCVBUF, buffer);
        support_set_option(fd, SOL_SOCKET, SO_SNDBUF, buffer);
    }
    assert_return_code(bind(fd, &any.sa, addr_len(&any)), errno);
    assert_return_code(listen(fd, 16), errno);
    return fd;
}

/* Both ends of a TCP connection over loopback, non-blocking. */
static inline void support_tcp_pair(int ends[2], int buffer)
{
    int listening = support_listen(buffer);
    struct addr addr = support_name(listening);

    ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(ends[0], errno);
    if (buffer > 0) {
        support_set_option(ends[0], SOL_SOCKET, SO_RCVBUF, buffer);
        support_set_option(ends[0], SOL_SOCKET, SO_SNDBUF, buffer);
    }
    assert_return_code(connect(ends[0], &addr.sa, addr_len(&addr)), errno);
    support_wait(listening, POLLIN);
    ends[1] = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_return_code(ends[1], errno);
    assert_return_code(fcntl(ends[0], F_SETFL, O_NONBLOCK), errno);
    close(listening);
}

/* Closes with RST. */
static inline void support_reset(int fd)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };

    assert_return_code(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), errno);
    close(fd);
}

/* Open descriptors of this process; kind: "pipe:", "socket:" or "" for all. */
static inline unsigned support_descriptors(const char *kind)
{
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    unsigned n = 0;

    assert_non_null(directory);
    while ((entry = readdir(directory))) {
        char text[64] = "";
        if (readlinkat(dirfd(directory), entry->d_name, text, sizeof text - 1) > 0 &&
            strncmp(text, kind, strlen(kind)) == 0)
            n++;
    }
    closedir(directory);
    return n;
}

#endif
