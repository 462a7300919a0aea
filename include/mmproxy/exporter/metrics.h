/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * metrics: the figures as text, OpenMetrics 1.0 or Prometheus text 0.0.4, and as JSON for the page.
 * No I/O. A text is made in pieces, one listener at a time, so that it costs no memory however many
 * there are.
 *
 * docs/metrics.md describes every metric and the JSON document.
 *
 * spec: https://prometheus.io/docs/specs/om/open_metrics_spec/
 * spec: https://prometheus.io/docs/instrumenting/exposition_formats/
 */
#ifndef MMPROXY_EXPORTER_METRICS_H
#define MMPROXY_EXPORTER_METRICS_H

#include <stdint.h>

#include "mmproxy/exporter/board.h"
#include "mmproxy/exporter/history.h"
#include "mmproxy/worker/counters.h"

enum metrics_format { METRICS_TEXT, METRICS_OPENMETRICS, METRICS_JSON };

/* No piece is longer. */
enum { METRICS_PIECE_MAX = 8192 };

/* Where the figures come from. */
struct metrics_source {
    const struct board *board;
    const struct history *history;
    void (*sum)(const void *context, unsigned number, struct counters_sums *out);
    const void *context;
    uint32_t descriptors_used; /* of the worker that has most */
    int64_t now_s;             /* wall clock, for JSON */
};

/* Where a text is. All zero but for the format: at its beginning. */
struct metrics_cursor {
    enum metrics_format format;
    unsigned part;     /* a family of metrics, or a part of the document */
    size_t listener;   /* of that part */
    bool is_under_way; /* the part has begun */
};

/* Writes the next piece. returns: its length; 0: there is none, the text is whole. */
size_t metrics_next(struct metrics_cursor *cursor, const struct metrics_source *source,
                    char out[METRICS_PIECE_MAX]);

/* The value of Content-Type. */
const char *metrics_content_type(enum metrics_format format);

/* The format that this value of Accept asks for: METRICS_TEXT or METRICS_OPENMETRICS. Takes NULL.
 */
enum metrics_format metrics_accepted(const char *accept);

#endif
