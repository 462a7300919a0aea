/* SPDX-License-Identifier: BSD-2-Clause */
/* report_sink: where the lines of a routing report go; the caller decides: log, stderr, a test. */
#ifndef MMPROXY_ROUTING_REPORT_REPORT_SINK_H
#define MMPROXY_ROUTING_REPORT_REPORT_SINK_H

#include <stdbool.h>

#include "mmproxy/base/addr.h"
#include "mmproxy/base/log.h"

/* line is complete, without a newline and valid during the call only. */
struct report_sink {
    void (*line)(void *context, enum log_level level, const char *line);
    /* What a check of a target came to, behind its lines; NULL where nobody wants to know. */
    void (*verdict)(void *context, const struct addr *target, bool holds);
    void *context;
};

void report_sink_line(const struct report_sink *sink, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
