/* SPDX-License-Identifier: BSD-2-Clause */
/* bench_client: see usage() in client_options.c. */
#include "client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "net.h"
#include "pattern.h"

static const struct work works[] = {
    { "once", once_open, once_run },
    { "echo", echo_open, echo_run },
    { "up", stream_open, stream_up },
    { "down", stream_open, stream_down },
    { "both", stream_open, stream_both },
    { "hold", stream_open, stream_hold },
    { "udp-echo", datagram_open, datagram_echo_run },
    { "udp-flood", datagram_open, datagram_flood_run },
    { "udp-hold", datagram_open, datagram_hold_run },
};

static const struct work *find_work(const char *name)
{
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        if (strcmp(works[i].name, name) == 0)
            return &works[i];
    }
    net_fail("unknown work: %s", name);
}

/* returns: false at the end of file. */
static bool wait_line(void)
{
    char line[16];

    return fgets(line, sizeof line, stdin) != NULL;
}

static void print(const struct result *result)
{
    printf("{\"seconds\": %.6f, \"operations\": %" PRIu64 ", \"bytes_up\": %" PRIu64
           ", \"bytes_down\": %" PRIu64 ", \"lost\": %" PRIu64
           ", \"p50_us\": %.3f, \"p99_us\": %.3f, \"p999_us\": %.3f}\n",
           result->seconds, result->operations, result->bytes_up, result->bytes_down, result->lost,
           (double)latency_percentile(result->latency, 0.5) / 1e3,
           (double)latency_percentile(result->latency, 0.99) / 1e3,
           (double)latency_percentile(result->latency, 0.999) / 1e3);
    fflush(stdout);
}

static struct result warm_up(struct client *client, const struct work *work, void *state,
                             struct latency *latency)
{
    struct result result = { .latency = latency };

    if (client->options->warm_up > 0)
        work->run(client, state, client->options->warm_up, &result);
    latency_reset(latency);
    return (struct result){ .latency = latency };
}

int main(int argc, char *argv[])
{
    static struct latency latency;
    struct options options;

    client_options(&options, argc, argv);
    const struct work *work = find_work(options.work);
    struct client client = { .options = &options, .epoll = epoll_create1(EPOLL_CLOEXEC) };

    pattern_open();
    struct link *beside = link_open_all(&client, options.beside, WIRE_ECHO);
    void *state = work->open(&client);
    struct result result = warm_up(&client, work, state, &latency);
    puts("ready");
    fflush(stdout);
    if (!wait_line())
        return EXIT_FAILURE;
    work->run(&client, state, options.seconds, &result);
    print(&result);
    while (wait_line())
        continue;
    free(state);
    free(beside);
    return EXIT_SUCCESS;
}
