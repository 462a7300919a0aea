/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/pump.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mmproxy/net/sock.h"

enum {
    BUFFER_SIZE = 64 * 1024,
    PIPE_SIZE = 256 * 1024, /* asked for; past pipe-user-pages-soft the kernel gives less */
    BULKY_READ = 32 * 1024, /* a bulky stream makes reads of that size */
    BULKY_AFTER = 3,        /* ... and so many in a row are the proof */
    PIPE_SHORTAGE = 256,    /* pieces that are copied before another pipe is asked for in vain */
    SHARE = 1024 * 1024,    /* bytes moved by one call before other sessions have their turn */
};

struct pipe {
    int read_end;
    int write_end;
    size_t size;
    struct pipe *next;
};

struct pump_backlog {
    struct pipe *pipe; /* the bytes are in there; NULL: they are in bytes[] */
    size_t start;
    size_t len; /* never 0 while the backlog exists */
    uint8_t bytes[];
};

struct pump_pool {
    struct pipe *idle;
    unsigned n_pipes;
    unsigned max_pipes;
    unsigned shortage; /* pieces to be copied before the system is asked for a pipe again */
    uint8_t buffer[BUFFER_SIZE];
};

struct pump_pool *pump_pool_new(unsigned max_pipes)
{
    struct pump_pool *pool = malloc(sizeof *pool);
    if (!pool)
        return NULL;
    pool->idle = NULL;
    pool->n_pipes = 0;
    pool->max_pipes = max_pipes;
    pool->shortage = 0;
    return pool;
}

static void pipe_free(struct pump_pool *pool, struct pipe *pipe)
{
    close(pipe->read_end);
    close(pipe->write_end);
    free(pipe);
    pool->n_pipes--;
}

void pump_pool_free(struct pump_pool *pool)
{
    if (!pool)
        return;
    while (pool->idle) {
        struct pipe *pipe = pool->idle;
        pool->idle = pipe->next;
        pipe_free(pool, pipe);
    }
    assert(pool->n_pipes == 0);
    free(pool);
}

uint8_t *pump_pool_buffer(struct pump_pool *pool, size_t *size)
{
    *size = sizeof pool->buffer;
    return pool->buffer;
}

/* NULL: the system has none, or only a pipe of a page or two, which is slower than copying. */
static struct pipe *pipe_new(struct pump_pool *pool)
{
    int ends[2];
    struct pipe *pipe = malloc(sizeof *pipe);
    if (!pipe)
        return NULL;
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) {
        free(pipe);
        return NULL;
    }
    pipe->read_end = ends[0];
    pipe->write_end = ends[1];
    pool->n_pipes++;
    int size = fcntl(pipe->write_end, F_SETPIPE_SZ, PIPE_SIZE);
    if (size < 0)
        size = fcntl(pipe->write_end, F_GETPIPE_SZ);
    if (size < BULKY_READ) {
        pipe_free(pool, pipe);
        return NULL;
    }
    pipe->size = (size_t)size;
    return pipe;
}

/* NULL where there is none to be had: the caller copies instead. */
static struct pipe *pipe_borrow(struct pump_pool *pool)
{
    struct pipe *pipe = pool->idle;
    if (pipe) {
        pool->idle = pipe->next;
        return pipe;
    }
    if (pool->n_pipes == pool->max_pipes)
        return NULL;
    if (pool->shortage > 0) {
        pool->shortage--;
        return NULL;
    }
    pipe = pipe_new(pool);
    if (!pipe)
        pool->shortage = PIPE_SHORTAGE;
    return pipe;
}

static void pipe_give_back(struct pump_pool *pool, struct pipe *pipe)
{
    pipe->next = pool->idle;
    pool->idle = pipe;
}

void pump_open(struct pump *pump, int from, int to)
{
    *pump = (struct pump){ .from = from, .to = to };
}

void pump_close(struct pump *pump, struct pump_pool *pool)
{
    struct pump_backlog *backlog = pump->backlog;

    pump->backlog = NULL;
    if (backlog && backlog->pipe)
        pipe_free(pool, backlog->pipe); /* not given back: there are bytes in it */
    free(backlog);
}

int pump_prime(struct pump *pump, const uint8_t *bytes, size_t len)
{
    assert(!pump->backlog);
    if (len == 0)
        return 0;

    struct pump_backlog *backlog = malloc(sizeof *backlog + len);
    if (!backlog)
        return -ENOMEM;
    backlog->pipe = NULL;
    backlog->start = 0;
    backlog->len = len;
    memcpy(backlog->bytes, bytes, len);
    pump->backlog = backlog;
    return 0;
}

/* One thing instead of two: bytes, or -errno. */
static ssize_t result(ssize_t n)
{
    return n < 0 ? -errno : n;
}

/* The only place that meets an end of file. An end after an error is an error. */
static ssize_t receive(struct pump *pump, uint8_t *bytes, size_t size)
{
    ssize_t n = result(recv(pump->from, bytes, size, MSG_DONTWAIT));

    if (n == 0 && pump->is_cut_off)
        return -ECONNRESET;
    pump->at_eof = n == 0;
    return n;
}

/* The kernel holds a small piece back only while another one is on its way (Nagle). */
static void stop_delaying(struct pump *pump)
{
    if (!pump->delays || pump->bytes == 0)
        return;
    pump->delays = false;
    (void)sock_set(pump->to, IPPROTO_TCP, TCP_NODELAY, 1);
}

static ssize_t send_bytes(struct pump *pump, const uint8_t *bytes, size_t len, int flags)
{
    stop_delaying(pump);
    return result(send(pump->to, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT | flags));
}

static ssize_t send_pipe(struct pump *pump, const struct pipe *pipe, size_t len)
{
    stop_delaying(pump);
    return result(
        splice(pipe->read_end, NULL, pump->to, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

static bool would_block(ssize_t err)
{
    return err == -EAGAIN || err == -EINTR;
}

static enum pump_wait write_failed(struct pump *pump, ssize_t err)
{
    pump->error = (int)-err;
    return PUMP_TO_ERROR;
}

static enum pump_wait send_backlog(struct pump *pump, struct pump_pool *pool)
{
    struct pump_backlog *backlog = pump->backlog;

    if (!backlog)
        return PUMP_READ;
    while (backlog->len > 0) {
        ssize_t n = backlog->pipe
                        ? send_pipe(pump, backlog->pipe, backlog->len)
                        : send_bytes(pump, backlog->bytes + backlog->start, backlog->len, 0);
        if (would_block(n))
            return PUMP_WRITE;
        if (n < 0)
            return write_failed(pump, n);
        backlog->start += (size_t)n;
        backlog->len -= (size_t)n;
        pump->bytes += (uint64_t)n;
    }
    if (backlog->pipe)
        pipe_give_back(pool, backlog->pipe);
    pump->backlog = NULL;
    free(backlog);
    return PUMP_READ;
}

static enum pump_wait read_failed(struct pump *pump, ssize_t err)
{
    if (would_block(err)) {
        pump->has_more = true; /* as far as is known */
        return PUMP_READ;
    }
    pump->error = (int)-err;
    return PUMP_FROM_ERROR;
}

/* The result of moving one piece. */
struct piece {
    enum pump_wait wait; /* valid where len is 0 */
    size_t len;          /* bytes read */
    bool is_all;         /* `from` had no more than that */
};

static struct piece stopped(enum pump_wait wait)
{
    return (struct piece){ .wait = wait };
}

/*
 * A first answer is often the last one: asking at once whether the end follows saves a wake-up
 * to learn that, and lets FIN go with the bytes. Where the end was there before the bytes were
 * read, it needs no asking. returns: bytes, or -errno where it has failed.
 */
static ssize_t read_behind(struct pump *pump, uint8_t *bytes, size_t size, size_t len)
{
    bool is_last = pump->has_ended && !pump->is_urgent && !pump->is_cut_off;

    if (is_last || pump->bytes > 0) {
        pump->at_eof = is_last;
        return 0;
    }
    ssize_t n = receive(pump, bytes + len, size - len);
    return would_block(n) ? 0 : n;
}

/* The remainder of a piece goes to the heap: the receiver's backlog is in the kernel. */
static struct piece copy_piece(struct pump *pump, struct pump_pool *pool)
{
    ssize_t n = receive(pump, pool->buffer, sizeof pool->buffer);
    if (n < 0)
        return stopped(read_failed(pump, n));
    if (n == 0)
        return stopped(PUMP_DONE);

    size_t len = (size_t)n;
    ssize_t more = 0;
    if (len < sizeof pool->buffer)
        more = read_behind(pump, pool->buffer, sizeof pool->buffer, len);
    if (more > 0)
        len += (size_t)more;
    /* With the end in sight the last bytes wait for FIN, which the caller sends next. */
    ssize_t sent = send_bytes(pump, pool->buffer, len, pump->at_eof ? MSG_MORE : 0);
    if (sent < 0 && !would_block(sent))
        return stopped(write_failed(pump, sent));
    size_t done = sent < 0 ? 0 : (size_t)sent;
    pump->bytes += done;
    if (more < 0)
        return stopped(read_failed(pump, more));
    if (pump_prime(pump, pool->buffer + done, len - done) < 0)
        return stopped(write_failed(pump, -ENOMEM));
    return (struct piece){ .len = len, .is_all = len < sizeof pool->buffer && !pump->is_urgent };
}

/* splice stops at an urgent byte, and says then that there is nothing, or no more: recv knows. */
static struct piece ask_recv(struct pump *pump, struct pump_pool *pool)
{
    struct piece piece = copy_piece(pump, pool);

    if (piece.len == 0)
        pump->has_more = false; /* both have said so */
    return piece;
}

static struct piece splice_piece(struct pump *pump, struct pump_pool *pool, struct pipe *pipe)
{
    ssize_t n = result(splice(pump->from, NULL, pipe->write_end, NULL, pipe->size,
                              SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
    if (n <= 0) {
        pipe_give_back(pool, pipe);
        return n == 0 || n == -EAGAIN ? ask_recv(pump, pool) : stopped(read_failed(pump, n));
    }

    size_t len = (size_t)n;
    size_t done = 0;
    while (done < len) {
        ssize_t sent = send_pipe(pump, pipe, len - done);
        if (would_block(sent))
            break;
        if (sent < 0) {
            pipe_free(pool, pipe);
            return stopped(write_failed(pump, sent));
        }
        done += (size_t)sent;
    }
    pump->bytes += done;
    if (done == len) {
        pipe_give_back(pool, pipe);
        return (struct piece){ .len = len };
    }

    struct pump_backlog *backlog = malloc(sizeof *backlog);
    if (!backlog) {
        pipe_free(pool, pipe);
        return stopped(write_failed(pump, -ENOMEM));
    }
    *backlog = (struct pump_backlog){ .pipe = pipe, .len = len - done };
    pump->backlog = backlog;
    return (struct piece){ .len = len };
}

static struct piece move_piece(struct pump *pump, struct pump_pool *pool)
{
    bool is_spliced = pump->full_reads >= BULKY_AFTER && !pump->is_urgent;
    struct pipe *pipe = is_spliced ? pipe_borrow(pool) : NULL;
    struct piece piece = pipe ? splice_piece(pump, pool, pipe) : copy_piece(pump, pool);

    if (piece.len >= BULKY_READ && pump->full_reads < BULKY_AFTER)
        pump->full_reads++;
    else if (piece.len > 0 && piece.len < BULKY_READ && pump->full_reads > 0)
        pump->full_reads--;
    return piece;
}

static enum pump_wait move_share(struct pump *pump, struct pump_pool *pool)
{
    enum pump_wait wait = send_backlog(pump, pool);
    size_t moved = 0;

    if (wait != PUMP_READ)
        return wait;
    while (!pump->at_eof) {
        struct piece piece = move_piece(pump, pool);
        if (piece.len == 0 && piece.wait != PUMP_DONE)
            return piece.wait;
        if (pump->backlog)
            return PUMP_WRITE;
        moved += piece.len;
        /* Asking a socket that has just been emptied costs a call to learn EAGAIN. */
        if (!pump->at_eof && (piece.is_all || moved >= SHARE)) {
            pump->has_more = !piece.is_all;
            return PUMP_READ;
        }
    }
    return pump->is_cut_off ? read_failed(pump, -ECONNRESET) : PUMP_DONE;
}

enum pump_wait pump_flush(struct pump *pump, struct pump_pool *pool)
{
    pump->wait = send_backlog(pump, pool);
    return pump->wait;
}

void pump_tell(struct pump *pump, bool has_ended, bool is_urgent)
{
    pump->has_ended = has_ended;
    pump->is_urgent = is_urgent;
}

bool pump_take_more(struct pump *pump)
{
    bool has_more = pump->has_more;

    pump->has_more = false;
    return has_more;
}

enum pump_wait pump_run(struct pump *pump, struct pump_pool *pool)
{
    uint64_t before = pump->bytes;

    pump->has_more = false;
    pump->wait = move_share(pump, pool);
    /* Nothing moved: that was a false alarm, and the next one may be true. */
    pump->has_more |= pump->wait == PUMP_WRITE || pump->bytes == before;
    return pump->wait;
}

void pump_cut_off(struct pump *pump)
{
    pump->is_cut_off = true;
}
