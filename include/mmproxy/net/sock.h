/* SPDX-License-Identifier: BSD-2-Clause */
/* sock: the socket calls that more than one module needs. */
#ifndef MMPROXY_NET_SOCK_H
#define MMPROXY_NET_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mmproxy/base/addr.h"

/*
 * Opens a non-blocking listening TCP socket. Options that accepted sockets inherit from it are set
 * here once instead of at each of them: TCP_NODELAY, keepalive (seconds; 0 = off), urgent
 * bytes kept in line, late acknowledgements. An IPv6 wildcard takes IPv6 only. shares_port: as
 * sock_share_port.
 * returns: the descriptor (close-on-exec), or -errno: EADDRINUSE, EADDRNOTAVAIL, EACCES
 * (a port below 1024 without CAP_NET_BIND_SERVICE), ...
 */
int sock_listen(const struct addr *addr, unsigned backlog, unsigned keepalive_s, bool shares_port);

/*
 * Lets a wildcard and one of its addresses listen on the same port, where both sockets have
 * it; both still listen when it is taken away again. returns: 0 or -errno.
 */
int sock_share_port(int fd, bool on);

/* Beside whom a UDP socket may be bound. */
enum sock_beside {
    SOCK_ALONE,        /* no other socket: EADDRINUSE where any has the port */
    SOCK_IN_GROUP,     /* those of this function with the same address: it joins their group */
    SOCK_BESIDE_FREED, /* those of sock_free_port, and others that have SO_REUSEADDR */
};

/*
 * Opens a non-blocking UDP socket that receives. Several with one address form a group; steer.h
 * says which of them gets a datagram. Nobody else can bind beside it afterwards, however it came
 * in. Of a wildcard address, each datagram tells the local address that it was sent to.
 * returns: the descriptor (close-on-exec), or -errno.
 */
int sock_receive(const struct addr *addr, enum sock_beside beside);

/* The last step alone, for a UDP socket from elsewhere. returns: 0 or -errno. */
int sock_tell_local(int fd, const struct addr *addr);

/*
 * Nothing more comes in by this socket, in whichever processes have it, and another socket can have
 * its address: a UDP socket only as SOCK_BESIDE_FREED. A TCP socket listens no longer; a UDP socket
 * can still send.
 */
void sock_free_port(int fd);

/*
 * The same options and another backlog for a socket that listens already. An option that
 * can't be had is no reason to stop serving.
 */
void sock_set_up_again(int fd, unsigned backlog, unsigned keepalive_s);

bool sock_is_connected(int fd);

/*
 * TCP keepalive after so many seconds of silence; 0 = off. How often and how many probes then
 * go out is the host's setting (tcp_keepalive_intvl, _probes).
 */
int sock_set_keepalive(int fd, unsigned seconds);

/* Lets it bind to addresses that are not this host's. returns: 0 or -errno. */
int sock_set_transparent(int fd, sa_family_t family);

/* Sets an int option. returns: 0 or -errno. */
int sock_set(int fd, int level, int option, int value);

/*
 * What arrives from now on is acknowledged with the answer, or a little later by itself: that
 * saves a packet. The kernel finds out after some exchanges when to do so: this is for the first.
 */
void sock_acknowledge_late(int fd);

/* At once, what has arrived already too: for a sender that may be waiting for it (Nagle). */
void sock_acknowledge_now(int fd);

/*
 * From now on whatever closes the socket resets the connection, the end of a process that was
 * killed included: a cut-off transfer must not look complete. Listening sockets of sock_listen
 * hand this down to the sockets accepted from them. returns: 0 or -errno.
 */
int sock_set_abortive(int fd);

/* Closes with RST a socket that has not been set abortive. */
void sock_reset(int fd);

/*
 * Would the other side believe a reset now? It must come at the place in the stream that the
 * other side has reached. Where some of what was sent has been dropped, as by a receiver whose
 * buffer is full, that side asks back (spec: RFC 5961, 3.2), and for a connection from a foreign
 * address the kernel gives no answer once the socket is closed.
 */
bool sock_takes_reset(int fd);

/*
 * Is the connection over, so that closing does nothing more? It is where both sides have sent FIN,
 * the other one has acknowledged ours, and the caller has read all that came: read bytes.
 */
bool sock_is_over(int fd, uint64_t read);

/*
 * From now on closing sends FIN, after all that was sent: for a session that has come to its
 * regular end.
 */
void sock_set_orderly(int fd);

/* Closes so. */
void sock_finish(int fd);

/* This host's own address that packets to target come from; not set without a route there. */
struct addr sock_source_for(const struct addr *target);

/*
 * A message with a descriptor, over a Unix socket. returns: 0, the message's length, or -errno.
 * sock_receive_with: *passed is the caller's to close, close-on-exec; -1 = none came.
 */
int sock_send_with(int fd, const void *message, size_t len, int passed);
ssize_t sock_receive_with(int fd, void *message, size_t size, int *passed);

#endif
