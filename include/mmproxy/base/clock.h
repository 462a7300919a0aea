/* SPDX-License-Identifier: BSD-2-Clause */
/* clock: monotonic time, which the wall clock's jumps do not change. */
#ifndef MMPROXY_BASE_CLOCK_H
#define MMPROXY_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Never 0 in practice: the clock starts at boot. */
static inline uint64_t clock_now_ms(void)
{
    return clock_now_us() / 1000;
}

#endif
