/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/exporter/history.h"

void history_add(struct history *history, const struct history_point *point)
{
    history->points[history->n % HISTORY_MAX] = *point;
    history->n++;
}

uint32_t history_length(const struct history *history)
{
    return history->n < HISTORY_MAX ? history->n : HISTORY_MAX;
}

const struct history_point *history_point(const struct history *history, uint32_t i)
{
    return &history->points[(history->n - history_length(history) + i) % HISTORY_MAX];
}
