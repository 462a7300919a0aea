/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/loopmem.h"

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum {
    BLOCKS = 24,                /* a loop has about fifteen arrays, most of which stay empty */
    ENTRY_SIZE = 16,            /* of the largest entry in any of them */
    SLACK = 64 * 1024,          /* libev rounds up */
    MOST_DESCRIPTORS = 1 << 20, /* beyond that the heap has to do */
    LEAST_DESCRIPTORS = 1 << 10,
};

static struct {
    uint8_t *start;
    size_t block_size;
    bool is_used[BLOCKS];
} arena;

static size_t descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > MOST_DESCRIPTORS)
        return MOST_DESCRIPTORS;
    return limit.rlim_cur < LEAST_DESCRIPTORS ? LEAST_DESCRIPTORS : (size_t)limit.rlim_cur;
}

static bool is_block(const void *memory)
{
    const uint8_t *byte = memory;

    return byte && byte >= arena.start && byte < arena.start + BLOCKS * arena.block_size;
}

static void *take_block(void)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        if (!arena.is_used[i]) {
            arena.is_used[i] = true;
            return arena.start + i * arena.block_size;
        }
    }
    return NULL;
}

static void release(void *memory)
{
    if (is_block(memory))
        arena.is_used[(size_t)((uint8_t *)memory - arena.start) / arena.block_size] = false;
    else
        free(memory);
}

static void *move_to_heap(void *block, size_t size)
{
    void *memory = malloc(size);

    if (memory) {
        memcpy(memory, block, arena.block_size);
        release(block);
    }
    return memory;
}

/* As realloc(3), but size 0 frees. */
static void *resize(void *memory, long wanted)
{
    size_t size = (size_t)wanted;

    if (size == 0) {
        release(memory);
        return NULL;
    }
    if (is_block(memory))
        return size <= arena.block_size ? memory : move_to_heap(memory, size);
    if (!memory && size <= arena.block_size && (memory = take_block()))
        return memory;
    return realloc(memory, size);
}

void loopmem_open(void)
{
    for (size_t n = descriptors(); n >= LEAST_DESCRIPTORS; n /= 2) {
        /* Arrays grow by doubling. */
        size_t size = 2 * n * ENTRY_SIZE + SLACK;
        void *start = mmap(NULL, BLOCKS * size, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (start == MAP_FAILED)
            continue;
        arena.start = start;
        arena.block_size = size;
        ev_set_allocator(resize);
        return;
    }
}
