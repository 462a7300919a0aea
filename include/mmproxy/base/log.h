/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log: one line per event to stderr, syslog or the journal, as text or as JSON.
 *
 * No call blocks, allocates or opens anything once log_open has returned, so a jailed worker
 * may log; a line that the reader does not take at once is dropped, counted and told later.
 * A process forked after log_open logs to the same place. Writing a line leaves errno as it was.
 *
 * Not for signal handlers or several threads. SIGPIPE is to be ignored: stderr may be a pipe
 * whose reader has gone. Descriptor 2 is looked at once, by the first call: until then it is
 * stderr, or nothing, or /dev/null, but nothing else that took its number.
 */
#ifndef MMPROXY_BASE_LOG_H
#define MMPROXY_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};
enum log_target { LOG_TARGET_AUTO, LOG_TARGET_STDERR, LOG_TARGET_SYSLOG, LOG_TARGET_JOURNAL };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_config {
    enum log_target target;
    enum log_level level; /* this one and the more severe ones are written */
    enum log_format format;
};

/*
 * A fact about the event besides its message: key in snake_case, value either text or, where
 * text is NULL, the number. JSON has it as KEY, the journal as MMPROXY_KEY in capitals; docs
 * name them all (docs/logging.md).
 */
struct log_field {
    const char *key;
    const char *text;
    size_t len; /* of text that is written whole, with any byte in it; 0: it ends at its NUL */
    int64_t number;
    bool is_flag; /* the number means true or false */
};

enum { LOG_BYTES_MAX = 256 }; /* of the text of LOG_BYTES, before it is escaped */

#define LOG_TEXT(k, t)   ((struct log_field){ .key = (k), .text = (t) })
#define LOG_NUMBER(k, n) ((struct log_field){ .key = (k), .number = (n) })
#define LOG_FLAG(k, b)   ((struct log_field){ .key = (k), .number = (b), .is_flag = true })

/* n bytes, 1 to LOG_BYTES_MAX, and a NUL behind them. */
#define LOG_BYTES(k, t, n) ((struct log_field){ .key = (k), .text = (t), .len = (n) })

/*
 * Opens the target; before the first call lines go to stderr as text at level info. May be
 * called again (reload): what the old target held open is closed. A syslog daemon or journal
 * that is not there is no error: stderr says so, and lines are lost until it comes.
 * returns: 0, or -errno with the old target still in place.
 * owns: up to two descriptors above 2, closed on exec: one for stderr, one for the target.
 */
int log_open(const struct log_config *config);

/*
 * Keeps lines back that are no errors, until it is known how they are to be written: log_open
 * writes them as configured; an error, which may be the end, and log_close write them as before.
 * For this process alone, not for those it forks; allocates.
 */
void log_hold(void);

/*
 * The descriptors that it owns, for a jail that wants to know them: out[0] is stderr's, out[1]
 * the target's; -1 where there is none.
 */
void log_descriptors(int out[2]);

/* Back to stderr, text, level info. */
void log_close(void);

/* Would a line of this level be written? For callers whose arguments are costly to make. */
bool log_enabled(enum log_level level);

/* Are fields written at all? Text to stderr or syslog has none. */
bool log_has_fields(void);

/* event: the fact of that name (docs/logging.md), NULL for none. */
void log_error(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_warning(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_notice(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_info(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_debug(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * The same with facts; fields may be NULL where n_fields is 0. Control characters in message
 * and values are escaped. A line of text is cut at 2,048 bytes and one of JSON at 4,096, its
 * message first; a value at 256, but for those of LOG_BYTES. A field that does not fit is left out.
 */
void log_event(enum log_level level, const struct log_field *fields, size_t n_fields,
               const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * Startup advice and reports: to the log, and to stderr as well, as plain text, where the
 * log goes elsewhere (once where stderr leads to the same journal). The level counts for both.
 * Not for processes that serve.
 */
void log_report(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void log_report_event(enum log_level level, const struct log_field *fields, size_t n_fields,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * A token bucket for the lines that any peer or client can cause: 20 lines at once, then 2 a
 * second. One per cause and process; all zero is a full bucket.
 */
struct log_limit {
    uint64_t updated_ms; /* monotonic; 0 = never used */
    uint32_t tokens;     /* thousandths of a line */
    uint32_t held_back;  /* since log_limit_take_held_back */
};

/*
 * May one more line be written? Counts it as held back otherwise.
 * now_ms: monotonic milliseconds, never 0.
 */
bool log_limit_pass(struct log_limit *limit, uint64_t now_ms);

/* Lines held back since the last call, which it resets: the caller tells them in one line. */
uint32_t log_limit_take_held_back(struct log_limit *limit);

#endif
