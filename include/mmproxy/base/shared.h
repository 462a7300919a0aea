/* SPDX-License-Identifier: BSD-2-Clause */
/* shared: memory that a process has in common with those that it forks. */
#ifndef MMPROXY_BASE_SHARED_H
#define MMPROXY_BASE_SHARED_H

#include <stddef.h>

/*
 * size bytes of zeros. This takes address space only: a page takes memory when it is first used.
 * The caller owns them. returns: NULL when memory is short.
 */
void *shared_new(size_t size);

/*
 * The same, with a descriptor from which others can map it: *fd is the caller's too, and -1 where
 * the kernel has none.
 */
void *shared_new_file(size_t size, int *fd);
void shared_free(void *memory, size_t size);

/* Maps what another process has shared. returns: NULL when memory is short. */
void *shared_map(int fd, size_t size);

/* The size rounded up to whole pages of this machine. */
size_t shared_whole_pages(size_t size);

/* Makes a part of it zero again, for all processes. Its whole pages no longer take memory. */
void shared_clear(void *memory, size_t size);

/*
 * From now on this process can write nothing in it but one part, which must begin at a page and
 * have whole pages. returns: 0 or -errno.
 */
int shared_own(void *memory, size_t size, void *part, size_t part_size);

#endif
