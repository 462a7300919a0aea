/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/leash.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void on_end(void *context)
{
    struct leashes *leashes = context;
    struct pollfd end = { .fd = leashes->end, .events = POLLIN };

    bool is_pulled = poll(&end, 1, 0) > 0 && (end.revents & POLLIN);
    reader_close(&leashes->end_reader, leashes->loop); /* it stays as it is */
    if (is_pulled)
        leashes->on_pulled(leashes->context);
}

static bool is_pipe(int fd, int mode)
{
    struct stat info;

    return fstat(fd, &info) == 0 && S_ISFIFO(info.st_mode) &&
           (fcntl(fd, F_GETFL) & O_ACCMODE) == mode;
}

bool leash_is(int fd)
{
    return is_pipe(fd, O_WRONLY);
}

bool leash_is_end(int fd)
{
    return is_pipe(fd, O_RDONLY);
}

static bool is_same_pipe(int one, int other)
{
    struct stat first;
    struct stat second;

    return fstat(one, &first) == 0 && fstat(other, &second) == 0 && first.st_ino == second.st_ino &&
           first.st_dev == second.st_dev;
}

static void close_one(struct leash *leash)
{
    if (leash->owner->loop)
        reader_close(&leash->reader, leash->owner->loop);
    close(leash->fd);
    if (leash->counters_fd >= 0)
        close(leash->counters_fd);
    free(leash);
}

/* Nobody can write to us: what there is to hear of a writing end is that all readers are gone. */
static void on_gone(void *context)
{
    struct leash *leash = context;
    struct leashes *leashes = leash->owner;

    LIST_REMOVE(leash, link);
    leashes->n_earlier--;
    int counted = leash->counted;
    close_one(leash);
    leashes->on_gone(leashes->context, counted);
}

int leash_make(int ends[2])
{
    return pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0;
}

int leash_open(struct leashes *leashes, struct ev_loop *loop)
{
    struct leash *leash;
    int ends[2];

    leashes->loop = loop;
    LIST_FOREACH (leash, &leashes->earlier, link)
        reader_open(&leash->reader, loop, leash->fd, on_gone, leash);
    if (leashes->end < 0) {
        int err = leash_make(ends);
        if (err < 0)
            return err;
        leashes->end = ends[0];
        leashes->pull = ends[1];
    }
    reader_open(&leashes->end_reader, loop, leashes->end, on_end, leashes);
    return 0;
}

void leash_take_end(struct leashes *leashes, int fd)
{
    leashes->end = fd;
}

int leash_adopt(struct leashes *leashes, int fd)
{
    if (leashes->end >= 0 && leashes->pull < 0 && is_same_pipe(leashes->end, fd)) {
        leashes->pull = fd;
        return 0;
    }
    struct leash *leash = calloc(1, sizeof *leash);
    if (!leash)
        return -ENOMEM;

    leash->fd = fd;
    leash->counters_fd = leash->counted = -1;
    leash->owner = leashes;
    LIST_INSERT_HEAD(&leashes->earlier, leash, link);
    leashes->n_earlier++;
    if (leashes->loop)
        reader_open(&leash->reader, leashes->loop, fd, on_gone, leash);
    return 0;
}

int leash_adopt_counters(struct leashes *leashes, int fd)
{
    struct leash *last = LIST_FIRST(&leashes->earlier);

    if (!last || last->counters_fd >= 0)
        return -ENOENT;
    last->counters_fd = fd;
    return 0;
}

void leash_pull_all(struct leashes *leashes)
{
    struct leash *leash;

    LIST_FOREACH (leash, &leashes->earlier, link)
        (void)!write(leash->fd, "S", 1);
}

void leash_drop_all(struct leashes *leashes)
{
    struct leash *leash = LIST_FIRST(&leashes->earlier);

    LIST_INIT(&leashes->earlier);
    leashes->n_earlier = 0;
    while (leash) {
        struct leash *next = LIST_NEXT(leash, link);
        close_one(leash);
        leash = next;
    }
}

void leash_leave(struct leashes *leashes)
{
    struct leash *leash;

    LIST_FOREACH (leash, &leashes->earlier, link) {
        close(leash->fd);
        if (leash->counters_fd >= 0)
            close(leash->counters_fd);
    }
    if (leashes->pull >= 0)
        close(leashes->pull);
}

void leash_close(struct leashes *leashes)
{
    leash_drop_all(leashes);
    if (leashes->end < 0)
        return;
    reader_close(&leashes->end_reader, leashes->loop);
    close(leashes->end);
    if (leashes->pull >= 0)
        close(leashes->pull);
    leashes->end = leashes->pull = -1;
}
