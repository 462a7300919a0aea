/* SPDX-License-Identifier: BSD-2-Clause */
/* Connect, ask, be answered, end. The target closes first; a session is over with its FIN. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "client.h"
#include "net.h"

enum { EVENTS = 256 };

struct slot {
    struct link link;
    bool is_answered;
    uint64_t begun_ns;
};

static void begin(struct client *client, struct slot *slot)
{
    slot->begun_ns = net_now_ns();
    slot->is_answered = false;
    link_open(client, &slot->link, WIRE_ONCE);
    net_watch(client->epoll, slot->link.fd, EPOLLIN, slot, true);
}

/* returns: whether the session is over. */
static bool go_on(const struct client *client, struct slot *slot)
{
    if (!slot->is_answered)
        slot->is_answered = link_answered(client, &slot->link, 0);
    if (!slot->is_answered || !link_ended(&slot->link))
        return false;
    close(slot->link.fd);
    return true;
}

void *once_open(struct client *client)
{
    struct slot *slots = calloc(client->options->connections, sizeof *slots);

    if (!slots)
        net_fail("%s", strerror(ENOMEM));
    return slots;
}

void once_run(struct client *client, void *state, double seconds, struct result *result)
{
    struct slot *slots = state;
    struct epoll_event ready[EVENTS];
    uint64_t began = net_now_ns();
    uint64_t end = began + (uint64_t)(seconds * 1e9);
    unsigned active = client->options->connections;

    for (unsigned i = 0; i < active; i++)
        begin(client, &slots[i]);
    while (active > 0) {
        int n = epoll_wait(client->epoll, ready, EVENTS, 10000);
        if (n <= 0)
            net_fail("nothing has happened for 10 s");
        for (int i = 0; i < n; i++) {
            struct slot *slot = ready[i].data.ptr;
            if (!go_on(client, slot))
                continue;
            uint64_t now = net_now_ns();
            latency_add(result->latency, now - slot->begun_ns);
            result->operations++;
            if (now < end)
                begin(client, slot);
            else
                active--;
        }
    }
    result->seconds = (double)(net_now_ns() - began) / 1e9;
}
