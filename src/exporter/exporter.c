/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/exporter/exporter.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "http.h"
#include "mmproxy/base/clock.h"
#include "mmproxy/base/log.h"
#include "mmproxy/jail/leftovers.h"

enum {
    TICK_MS = 1000,
    LEAVE_MS = 2000, /* for requests under way when it is to end */
    LEAVE_TICK_MS = 100,
    NICENESS = 10, /* sessions come first */
};

struct exporter {
    const struct exporter_spec *spec;
    struct metrics_source source;
    struct http *http;
    uint64_t next_point_ms;
};

static void sum(const void *context, unsigned number, struct counters_sums *out)
{
    counters_sum(context, number, out);
}

static int close_jail(const struct exporter_spec *spec)
{
    struct jail_failure failure = { 0 };

    (void)setpriority(PRIO_PROCESS, 0, NICENESS);
    int err = counters_own_none(spec->counters);
    if (err == 0)
        err = board_lock(spec->board);
    if (err < 0)
        failure.what = "give up writing to shared memory";
    else
        err = jail_close(&spec->jail, &spec->notes->forbidden, &failure);
    if (err < 0)
        log_error("exporter", "[!] the exporter can't %s: %s", failure.what, strerror(-err));
    return err;
}

static void take_point(struct exporter *exporter)
{
    const struct board *board = exporter->spec->board;
    struct history_point point = { .at_s = time(NULL) };
    uint64_t now_ms = clock_now_ms();

    if (now_ms < exporter->next_point_ms)
        return;
    exporter->next_point_ms = now_ms + HISTORY_STEP_S * 1000U;
    for (size_t i = 0; i < board->n_listeners; i++) {
        struct counters_sums sums;
        counters_sum(exporter->spec->counters, board->listeners[i].number, &sums);
        point.sessions += sums.sessions;
        point.connections += sums.counts[COUNT_ACCEPTED];
        point.bytes_in += sums.counts[COUNT_BYTES_IN];
        point.bytes_out += sums.counts[COUNT_BYTES_OUT];
        for (unsigned reason = REASON_NONE + 1; reason < REASONS; reason++)
            point.refused += sums.counts[COUNT_REFUSED + reason];
    }
    history_add(&exporter->spec->notes->history, &point);
}

/* returns: false when the channel has ended. */
static bool serve_once(struct exporter *exporter)
{
    struct pollfd fds[] = {
        { .fd = http_fd(exporter->http), .events = POLLIN },
        { .fd = exporter->spec->channel, .events = POLLIN },
    };

    (void)poll(fds, sizeof fds / sizeof *fds, http_wait_ms(exporter->http, TICK_MS));
    exporter->source.descriptors_used = counters_descriptors(exporter->spec->counters);
    http_run(exporter->http);
    return fds[1].revents == 0;
}

/* The port is free at once; requests under way are answered. */
static void leave(struct exporter *exporter)
{
    uint64_t ends_ms = clock_now_ms() + LEAVE_MS;

    http_leave(exporter->http);
    close(exporter->spec->listen_fd);
    while (!http_is_idle(exporter->http) && clock_now_ms() < ends_ms) {
        struct pollfd fd = { .fd = http_fd(exporter->http), .events = POLLIN };
        (void)poll(&fd, 1, http_wait_ms(exporter->http, LEAVE_TICK_MS));
        http_run(exporter->http);
    }
}

static void serve(struct exporter *exporter)
{
    do
        take_point(exporter);
    while (serve_once(exporter));
    leave(exporter);
}

int exporter_run(const struct exporter_spec *spec)
{
    struct exporter exporter = {
        .spec = spec,
        .source = { .board = spec->board,
                    .history = &spec->notes->history,
                    .sum = sum,
                    .context = spec->counters },
    };

    leftovers_set_signals(); /* the end comes by the channel */
    (void)prctl(PR_SET_NAME, "mmproxy-metrics", 0L, 0L, 0L);
    exporter.http = http_new(spec->listen_fd, &exporter.source);
    if (!exporter.http) {
        log_error("exporter", "[!] the exporter has no memory or no descriptors to start with");
        return EX_OSERR;
    }
    int err = close_jail(spec);
    if (err == 0)
        serve(&exporter);
    http_free(exporter.http);
    return err < 0 ? EX_OSERR : EX_OK;
}
