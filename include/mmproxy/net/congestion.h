/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * congestion: which algorithm decides how fast TCP may send. One that paces, such as BBR, waits on
 * a timer between packets, which is useful on a network. On the way to a service or a container on
 * this host it only costs processor time.
 */
#ifndef MMPROXY_NET_CONGESTION_H
#define MMPROXY_NET_CONGESTION_H

#include <stdbool.h>

/* Every kernel has it, and every process may choose it. */
#define CONGESTION_UNPACED "reno"

/* Is the default of this network namespace an algorithm that paces? false where nothing tells. */
bool congestion_is_paced(void);

/* Before connect: a socket that was paced once stays so. Failure costs speed only. */
void congestion_avoid_pacing(int fd);

#endif
