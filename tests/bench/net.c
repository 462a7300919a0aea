/* SPDX-License-Identifier: BSD-2-Clause */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

_Noreturn void net_fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

uint64_t net_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct sockaddr_in net_parse(const char *text)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    char copy[INET_ADDRSTRLEN + 8];

    snprintf(copy, sizeof copy, "%s", text);
    char *colon = strrchr(copy, ':');
    if (colon)
        *colon = '\0';
    if (!colon || inet_pton(AF_INET, copy, &address.sin_addr) != 1)
        net_fail("not ADDRESS:PORT: %s", text);
    address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    return address;
}

const char *net_text(const struct sockaddr_in *address)
{
    static char texts[2][INET_ADDRSTRLEN + 8];
    static unsigned turn;
    char *text = texts[turn++ % 2];

    inet_ntop(AF_INET, &address->sin_addr, text, INET_ADDRSTRLEN);
    snprintf(text + strlen(text), 8, ":%u", ntohs(address->sin_port));
    return text;
}

static int new_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        net_fail("socket: %s", strerror(errno));
    return fd;
}

static void set(int fd, int level, int option)
{
    int on = 1;

    if (setsockopt(fd, level, option, &on, sizeof on) < 0)
        net_fail("setsockopt: %s", strerror(errno));
}

int net_connect(const struct sockaddr_in *from, const struct sockaddr_in *to)
{
    int fd = new_socket();

    set(fd, IPPROTO_TCP, TCP_NODELAY);
    /* The port is chosen when the target is known: one may serve many connections then. */
    set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
    if (bind(fd, (const struct sockaddr *)from, sizeof *from) < 0)
        net_fail("bind to %s: %s", net_text(from), strerror(errno));
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) < 0 && errno != EINPROGRESS)
        net_fail("connect from %s to %s: %s", net_text(from), net_text(to), strerror(errno));
    return fd;
}

int net_listen(const struct sockaddr_in *address)
{
    int fd = new_socket();

    set(fd, SOL_SOCKET, SO_REUSEADDR);
    set(fd, IPPROTO_TCP, TCP_NODELAY); /* accepted sockets inherit it */
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        net_fail("bind to %s: %s", net_text(address), strerror(errno));
    if (listen(fd, 65535) < 0)
        net_fail("listen: %s", strerror(errno));
    return fd;
}

void net_watch(int epoll, int fd, uint32_t events, void *data, bool is_new)
{
    struct epoll_event event = { .events = events, .data.ptr = data };

    if (epoll_ctl(epoll, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) < 0)
        net_fail("epoll_ctl: %s", strerror(errno));
}
