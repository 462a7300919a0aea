/* SPDX-License-Identifier: BSD-2-Clause */
/* log's own parts: only for src/base/log*.c and their unit tests. */
#ifndef MMPROXY_BASE_LOG_INTERNAL_H
#define MMPROXY_BASE_LOG_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include "mmproxy/base/log.h"

enum {
    LOG_LINE_MAX = 2048,    /* bytes of a line of text, its newline included */
    LOG_JSON_MAX = 4096,    /* the same of JSON; a pipe takes that much whole or not at all */
    LOG_FIELDS_MAX = 3072,  /* bytes of it that fields may take */
    LOG_JSON_MESSAGE = 512, /* bytes that are the message's at least; more up to LOG_LINE_MAX */
    LOG_VALUE_MAX = 256,    /* bytes of one escaped text value */
    LOG_KEY_MAX = 32,       /* bytes of a field's key */
    LOG_HEADER_MAX = 64,    /* bytes of syslog's "<PRI>Mmm dd hh:mm:ss mmproxy[pid]: " */
    LOG_DATAGRAM_MAX = 8192,
};

/* One line on its way, before a target and a format gave it its shape. */
struct log_record {
    enum log_level level;
    struct timespec time; /* CLOCK_REALTIME */
    const char *message;  /* unescaped, any bytes */
    const struct log_field *fields;
    size_t n_fields;
};

/*
 * log_encode: from record to bytes, without newline or NUL behind them. Pure but for the time
 * zone that log_encode_syslog_header reads. All return the length.
 *
 * Well-formed UTF-8 stays as it is. As text, control characters and bytes that are no UTF-8
 * become \xNN; as JSON, control characters become \u00NN and a byte that is no UTF-8 becomes
 * U+FFFD. A cut text ends in "...". A field that no longer fits is left out whole.
 */
size_t log_encode_text(char out[LOG_LINE_MAX], const struct log_record *record);
size_t log_encode_json(char out[LOG_JSON_MAX], const struct log_record *record);
size_t log_encode_syslog_header(char out[LOG_HEADER_MAX], const struct log_record *record,
                                pid_t pid);
size_t log_encode_journal(char out[LOG_DATAGRAM_MAX], const struct log_record *record);

/*
 * log_stderr: standard error that never blocks. It is looked at once in a process's life, by
 * the first of these calls; the others open nothing.
 */
void log_stderr_capture(void);

/* Is it the stream that systemd connected to the journal (JOURNAL_STREAM)? */
bool log_stderr_is_journal(void);

/* The descriptor that lines go to; -1 where it has not been looked for yet, or there is none. */
int log_stderr_descriptor(void);

/* Writes a line of less than LOG_JSON_MAX bytes and its newline. returns: whether all of it
 * was taken. */
bool log_stderr_write(const char *line, size_t len);

/* For tests only: forgets it, so that the next call looks at descriptor 2 anew. */
void log_stderr_release(void);

/*
 * Moves a new descriptor out of 0 to 2, where other code would take it for a standard stream.
 * returns: the descriptor to use, or -errno. owns: fd, which is closed on failure.
 */
int log_above_stdio(int fd);

/* For tests only: other sockets than the system's; NULL for the system's. Before log_open. */
void log_set_socket_paths(const char *syslog, const char *journal);

/* A line that log_hold keeps back. */
struct log_held {
    struct log_held *next;
    enum log_level level;
    bool is_report;
    struct timespec time;
    const char *event; /* NULL = none */
    char message[];
};

/* Keeps the line if lines are kept back. returns: did it? */
bool log_hold_takes(const struct log_record *record, bool is_report);

/* The lines kept back, in order, each to be freed; nothing is kept back from now on. */
struct log_held *log_hold_end(void);

#endif
