/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/report_sink.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPORT_LINE_MAX = 2048 };

static void ignore(void *context, enum log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

const struct report_sink report_sink_silent = { .line = ignore };

const char *report_sink_prefix(const struct report_sink *sink)
{
    return sink->prefix ? sink->prefix : "";
}

void report_sink_line(const struct report_sink *sink, enum log_level level, const char *format, ...)
{
    char line[REPORT_LINE_MAX];
    char prefixed[2 * REPORT_LINE_MAX];
    bool is_comment;
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (!sink->prefix) {
        sink->line(sink->context, level, line);
        return;
    }
    is_comment = strncmp(line, "# ", 2) == 0;
    if (line[0] == '[')
        snprintf(prefixed, sizeof prefixed, "%s (netns \"%.255s\")", line, sink->netns);
    else
        snprintf(prefixed, sizeof prefixed, "%s%.1024s%s", is_comment ? "# " : "", sink->prefix,
                 is_comment ? line + 2 : line);
    sink->line(sink->context, level, prefixed);
}

bool report_sink_has_told(const struct report_sink *sink, const char *command)
{
    for (size_t i = 0; sink->told && i < sink->told->n_commands; i++) {
        if (strcmp(sink->told->commands[i], command) == 0)
            return true;
    }
    return false;
}

void report_sink_remember(const struct report_sink *sink, const char *command)
{
    struct report_told *told = sink->told;
    char **commands;
    char *copy;

    if (!told || report_sink_has_told(sink, command))
        return;
    commands = reallocarray(told->commands, told->n_commands + 1, sizeof *commands);
    if (!commands)
        return; /* it may be there twice then */
    told->commands = commands;
    copy = strdup(command);
    if (copy)
        told->commands[told->n_commands++] = copy;
}

void report_sink_command(const struct report_sink *sink, const char *command)
{
    if (report_sink_has_told(sink, command))
        return;
    report_sink_line(sink, LOG_LEVEL_WARNING, "%s", command);
    report_sink_remember(sink, command);
}

const char *report_mending(size_t n)
{
    if (n == 0)
        return "";
    return n == 1 ? "; this command mends it:" : "; these commands mend it, in this order:";
}

void report_told_close(struct report_told *told)
{
    for (size_t i = 0; i < told->n_commands; i++)
        free(told->commands[i]);
    free(told->commands);
    *told = (struct report_told){ 0 };
}
