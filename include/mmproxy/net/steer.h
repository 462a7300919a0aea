/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer: which socket of a UDP group gets a datagram. The kernel's own choice depends on the load
 * balancer's address and port and on the local address. A client whose datagrams come by two of a
 * load balancer's sockets would then have sessions in two workers, and its replies would go to
 * whichever worker was the last to start one. So a program in the kernel reads from the datagram
 * what its session will be found by.
 */
#ifndef MMPROXY_NET_STEER_H
#define MMPROXY_NET_STEER_H

#include <sys/socket.h>

enum steer_by {
    STEER_BY_PEER,
    STEER_BY_V2,  /* the client that a v2 header names, else the peer */
    STEER_BY_SPP, /* the client that the Simple Proxy Protocol's header names, else the peer */
};

/*
 * For the whole group of fd, in place of an earlier choice: members bound first get datagrams,
 * those beyond n_members get none. family: of the group's address.
 * returns: 0 or -errno: EINVAL where fd is not in a group.
 */
int steer_attach(int fd, sa_family_t family, enum steer_by by, unsigned n_members);

#endif
