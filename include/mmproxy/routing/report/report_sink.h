/* SPDX-License-Identifier: BSD-2-Clause */
/* report_sink: where the lines of a routing report go; the caller decides: log, stderr, a test. */
#ifndef MMPROXY_ROUTING_REPORT_REPORT_SINK_H
#define MMPROXY_ROUTING_REPORT_REPORT_SINK_H

#include <stdbool.h>
#include <stddef.h>

#include "mmproxy/base/addr.h"
#include "mmproxy/base/log.h"

/* The commands that a report has had so far. All zero is none. */
struct report_told {
    char **commands; /* owned */
    size_t n_commands;
};

/* line is complete, without a newline and valid during the call only. */
struct report_sink {
    void (*line)(void *context, enum log_level level, const char *line);
    /* What a check of a target came to, behind its lines; NULL where nobody wants to know. */
    void (*verdict)(void *context, const struct addr *target, bool holds);
    void *context;
    /*
     * NULL: nothing is remembered. Else a command is there once in all reports that share it, so
     * that all of them may be pasted into a shell as they are.
     */
    struct report_told *told;
};

void report_sink_line(const struct report_sink *sink, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A command on a line of its own, unless it has been told. */
void report_sink_command(const struct report_sink *sink, const char *command);

/* The command was told in another way, or is not to be. */
void report_sink_remember(const struct report_sink *sink, const char *command);
bool report_sink_has_told(const struct report_sink *sink, const char *command);

/* How a line ends that n commands follow: "; this command mends it:". */
const char *report_mending(size_t n);

void report_told_close(struct report_told *told);

#endif
