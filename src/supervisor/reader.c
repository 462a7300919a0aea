/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/reader.h"

#define RETRY_S 0.05

static void on_retry(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct reader *reader = timer->data;

    (void)revents;
    ev_io_start(loop, &reader->io);
}

static void on_io(struct ev_loop *loop, ev_io *io, int revents)
{
    struct reader *reader = io->data;

    if (!(revents & EV_ERROR)) {
        reader->on_readable(reader->context);
        return;
    }
    ev_now_update(loop);
    ev_timer_set(&reader->retry, RETRY_S, 0.);
    ev_timer_start(loop, &reader->retry);
}

void reader_open(struct reader *reader, struct ev_loop *loop, int fd,
                 void (*on_readable)(void *context), void *context)
{
    reader->on_readable = on_readable;
    reader->context = context;
    ev_io_init(&reader->io, on_io, fd, EV_READ);
    reader->io.data = reader;
    ev_timer_init(&reader->retry, on_retry, 0., 0.);
    reader->retry.data = reader;
    ev_io_start(loop, &reader->io);
}

void reader_close(struct reader *reader, struct ev_loop *loop)
{
    ev_io_stop(loop, &reader->io);
    ev_timer_stop(loop, &reader->retry);
}
