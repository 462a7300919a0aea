/* SPDX-License-Identifier: BSD-2-Clause */
/* report: where the lines of a routing report go; the caller decides: log, stderr, a test. */
#ifndef MMPROXY_ROUTING_REPORT_H
#define MMPROXY_ROUTING_REPORT_H

#include "mmproxy/base/log.h"

/* line is complete, without a newline and valid during the call only. */
struct report_sink {
    void (*line)(void *context, enum log_level level, const char *line);
    void *context;
};

void report_line(const struct report_sink *sink, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
