/* SPDX-License-Identifier: BSD-2-Clause */
/* net: sockets, epoll and the clock, for client and target. */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* Says why on stderr and ends the program with status 1: a run that fails has no figures. */
_Noreturn void net_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

uint64_t net_now_ns(void);

/* text: ADDRESS:PORT, IPv4. Ends the program on any other. */
struct sockaddr_in net_parse(const char *text);

/* returns: text, "ADDRESS:PORT"; good until the next call but one. */
const char *net_text(const struct sockaddr_in *address);

/*
 * Begins a connection from that source (its port may be 0) and sets TCP_NODELAY.
 * returns: a non-blocking socket, which may be connected already. Ends the program on failure.
 */
int net_connect(const struct sockaddr_in *from, const struct sockaddr_in *to);

/* returns: a non-blocking listening socket. Ends the program on failure. */
int net_listen(const struct sockaddr_in *address);

/*
 * Adds a socket to an epoll set or changes what it waits for. events: EPOLLIN, EPOLLOUT.
 * is_new: it is not in there yet.
 */
void net_watch(int epoll, int fd, uint32_t events, void *data, bool is_new);

#endif
