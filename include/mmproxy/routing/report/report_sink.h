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

struct listener_config;

/* The result of the check of a target. */
struct report_verdict {
    const struct listener_config *listener;
    const struct addr *target;
    bool holds;
    bool is_reached; /* by a connection from a client's address */
    bool answers;    /* a connection of this host's own */
};

/* line is complete, without a newline and valid during the call only. The rest may be NULL. */
struct report_sink {
    void (*line)(void *context, enum log_level level, const char *line);
    /* Before anything else: is this target to be checked? */
    bool (*is_wanted)(void *context, const struct listener_config *listener,
                      const struct addr *target);
    /* When it has been checked: the lines that follow are about it. returns: are they wanted? */
    bool (*begin_target)(void *context, const struct report_verdict *verdict);
    /* The lines that follow are about none, and the verdict's pointers are not valid any more. */
    void (*end_target)(void *context);
    /* A client of that target whose connection failed of late is to be tried. returns: is there
     * one? */
    bool (*find_client)(void *context, const struct listener_config *listener,
                        const struct addr *target, struct addr *client);
    /* It fails still, although others do not. returns: are the lines about it wanted? */
    bool (*begin_client)(void *context, const struct report_verdict *verdict,
                         const struct addr *client);
    void *context;
    /*
     * NULL: nothing is remembered. Else a command is there once in all reports that share it, so
     * that all of them may be pasted into a shell as they are.
     */
    struct report_told *told;
    const char *prefix; /* in front of each command: of a namespace to run it in; NULL = none */
    const char *netns;  /* of that namespace: other lines name it */
};

/* For a caller that asks whether there is anything to tell. */
extern const struct report_sink report_sink_silent;

/* A line that begins with '[' is for people, any other is a command. */
void report_sink_line(const struct report_sink *sink, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What stands in front of a command within a line: "" or the prefix. */
const char *report_sink_prefix(const struct report_sink *sink);

/* A command on a line of its own, unless the report has it already. */
void report_sink_command(const struct report_sink *sink, const char *command);

/* The command was told in another way, or is not to be. */
void report_sink_remember(const struct report_sink *sink, const char *command);
bool report_sink_has_told(const struct report_sink *sink, const char *command);

/* How a line ends that n commands follow: "; this command mends it:". */
const char *report_mending(size_t n);

void report_told_close(struct report_told *told);

#endif
