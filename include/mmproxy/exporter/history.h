/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * history: the sums of all listeners over the last minutes, for the page's chart. In memory that
 * outlives an exporter: the next one continues it.
 */
#ifndef MMPROXY_EXPORTER_HISTORY_H
#define MMPROXY_EXPORTER_HISTORY_H

#include <stdint.h>

enum { HISTORY_MAX = 61, HISTORY_STEP_S = 5 };

/* One moment. */
struct history_point {
    int64_t at_s; /* wall clock */
    uint64_t sessions;
    uint64_t connections; /* this and the rest: totals that only grow */
    uint64_t refused;
    uint64_t bytes_in;
    uint64_t bytes_out;
};

struct history {
    uint32_t n; /* ever taken; the last HISTORY_MAX are there */
    struct history_point points[HISTORY_MAX];
};

void history_add(struct history *history, const struct history_point *point);

/* How many there are, and the i-th of them: 0 is the oldest. */
uint32_t history_length(const struct history *history);
const struct history_point *history_point(const struct history *history, uint32_t i);

#endif
