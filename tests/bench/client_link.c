/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client.h"
#include "net.h"

/* 127.1.0.1 and up: so many load balancers that no ports run out. */
struct sockaddr_in link_own_address(uint64_t number)
{
    uint32_t address = 0x7f010001u + (uint32_t)(number % 251);

    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(address) };
}

/* 198.18.0.0/15 is reserved for benchmarks (RFC 2544). Address and port repeat after 2^32. */
struct sockaddr_in link_client_address(uint64_t number)
{
    uint32_t address = 0xc6120000u + 256 + (uint32_t)(number % 130000);
    uint16_t port = (uint16_t)(20000 + number / 7 % 40000);

    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(address),
                                 .sin_port = htons(port) };
}

static void wait_connected(int fd, const struct sockaddr_in *to)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
    int error = 0;
    socklen_t len = sizeof error;

    if (poll(&poll_fd, 1, 10000) != 1)
        net_fail("%s does not answer for 10 s", net_text(to));
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error != 0)
        net_fail("connect to %s: %s", net_text(to), strerror(error));
}

/* A connection on loopback is there when connect(2) returns; only a full queue delays it. */
static void send_first(const struct client *client, int fd, const uint8_t *bytes, size_t len)
{
    ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN) {
        wait_connected(fd, &client->options->to);
        n = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (n != (ssize_t)len)
        net_fail("the first bytes of a connection: %s", n < 0 ? strerror(errno) : "cut");
}

void link_open(struct client *client, struct link *link, enum wire_work work)
{
    const struct options *options = client->options;
    struct sockaddr_in own = link_own_address(client->n_links);
    uint8_t first[WIRE_HEADER_MAX + sizeof(struct wire_hello)];
    struct wire_hello hello;

    link->fd = net_connect(&own, &options->to);
    link->hello_have = 0;
    link->claimed = link_client_address(client->n_links++);
    if (options->header == WIRE_HEADER_NONE && !options->claim)
        link->claimed = own; /* its port is of no interest */

    size_t len = wire_header_write(options->header, &link->claimed, &options->to, first);
    wire_hello_fill(&hello, work, 0, &link->claimed, false);
    memcpy(first + len, &hello, sizeof hello);
    send_first(client, link->fd, first, len + sizeof hello);
}

void link_ask(struct link *link, enum wire_work work, uint64_t serial)
{
    struct wire_hello hello;

    wire_hello_fill(&hello, work, serial, &link->claimed, false);
    ssize_t n = send(link->fd, &hello, sizeof hello, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n != sizeof hello)
        net_fail("a question: %s", n < 0 ? strerror(errno) : "cut");
}

static void verify(const struct client *client, const struct link *link, uint64_t serial)
{
    const struct wire_hello *hello = &link->hello;
    struct sockaddr_in seen = { .sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(hello->address),
                                .sin_port = htons((uint16_t)hello->port) };

    if (!wire_hello_is_right(hello, true))
        net_fail("the bytes of an answer are wrong");
    if (hello->serial != serial)
        net_fail("answer %" PRIu64 " instead of %" PRIu64, hello->serial, serial);
    if (seen.sin_addr.s_addr != link->claimed.sin_addr.s_addr ||
        (client->options->expect_port && seen.sin_port != link->claimed.sin_port))
        net_fail("the target saw %s, the client is %s", net_text(&seen), net_text(&link->claimed));
}

bool link_answered(const struct client *client, struct link *link, uint64_t serial)
{
    uint8_t *bytes = (uint8_t *)&link->hello;

    ssize_t n = recv(link->fd, bytes + link->hello_have, sizeof link->hello - link->hello_have,
                     MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0)
        net_fail("no answer: %s", n < 0 ? strerror(errno) : "the connection was closed");
    link->hello_have += (size_t)n;
    if (link->hello_have < sizeof link->hello)
        return false;
    link->hello_have = 0;
    verify(client, link, serial);
    return true;
}

bool link_ended(const struct link *link)
{
    uint8_t byte;

    ssize_t n = recv(link->fd, &byte, 1, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n != 0)
        net_fail("behind the answer: %s", n < 0 ? strerror(errno) : "a byte that nobody sent");
    return true;
}

static void wait_answer(const struct client *client, struct link *link)
{
    struct pollfd poll_fd = { .fd = link->fd, .events = POLLIN };

    do {
        if (poll(&poll_fd, 1, 10000) != 1)
            net_fail("no answer for 10 s");
    } while (!link_answered(client, link, 0));
}

/* In groups, so that gateways are not measured by how they take 9,000 at a stroke. */
struct link *link_open_all(struct client *client, unsigned n, enum wire_work work)
{
    enum { GROUP = 64 };
    struct link *links = calloc(n, sizeof *links);

    if (!links)
        net_fail("%s", strerror(ENOMEM));
    for (unsigned first = 0; first < n; first += GROUP) {
        unsigned end = first + GROUP < n ? first + GROUP : n;
        for (unsigned i = first; i < end; i++)
            link_open(client, &links[i], work);
        for (unsigned i = first; i < end; i++)
            wait_answer(client, &links[i]);
    }
    return links;
}
