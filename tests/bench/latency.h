/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * latency: a histogram of durations in constant memory. Buckets are 1/64 of a power of two
 * wide, so a percentile is at most 1.6 % too high.
 */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

enum { LATENCY_BUCKETS = 64 * 59 };

struct latency {
    uint64_t n;
    uint32_t buckets[LATENCY_BUCKETS];
};

void latency_reset(struct latency *latency);

void latency_add(struct latency *latency, uint64_t ns);

/* returns: ns that this share (0 to 1) of the durations did not exceed; 0 where there are none. */
uint64_t latency_percentile(const struct latency *latency, double share);

#endif
