/* SPDX-License-Identifier: BSD-2-Clause */
/* target_datagram: the service over UDP, at the same address and port. */
#ifndef BENCH_TARGET_DATAGRAM_H
#define BENCH_TARGET_DATAGRAM_H

#include <netinet/in.h>

/* returns: a non-blocking socket. Ends the program on failure. */
int target_datagram_open(const struct sockaddr_in *address);

/* Answers what is there; counts what is a flood. Ends the program where bytes are wrong. */
void target_datagram_run(int fd);

#endif
