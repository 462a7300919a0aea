/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * loopmem: memory for libev, which aborts the process where it gets none.
 *
 * libev's arrays grow as descriptors come. Here each of them has address space for as many as
 * the process may open, set aside at the start and taken from the system as it is used: growing
 * is nothing that could fail while sessions are served.
 */
#ifndef MMPROXY_NET_LOOPMEM_H
#define MMPROXY_NET_LOOPMEM_H

/*
 * For good; to be called while no loop exists, once RLIMIT_NOFILE is what it will be. Where
 * address space is short libev uses the heap.
 */
void loopmem_open(void);

#endif
