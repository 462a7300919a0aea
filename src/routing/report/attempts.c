/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/attempts.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/net/sock.h"
#include "mmproxy/net/spoof.h"

enum {
    FDS_RESERVED = 64, /* descriptors that are left to everything else ... */
    FDS_NEEDED = 128,  /* ... where there are at least so many */
    BATCH_MAX = 16384,
};

static void finish(struct attempt *attempt, int result)
{
    attempt->result = result;
    if (attempt->fd >= 0)
        sock_reset(attempt->fd); /* leaves no half-open connection, whatever the return path */
    attempt->fd = -1;
}

/* returns: 0, or -errno; -EINPROGRESS with a descriptor. */
static int start_own(struct attempt *attempt)
{
    int err;

    attempt->fd =
        socket(addr_family(&attempt->target), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (attempt->fd < 0)
        return -errno;
    err = spoof_finish(attempt->fd, &attempt->target);
    return err == -EALREADY ? -EINPROGRESS : err;
}

static int start_spoofed(struct attempt *attempt)
{
    const struct spoof spoof = {
        .source = attempt->source,
        .target = attempt->target,
        .mark = attempt->mark,
        .preserve_port = addr_port(&attempt->source) != 0,
    };
    bool connected = false;
    int fd = spoof_connect(&spoof, &connected);

    if (fd < 0)
        return fd;
    attempt->fd = fd;
    return connected ? 0 : -EINPROGRESS;
}

static void start(struct attempt *attempt)
{
    int err;

    attempt->fd = -1;
    err = addr_is_set(&attempt->source) ? start_spoofed(attempt) : start_own(attempt);
    if (err != -EINPROGRESS)
        finish(attempt, err);
}

static void proceed(struct attempt *attempt, short ready)
{
    int err;

    if (attempt->fd < 0 || ready == 0)
        return;
    err = spoof_finish(attempt->fd, &attempt->target);
    if (err != -EALREADY && err != -EINPROGRESS)
        finish(attempt, err == -EISCONN ? 0 : err);
}

/* A negative descriptor is skipped by poll. returns: how many wait. */
static size_t arm(struct pollfd *fds, const struct attempt *items, size_t n)
{
    size_t waiting = 0;

    for (size_t i = 0; i < n; i++) {
        fds[i] = (struct pollfd){ .fd = items[i].fd, .events = POLLOUT };
        waiting += fds[i].fd >= 0;
    }
    return waiting;
}

/* Even a process that was kept waiting itself looks once at what has come. */
static void wait_for(struct pollfd *fds, struct attempt *items, size_t n, int64_t deadline_ms)
{
    int64_t left_ms;

    do {
        left_ms = deadline_ms - (int64_t)clock_now_ms();
        if (arm(fds, items, n) == 0)
            return;
        if (poll(fds, n, left_ms > 0 ? (int)left_ms : 0) < 0 && errno != EINTR)
            return;
        for (size_t i = 0; i < n; i++)
            proceed(&items[i], fds[i].revents);
    } while (left_ms > 0);
}

static void run_batch(struct pollfd *fds, struct attempt *items, size_t n, int limit_ms)
{
    for (size_t i = 0; i < n; i++)
        start(&items[i]);
    wait_for(fds, items, n, (int64_t)clock_now_ms() + limit_ms);
    for (size_t i = 0; i < n; i++) {
        if (items[i].fd >= 0)
            finish(&items[i], -ETIMEDOUT);
    }
}

static size_t batch_size(size_t n)
{
    struct rlimit limit;
    size_t fds = 1024;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        fds = limit.rlim_cur;
    fds = fds > FDS_NEEDED ? fds - FDS_RESERVED : FDS_RESERVED;
    if (fds > BATCH_MAX)
        fds = BATCH_MAX;
    return n < fds ? n : fds;
}

int attempts_run(struct attempt *items, size_t n, int limit_ms)
{
    size_t batch = batch_size(n);
    struct pollfd *fds = calloc(batch + 1, sizeof *fds);

    if (!fds)
        return -ENOMEM;
    for (size_t i = 0; i < n; i += batch)
        run_batch(fds, items + i, n - i < batch ? n - i : batch, limit_ms);
    free(fds);
    return 0;
}
