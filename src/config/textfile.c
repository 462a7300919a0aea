/* SPDX-License-Identifier: BSD-2-Clause */
#include "textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *reason_of(int error)
{
    const char *reason = strerrordesc_np(error);

    return reason ? reason : "unknown error";
}

/* The size is only where reading starts from: the file may grow or shrink meanwhile. */
static const char *read_all(struct textfile *out, int fd, size_t size, size_t max)
{
    size_t room = size + 1;

    out->len = 0;
    out->text = malloc(room + 1);
    if (!out->text)
        return reason_of(ENOMEM);
    for (;;) {
        ssize_t n = read(fd, out->text + out->len, room - out->len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return reason_of(errno);
        if (n == 0)
            return NULL;
        out->len += (size_t)n;
        if (out->len > max)
            return reason_of(EFBIG);
        if (out->len == room) {
            char *grown = realloc(out->text, room * 2 + 1);
            if (!grown)
                return reason_of(ENOMEM);
            out->text = grown;
            room *= 2;
        }
    }
}

static const char *read_regular(struct textfile *out, int fd, size_t max)
{
    struct stat status;

    if (fstat(fd, &status) != 0)
        return reason_of(errno);
    if (S_ISDIR(status.st_mode))
        return reason_of(EISDIR);
    if (!S_ISREG(status.st_mode))
        return "not a regular file";
    if ((uintmax_t)status.st_size > max)
        return reason_of(EFBIG);
    return read_all(out, fd, (size_t)status.st_size, max);
}

const char *textfile_open(struct textfile *out, const char *path, size_t max)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    const char *reason;
    int fd;

    *out = (struct textfile){ .text = NULL };
    /* O_NONBLOCK: opening a fifo without a writer must not hang. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return reason_of(errno);
    reason = read_regular(out, fd, max);
    close(fd);
    if (reason) {
        textfile_close(out);
        return reason;
    }
    out->text[out->len] = '\0';
    if (out->len >= 3 && memcmp(out->text, byte_order_mark, 3) == 0) {
        out->len -= 3;
        memmove(out->text, out->text + 3, out->len + 1);
    }
    return NULL;
}

void textfile_close(struct textfile *file)
{
    free(file->text);
    *file = (struct textfile){ .text = NULL };
}
