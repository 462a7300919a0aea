/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines to stderr: a terminal, a pipe, a file or a socket, without ever waiting for its reader. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log_internal.h"

enum kind {
    KIND_UNKNOWN, /* it has not been looked at yet */
    KIND_NONE,    /* it was closed when we looked: whatever has its number now is not stderr */
    KIND_SOCKET,
    KIND_DIRECT, /* write(2) never waits: a regular file, or a description of our own */
    KIND_POLLED, /* write(2) may wait: ask first */
};

/*
 * fd is not 2 but another descriptor of the same thing, so that code that replaces or closes
 * 2 redirects us. torn: the last line went out in part; its rest must not join the next one.
 */
static struct {
    enum kind kind;
    int fd;
    bool is_torn;
    bool is_journal;
} sink = { .kind = KIND_UNKNOWN, .fd = -1 };

int log_above_stdio(int fd)
{
    if (fd > STDERR_FILENO)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int error = errno;
    close(fd);
    return moved >= 0 ? moved : -error;
}

/* JOURNAL_STREAM is "device:inode" in decimal; see systemd.exec(5). */
static bool is_journal_stream(const struct stat *st)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char expected[64];
    if (!stream)
        return false;
    snprintf(expected, sizeof expected, "%ju:%ju", (uintmax_t)st->st_dev, (uintmax_t)st->st_ino);
    return strcmp(stream, expected) == 0;
}

/*
 * A pipe or terminal makes us wait when its reader does. O_NONBLOCK on the description that we
 * inherited would change it for the shell and every other process that shares it, so open another
 * one. returns: a descriptor or -1 (no /proc, not our pipe, no reader, ...).
 */
static int reopen_without_blocking(const struct stat *original)
{
    /* O_NOCTTY: a session leader without a terminal would get this one as its own. */
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0 || st.st_dev != original->st_dev || st.st_ino != original->st_ino) {
        close(fd);
        return -1;
    }
    fd = log_above_stdio(fd);
    return fd >= 0 ? fd : -1;
}

void log_stderr_capture(void)
{
    struct stat st;
    if (sink.kind != KIND_UNKNOWN)
        return;
    if (fstat(STDERR_FILENO, &st) < 0) {
        sink.kind = KIND_NONE;
        return;
    }
    sink.is_journal = is_journal_stream(&st);

    if (S_ISFIFO(st.st_mode) || isatty(STDERR_FILENO)) {
        sink.fd = reopen_without_blocking(&st);
        if (sink.fd >= 0) {
            sink.kind = KIND_DIRECT;
            return;
        }
    }
    /* A regular file keeps its description: a second one would have an offset of its own, and
     * others who write to 2 would overwrite our lines. */
    sink.kind = S_ISSOCK(st.st_mode)  ? KIND_SOCKET
                : S_ISREG(st.st_mode) ? KIND_DIRECT
                                      : KIND_POLLED;
    sink.fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (sink.fd < 0)
        sink.fd = STDERR_FILENO; /* out of descriptors */
}

int log_stderr_descriptor(void)
{
    return sink.fd;
}

bool log_stderr_is_journal(void)
{
    log_stderr_capture();
    return sink.is_journal;
}

/* A write to a pipe without a reader raises SIGPIPE, and nothing at the call can prevent that:
 * main ignores the signal. */
static ssize_t write_once(const char *bytes, size_t len)
{
    struct pollfd writable = { .fd = sink.fd, .events = POLLOUT };

    switch (sink.kind) {
    case KIND_SOCKET:
        return send(sink.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    case KIND_POLLED:
        /* A pipe that says POLLOUT has room for PIPE_BUF bytes, more than a line. Another
         * process may be faster and fill it: without a description of our own that is the
         * best there is. */
        if (poll(&writable, 1, 0) != 1 || (writable.revents & POLLOUT) == 0)
            return -1;
        return write(sink.fd, bytes, len);
    case KIND_DIRECT:
        return write(sink.fd, bytes, len);
    case KIND_NONE:
    case KIND_UNKNOWN:
        break;
    }
    return -1;
}

bool log_stderr_write(const char *line, size_t len)
{
    char bytes[1 + LOG_JSON_MAX];
    size_t total = 0;

    log_stderr_capture();
    if (sink.is_torn)
        bytes[total++] = '\n';
    memcpy(bytes + total, line, len);
    total += len;
    bytes[total++] = '\n';

    ssize_t written = write_once(bytes, total);
    if (written > 0)
        sink.is_torn = (size_t)written < total;
    return written == (ssize_t)total;
}

void log_stderr_release(void)
{
    if (sink.fd > STDERR_FILENO)
        close(sink.fd);
    sink.kind = KIND_UNKNOWN;
    sink.fd = -1;
    sink.is_torn = false;
    sink.is_journal = false;
}
