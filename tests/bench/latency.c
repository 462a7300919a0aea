/* SPDX-License-Identifier: BSD-2-Clause */
#include "latency.h"

#include <string.h>

enum { STEPS_BITS = 6, STEPS = 1 << STEPS_BITS };

void latency_reset(struct latency *latency)
{
    memset(latency, 0, sizeof *latency);
}

/* Below 64 a bucket is one ns; from there on the seven leading bits choose it. */
static unsigned bucket_of(uint64_t ns)
{
    if (ns < STEPS)
        return (unsigned)ns;
    unsigned shift = 63 - STEPS_BITS - (unsigned)__builtin_clzll(ns);
    return (shift + 1) * STEPS + (unsigned)((ns >> shift) - STEPS);
}

static uint64_t highest_in(unsigned bucket)
{
    if (bucket < STEPS)
        return bucket;
    unsigned shift = bucket / STEPS - 1;
    return ((uint64_t)(STEPS + bucket % STEPS + 1) << shift) - 1;
}

void latency_add(struct latency *latency, uint64_t ns)
{
    latency->n++;
    latency->buckets[bucket_of(ns)]++;
}

uint64_t latency_percentile(const struct latency *latency, double share)
{
    uint64_t below = (uint64_t)((double)latency->n * share);
    uint64_t seen = 0;

    for (unsigned i = 0; i < LATENCY_BUCKETS && latency->n > 0; i++) {
        seen += latency->buckets[i];
        if (seen > below || seen == latency->n)
            return highest_in(i);
    }
    return 0;
}
