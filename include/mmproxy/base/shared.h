/* SPDX-License-Identifier: BSD-2-Clause */
/* shared: memory that a process has in common with those that it forks. */
#ifndef MMPROXY_BASE_SHARED_H
#define MMPROXY_BASE_SHARED_H

#include <stddef.h>

/*
 * size bytes of zeros: address space, of which the system gives memory as it is used. The caller
 * owns them. returns: NULL when memory is short.
 */
void *shared_new(size_t size);
void shared_free(void *memory, size_t size);

/* Makes a part of it zero again, for everybody, and gives the system its whole pages back. */
void shared_clear(void *memory, size_t size);

/*
 * This process may write nothing in it from now on but a part, which begins at a page of at least
 * 4096 bytes; where pages are larger, what lies beside it on the same ones stays writable too.
 * returns: 0 or -errno.
 */
int shared_own(void *memory, size_t size, void *part, size_t part_size);

#endif
