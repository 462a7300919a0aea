/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams of the pattern on connections that stay (stream.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "client.h"
#include "net.h"

enum { EVENTS = 256 };

struct flow {
    int fd;
    uint32_t events;
    struct stream_in in;
    struct stream_out out;
    unsigned *unfinished; /* flows of this phase */
};

/* What one phase is. */
struct phase {
    uint64_t up;   /* bytes a flow, or STREAM_UNLIMITED */
    uint64_t down; /* likewise */
    uint64_t end_ns;
    bool every_byte;
};

static void on_finish(void *owner)
{
    struct flow *flow = owner;

    (*flow->unfinished)--;
}

void *stream_open(struct client *client)
{
    unsigned n = client->options->connections;
    struct flow *flows = calloc(n, sizeof *flows);
    struct link *links = link_open_all(client, n, WIRE_STREAM);

    if (!flows)
        net_fail("%s", strerror(ENOMEM));
    for (unsigned i = 0; i < n; i++) {
        flows[i].fd = links[i].fd;
        flows[i].in.on_finish = on_finish;
        flows[i].in.owner = &flows[i];
        flows[i].events = EPOLLIN;
        net_watch(client->epoll, flows[i].fd, EPOLLIN, &flows[i], true);
    }
    free(links);
    return flows;
}

static void run_out(const struct client *client, struct flow *flow)
{
    int sent = stream_out_run(&flow->out, flow->fd);
    uint32_t events = sent ? EPOLLIN : EPOLLIN | EPOLLOUT;

    if (sent < 0)
        net_fail("a stream: %s", strerror(-sent));
    if (events != flow->events)
        net_watch(client->epoll, flow->fd, events, flow, false);
    flow->events = events;
}

static void begin(const struct client *client, struct flow *flow, const struct phase *phase,
                  unsigned *unfinished)
{
    flow->unfinished = unfinished;
    flow->in.received = 0;
    flow->in.every_byte = phase->every_byte;
    stream_out_begin(&flow->out, phase->up, &phase->down);
    if (phase->up != STREAM_UNLIMITED && phase->down != STREAM_UNLIMITED)
        stream_out_finish(&flow->out);
    run_out(client, flow);
}

static void run_flow(const struct client *client, struct flow *flow, uint32_t ready)
{
    if (ready & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        int end = stream_in_run(&flow->in, flow->fd);
        if (end != 0)
            net_fail("a stream has ended early: %s", end < 0 ? strerror(-end) : "end of file");
    }
    if (ready & EPOLLOUT)
        run_out(client, flow);
}

static void finish(const struct client *client, struct flow *flows, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        stream_out_finish(&flows[i].out);
        run_out(client, &flows[i]);
    }
}

/* Only flows of this phase are active: others may be in the epoll set. */
static void run_phase(const struct client *client, struct flow *flows, unsigned n,
                      const struct phase *phase)
{
    struct epoll_event ready[EVENTS];
    unsigned unfinished = n;
    bool is_timed = phase->end_ns != 0;

    for (unsigned i = 0; i < n; i++)
        begin(client, &flows[i], phase, &unfinished);
    while (unfinished > 0) {
        uint64_t now = net_now_ns();
        if (is_timed && now >= phase->end_ns) {
            is_timed = false;
            finish(client, flows, n);
        }
        int timeout = is_timed ? (int)((phase->end_ns - now) / 1000000) + 1 : 10000;
        int n_ready = epoll_wait(client->epoll, ready, EVENTS, timeout);
        if (n_ready < 0 || (n_ready == 0 && !is_timed))
            net_fail("streams have stopped for 10 s");
        for (int i = 0; i < n_ready; i++)
            run_flow(client, ready[i].data.ptr, ready[i].events);
    }
    for (unsigned i = 0; i < n; i++)
        flows[i].unfinished = NULL;
}

static void add_bytes(const struct flow *flows, unsigned n, struct result *result)
{
    for (unsigned i = 0; i < n; i++) {
        result->bytes_up += flows[i].out.sent;
        result->bytes_down += flows[i].in.received;
    }
}

static void run_timed(struct client *client, struct flow *flows, struct phase phase, double seconds,
                      struct result *result)
{
    unsigned n = client->options->connections;
    uint64_t began = net_now_ns();

    phase.end_ns = began + (uint64_t)(seconds * 1e9);
    phase.every_byte = flows[0].in.position == 0 && flows[0].out.position == 0;
    run_phase(client, flows, n, &phase);
    result->seconds = (double)(net_now_ns() - began) / 1e9;
    add_bytes(flows, n, result);
}

void stream_up(struct client *client, void *state, double seconds, struct result *result)
{
    run_timed(client, state, (struct phase){ .up = STREAM_UNLIMITED }, seconds, result);
}

void stream_down(struct client *client, void *state, double seconds, struct result *result)
{
    run_timed(client, state, (struct phase){ .down = STREAM_UNLIMITED }, seconds, result);
}

void stream_both(struct client *client, void *state, double seconds, struct result *result)
{
    struct phase phase = { .up = STREAM_UNLIMITED, .down = STREAM_UNLIMITED };

    run_timed(client, state, phase, seconds, result);
}

/* In groups: it is what remains afterwards that is of interest. */
void stream_hold(struct client *client, void *state, double seconds, struct result *result)
{
    enum { GROUP = 64 };
    struct flow *flows = state;
    unsigned n = client->options->connections;
    struct phase phase = { .up = client->options->bytes,
                           .down = client->options->bytes,
                           .every_byte = true };
    uint64_t began = net_now_ns();

    (void)seconds;
    for (unsigned first = 0; first < n; first += GROUP) {
        unsigned size = n - first < GROUP ? n - first : GROUP;
        run_phase(client, flows + first, size, &phase);
        add_bytes(flows + first, size, result);
    }
    result->seconds = (double)(net_now_ns() - began) / 1e9;
}
