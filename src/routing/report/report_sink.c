/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/report_sink.h"

#include <stdarg.h>
#include <stdio.h>

void report_sink_line(const struct report_sink *sink, enum log_level level, const char *format, ...)
{
    char line[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    sink->line(sink->context, level, line);
}
