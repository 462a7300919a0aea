/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log_internal.h"

#define SYSLOG_SOCKET  "/dev/log"
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/*
 * A reader that takes one line now and then would see nothing but "lines were lost" if each
 * free place were used to say so.
 */
enum { TELL_LOST_EVERY_MS = 1000 };

static const struct log_config initial_config = { .target = LOG_TARGET_STDERR,
                                                  .level = LOG_LEVEL_INFO,
                                                  .format = LOG_FORMAT_TEXT };

static struct {
    struct log_config config; /* target is never auto */
    int fd;                   /* the datagram socket; -1 where the target is stderr */
} current = { .config = { .target = LOG_TARGET_STDERR, .level = LOG_LEVEL_INFO }, .fd = -1 };

/* owner: a forked process must not tell once more what its parent lost. */
static struct {
    pid_t owner;
    uint32_t lines;
    uint64_t told_ms; /* 0 = never */
} lost;

static const char *syslog_path = SYSLOG_SOCKET;
static const char *journal_path = JOURNAL_SOCKET;

void log_set_socket_paths(const char *syslog, const char *journal)
{
    syslog_path = syslog ? syslog : SYSLOG_SOCKET;
    journal_path = journal ? journal : JOURNAL_SOCKET;
}

static struct sockaddr_un socket_address(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return address;
}

static const char *path_of(enum log_target target)
{
    return target == LOG_TARGET_JOURNAL ? journal_path : syslog_path;
}

/*
 * syslog(3) and sd_journal_send(3) wait for a slow reader, and syslog(3) opens its socket anew
 * after a failure: a jailed worker can afford neither. So one socket without a peer, opened
 * here; each line names the path, and a daemon that was restarted is found again.
 */
static int open_datagram_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd >= 0 ? log_above_stdio(fd) : -errno;
}

/* Does a daemon listen there? returns: 0 or -errno. */
static int probe(int fd, const char *path)
{
    struct sockaddr_un address = socket_address(path);
    const struct sockaddr no_peer = { .sa_family = AF_UNSPEC };
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    return connect(fd, &no_peer, sizeof no_peer) < 0 ? -errno : 0;
}

static bool send_datagram(const char *bytes, size_t len)
{
    struct sockaddr_un address = socket_address(path_of(current.config.target));
    return sendto(current.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL,
                  (const struct sockaddr *)&address, sizeof address) == (ssize_t)len;
}

static size_t encode_line(char out[LOG_JSON_MAX], const struct log_record *record)
{
    return current.config.format == LOG_FORMAT_JSON ? log_encode_json(out, record)
                                                    : log_encode_text(out, record);
}

/* One line, one system call. */
static bool deliver(const struct log_record *record)
{
    char bytes[LOG_DATAGRAM_MAX];
    size_t len;

    switch (current.config.target) {
    case LOG_TARGET_JOURNAL:
        return send_datagram(bytes, log_encode_journal(bytes, record));
    case LOG_TARGET_SYSLOG:
        len = log_encode_syslog_header(bytes, record, getpid());
        len += encode_line(bytes + len, record);
        return send_datagram(bytes, len);
    case LOG_TARGET_STDERR:
    case LOG_TARGET_AUTO:
        break;
    }
    return log_stderr_write(bytes, encode_line(bytes, record));
}

static uint64_t monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void count_lost(void)
{
    pid_t self = getpid();
    if (lost.owner != self) {
        lost.owner = self;
        lost.lines = 0;
    }
    if (lost.lines < UINT32_MAX)
        lost.lines++;
}

/* returns: false where a line was due and no reader took it. */
static bool tell_lost(void)
{
    if (lost.lines == 0)
        return true;
    if (lost.owner != getpid()) {
        lost.lines = 0;
        return true;
    }
    uint64_t now_ms = monotonic_ms();
    if (lost.told_ms != 0 && now_ms - lost.told_ms < TELL_LOST_EVERY_MS)
        return true;

    char message[64];
    snprintf(message, sizeof message, "[!] %u log %s lost", (unsigned)lost.lines,
             lost.lines == 1 ? "line was" : "lines were");
    const struct log_field fields[] = { LOG_TEXT("event", "lost"), LOG_NUMBER("lost", lost.lines) };
    struct log_record record = { .level = LOG_LEVEL_WARNING,
                                 .message = message,
                                 .fields = fields,
                                 .n_fields = sizeof fields / sizeof fields[0] };
    clock_gettime(CLOCK_REALTIME, &record.time);
    if (!deliver(&record))
        return false;
    lost.lines = 0;
    lost.told_ms = now_ms;
    return true;
}

static bool write_record(const struct log_record *record)
{
    if (tell_lost() && deliver(record))
        return true;
    count_lost();
    return false;
}

static void copy_to_stderr(const struct log_record *record)
{
    char line[LOG_LINE_MAX];
    log_stderr_write(line, log_encode_text(line, record));
}

/*
 * Under systemd stderr ends up where journal and syslog do, as journald owns /dev/log: a
 * second copy of what has arrived would only be noise.
 */
static void write_report(const struct log_record *record)
{
    bool is_written = write_record(record);
    if (current.config.target == LOG_TARGET_STDERR || (is_written && log_stderr_is_journal()))
        return;
    copy_to_stderr(record);
}

static void write_anywhere(const struct log_record *record, bool is_report)
{
    if (is_report)
        write_report(record);
    else
        write_record(record);
}

static void write_held(void)
{
    struct log_held *next;

    for (struct log_held *held = log_hold_end(); held; held = next) {
        struct log_field field = LOG_TEXT("event", held->event);
        struct log_record record = { .level = held->level,
                                     .time = held->time,
                                     .message = held->message,
                                     .fields = &field,
                                     .n_fields = held->event ? 1 : 0 };
        if (log_enabled(held->level))
            write_anywhere(&record, held->is_report);
        next = held->next;
        free(held);
    }
}

static void write_line(struct log_record *record, bool is_report, const char *format,
                       va_list arguments) __attribute__((format(printf, 3, 0)));

static void write_line(struct log_record *record, bool is_report, const char *format,
                       va_list arguments)
{
    int saved_errno = errno;
    /* Longer than any line: what is cut here is cut again, between characters, when encoded. */
    char message[LOG_LINE_MAX + 8];

    if (!log_enabled(record->level))
        return;
    if (vsnprintf(message, sizeof message, format, arguments) < 0)
        message[0] = '\0';
    record->message = message;
    clock_gettime(CLOCK_REALTIME, &record->time);
    if (!log_hold_takes(record, is_report)) {
        write_held(); /* of which this one is to come after */
        write_anywhere(record, is_report);
    }
    errno = saved_errno;
}

/*
 * auto: the journal when our stderr is its stream, and when it takes structured lines, which a
 * unit with a root directory of its own may have cut it off from; else stderr.
 */
static enum log_target resolve_auto(void)
{
    if (!log_stderr_is_journal())
        return LOG_TARGET_STDERR;
    int fd = open_datagram_socket();
    if (fd < 0)
        return LOG_TARGET_STDERR;
    int result = probe(fd, journal_path);
    close(fd);
    return result == 0 ? LOG_TARGET_JOURNAL : LOG_TARGET_STDERR;
}

/* A daemon that is not there yet is no reason not to serve: it is found when it comes. */
static void warn_if_unreachable(void)
{
    const char *path = path_of(current.config.target);
    int result = probe(current.fd, path);
    if (result == 0)
        return;

    char message[256];
    snprintf(message, sizeof message, "[!] %s: %s: log lines are lost until it is there", path,
             strerror(-result));
    struct log_record record = { .level = LOG_LEVEL_WARNING, .message = message };
    copy_to_stderr(&record);
}

static void close_target(void)
{
    if (current.fd >= 0)
        close(current.fd);
    current.fd = -1;
}

int log_open(const struct log_config *config)
{
    /* From here on nothing opens a file: not the first line to stderr, and not localtime_r and
     * gmtime_r, which read the time zone where that has not been done yet. */
    log_stderr_capture();
    tzset();

    struct log_config next = *config;
    int fd = -1;
    if (next.target == LOG_TARGET_AUTO)
        next.target = resolve_auto();
    if (next.target != LOG_TARGET_STDERR) {
        fd = open_datagram_socket();
        if (fd < 0)
            return fd;
    }
    close_target();
    current.config = next;
    current.fd = fd;
    if (fd >= 0)
        warn_if_unreachable();
    write_held();
    return 0;
}

void log_descriptors(int out[2])
{
    out[0] = log_stderr_descriptor();
    out[1] = current.fd;
}

void log_close(void)
{
    write_held();
    close_target();
    current.config = initial_config;
    lost.lines = 0;
    lost.told_ms = 0;
}

bool log_enabled(enum log_level level)
{
    return level <= current.config.level;
}

bool log_has_fields(void)
{
    return current.config.target == LOG_TARGET_JOURNAL || current.config.format == LOG_FORMAT_JSON;
}

__attribute__((format(printf, 4, 0))) static void write_event(enum log_level level,
                                                              const char *event, bool is_report,
                                                              const char *format, va_list arguments)
{
    struct log_field field = LOG_TEXT("event", event);
    struct log_record record = { .level = level, .fields = &field, .n_fields = event ? 1 : 0 };

    write_line(&record, is_report, format, arguments);
}

void log_error(const char *event, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_event(LOG_LEVEL_ERROR, event, false, format, arguments);
    va_end(arguments);
}

void log_warning(const char *event, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_event(LOG_LEVEL_WARNING, event, false, format, arguments);
    va_end(arguments);
}

void log_notice(const char *event, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_event(LOG_LEVEL_NOTICE, event, false, format, arguments);
    va_end(arguments);
}

void log_info(const char *event, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_event(LOG_LEVEL_INFO, event, false, format, arguments);
    va_end(arguments);
}

void log_debug(const char *event, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_event(LOG_LEVEL_DEBUG, event, false, format, arguments);
    va_end(arguments);
}

void log_event(enum log_level level, const struct log_field *fields, size_t n_fields,
               const char *format, ...)
{
    struct log_record record = { .level = level, .fields = fields, .n_fields = n_fields };
    va_list arguments;
    va_start(arguments, format);
    write_line(&record, false, format, arguments);
    va_end(arguments);
}

void log_report(enum log_level level, const char *event, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_event(level, event, true, format, arguments);
    va_end(arguments);
}

void log_report_event(enum log_level level, const struct log_field *fields, size_t n_fields,
                      const char *format, ...)
{
    struct log_record record = { .level = level, .fields = fields, .n_fields = n_fields };
    va_list arguments;
    va_start(arguments, format);
    write_line(&record, true, format, arguments);
    va_end(arguments);
}
