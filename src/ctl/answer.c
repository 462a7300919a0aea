/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection to the control socket, and the lines of its answer. */
#include "ctl.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

static const char *advice(int error)
{
    switch (error) {
    case ENOENT:
        return "is mmproxy running, with a configuration file? -s names another socket";
    case ECONNREFUSED:
        return "mmproxy is not running";
    case EACCES:
        return "use sudo, or join the group that control_group names";
    case ETIMEDOUT:
        return "its process hangs, or is stopped: systemctl status mmproxy";
    default:
        return NULL;
    }
}

/* A process that is stopped takes neither connections nor requests. */
static int connect_to(const char *path, int patience_s)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const struct timeval limit = { .tv_sec = patience_s };

    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        int err = errno == EAGAIN ? ETIMEDOUT : errno;
        close(fd);
        return -err;
    }
    return fd;
}

int answer_open(struct answer *answer, const char *path, const char *request, int patience_s)
{
    char newline = '\n';
    struct iovec line[] = { { (void *)(uintptr_t)request, strlen(request) }, { &newline, 1 } };
    const struct msghdr message = { .msg_iov = line, .msg_iovlen = 2 };

    *answer = (struct answer){ .patience_s = patience_s };
    answer->fd = connect_to(path, patience_s);
    if (answer->fd < 0)
        return answer->fd;
    /* It may have been refused already: then there is an answer. */
    (void)sendmsg(answer->fd, &message, MSG_NOSIGNAL);
    return 0;
}

int answer_complain(const char *path, int err)
{
    const char *help = advice(-err);

    if (err == -ETIMEDOUT)
        fprintf(stderr, "mmproxyctl: %s: mmproxy does not answer\n", path);
    else
        fprintf(stderr, "mmproxyctl: %s: %s\n", path, strerror(-err));
    if (help)
        fprintf(stderr, "mmproxyctl: %s\n", help);
    return err == -EACCES ? EX_NOPERM : err == -ENOMEM ? EX_OSERR : EX_UNAVAILABLE;
}

static bool wait_for_more(struct answer *answer)
{
    struct pollfd pollfd = { .fd = answer->fd, .events = POLLIN };
    int n;

    while ((n = poll(&pollfd, 1, answer->patience_s * 1000)) == 0 && answer->waits_on)
        fprintf(stderr, "mmproxyctl: no answer for %d s: still waiting, Ctrl-C gives up\n",
                answer->patience_s);
    if (n == 0)
        answer->error = ETIMEDOUT;
    return n > 0;
}

/* returns: false: nothing more comes. */
static bool receive(struct answer *answer)
{
    size_t left = answer->used - answer->start;

    if (left > 0)
        memmove(answer->bytes, answer->bytes + answer->start, left);
    answer->used = left;
    answer->start = 0;
    if (answer->used == answer->size) {
        size_t size = answer->size > 0 ? 2 * answer->size : 64 * 1024;
        char *bytes = realloc(answer->bytes, size);
        if (!bytes)
            return false;
        answer->bytes = bytes;
        answer->size = size;
    }
    if (!wait_for_more(answer))
        return false;
    ssize_t n = recv(answer->fd, answer->bytes + answer->used, answer->size - answer->used, 0);
    answer->used += n > 0 ? (size_t)n : 0;
    return n > 0;
}

bool answer_next(struct answer *answer, struct object *out)
{
    size_t looked_at = answer->start;
    char *end = NULL;

    while (answer->used == looked_at ||
           !(end = memchr(answer->bytes + looked_at, '\n', answer->used - looked_at))) {
        looked_at = answer->used - answer->start;
        if (!receive(answer))
            return false;
    }
    *end = '\0';
    out->text = answer->bytes + answer->start;
    answer->start = (size_t)(end - answer->bytes) + 1;
    return true;
}

void answer_close(struct answer *answer)
{
    if (answer->fd >= 0)
        close(answer->fd);
    free(answer->bytes);
    *answer = (struct answer){ .fd = -1 };
}
