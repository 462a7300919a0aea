/* SPDX-License-Identifier: BSD-2-Clause */
/* metrics_json: the document behind the page; docs/metrics.md describes it. */
#ifndef EXPORTER_METRICS_JSON_H
#define EXPORTER_METRICS_JSON_H

#include "mmproxy/exporter/metrics.h"

/* As metrics_next. */
size_t metrics_json_next(struct metrics_cursor *cursor, const struct metrics_source *source,
                         char *out);

#endif
