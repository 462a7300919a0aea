/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/base/shared.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* No program can be run from it; the supervisor's jail demands that. Linux 6.3. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* A file in memory: where vm.overcommit_memory is 2, only its pages in use are accounted for. */
static int open_file(void)
{
    int fd = memfd_create("mmproxy", MFD_CLOEXEC | MFD_NOEXEC_SEAL);

    return fd >= 0 ? fd : memfd_create("mmproxy", MFD_CLOEXEC);
}

void *shared_new_file(size_t size, int *fd)
{
    int flags = MAP_SHARED;

    *fd = open_file();
    if (*fd < 0)
        flags |= MAP_ANONYMOUS | MAP_NORESERVE; /* an older kernel, in the jail */

    void *memory = MAP_FAILED;
    if (*fd < 0 || ftruncate(*fd, (off_t)size) == 0)
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, *fd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void *shared_new(size_t size)
{
    int fd;
    void *memory = shared_new_file(size, &fd);

    if (fd >= 0)
        close(fd);
    return memory;
}

void *shared_map(int fd, size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (memory == MAP_FAILED)
        memory = NULL;
    return memory;
}

void shared_free(void *memory, size_t size)
{
    if (memory)
        munmap(memory, size);
}

size_t shared_whole_pages(size_t size)
{
    size_t page = page_size();

    return (size + page - 1) / page * page;
}

void shared_clear(void *memory, size_t size)
{
    size_t page = page_size();
    /* The kernel rounds up: what lies behind would be lost as well. */
    bool is_whole = (uintptr_t)memory % page == 0 && size % page == 0;

    if (!is_whole || madvise(memory, size, MADV_REMOVE) < 0)
        memset(memory, 0, size);
}

int shared_own(void *memory, size_t size, void *part, size_t part_size)
{
    if (mprotect(memory, size, PROT_READ) < 0 ||
        mprotect(part, part_size, PROT_READ | PROT_WRITE) < 0)
        return -errno;
    return 0;
}
