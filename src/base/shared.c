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

void *shared_new(size_t size)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return NULL;
    return memory;
}

void shared_free(void *memory, size_t size)
{
    if (memory)
        munmap(memory, size);
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
    size_t page = page_size();
    uint8_t *start = (uint8_t *)part - (uintptr_t)part % page;
    size_t n_bytes = (size_t)((uint8_t *)part - start) + part_size;

    if (mprotect(memory, size, PROT_READ) < 0 ||
        mprotect(start, n_bytes, PROT_READ | PROT_WRITE) < 0)
        return -errno;
    return 0;
}
