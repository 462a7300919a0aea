/* SPDX-License-Identifier: BSD-2-Clause */
/* patience: how long tests wait, and what work costs, whatever the machine. */
#ifndef PATIENCE_H
#define PATIENCE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

enum {
    SUPPORT_DEADLINE_MS = 60 * 1000, /* for what should happen at once: ends a test that hangs */
    SUPPORT_HUNG_S = 240,            /* for alarm(2): the same for a whole program */
};

/* CPU time of this process: what else the machine does counts for little. */
static inline double support_cpu_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* work(8 * n) takes about eight times as long as work(n); 64 times would be its square. */
static inline void support_assert_linear(void (*work)(unsigned n), unsigned n)
{
    double start_s = support_cpu_s();
    work(n);
    double few_s = support_cpu_s() - start_s;
    start_s = support_cpu_s();
    work(8 * n);
    double many_s = support_cpu_s() - start_s;
    if (many_s > 32 * few_s)
        fail_msg("%u: %.4f s, %u: %.4f s", n, few_s, 8 * n, many_s);
}

#endif
