/* SPDX-License-Identifier: BSD-2-Clause */
/* Ping-pong: every connection has one message of 64 bytes on its way, there or back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "client.h"
#include "net.h"

enum { EVENTS = 256 };

struct player {
    struct link link;
    uint64_t serial;
    uint64_t asked_ns;
};

void *echo_open(struct client *client)
{
    unsigned n = client->options->connections;
    struct player *players = calloc(n, sizeof *players);
    struct link *links = link_open_all(client, n, WIRE_ECHO);

    if (!players)
        net_fail("%s", strerror(ENOMEM));
    for (unsigned i = 0; i < n; i++) {
        players[i].link = links[i];
        net_watch(client->epoll, links[i].fd, EPOLLIN, &players[i], true);
    }
    free(links);
    return players;
}

static void ask(struct player *player)
{
    player->asked_ns = net_now_ns();
    link_ask(&player->link, WIRE_ECHO, ++player->serial);
}

void echo_run(struct client *client, void *state, double seconds, struct result *result)
{
    struct player *players = state;
    struct epoll_event ready[EVENTS];
    uint64_t began = net_now_ns();
    uint64_t end = began + (uint64_t)(seconds * 1e9);
    unsigned active = client->options->connections;

    for (unsigned i = 0; i < active; i++)
        ask(&players[i]);
    while (active > 0) {
        int n = epoll_wait(client->epoll, ready, EVENTS, 10000);
        if (n <= 0)
            net_fail("no message has come back for 10 s");
        for (int i = 0; i < n; i++) {
            struct player *player = ready[i].data.ptr;
            if (!link_answered(client, &player->link, player->serial))
                continue;
            uint64_t now = net_now_ns();
            latency_add(result->latency, now - player->asked_ns);
            result->operations++;
            if (now < end)
                ask(player);
            else
                active--;
        }
    }
    result->seconds = (double)(net_now_ns() - began) / 1e9;
}
