/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * UDP. Every client has a socket of its own towards the gateway, as with Spectrum, and a header in
 * front of every datagram. Datagrams may be lost: what has not come back is asked again.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "net.h"
#include "pattern.h"

enum {
    EVENTS = 256,
    BURST = 8, /* datagrams of a client in a row, in a flood */
    ROOM = WIRE_HEADER_MAX + WIRE_DATAGRAM_MAX,
    GIVEN_UP_MS = 200, /* after so long an answer is lost */
    SILENCE_MS = 10000,
};

struct player {
    int fd;
    struct sockaddr_in claimed;
    uint64_t serial;   /* of the question that is not answered yet */
    uint64_t asked_ns; /* for the first time */
    uint64_t sent_ns;
    bool is_waiting;
};

struct party {
    unsigned n;
    struct player players[];
};

static struct player open_player(struct client *client)
{
    const struct options *options = client->options;
    struct player player = { .claimed = link_client_address(client->n_links) };
    struct sockaddr_in own = link_own_address(client->n_links++);
    socklen_t len = sizeof own;

    player.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (player.fd < 0 || bind(player.fd, (const struct sockaddr *)&own, sizeof own) < 0 ||
        connect(player.fd, (const struct sockaddr *)&options->to, sizeof options->to) < 0 ||
        getsockname(player.fd, (struct sockaddr *)&own, &len) < 0)
        net_fail("a UDP socket: %s", strerror(errno));
    if (options->header == WIRE_HEADER_NONE && !options->claim)
        player.claimed = own;
    return player;
}

/* returns: the bytes of a whole datagram. */
static size_t write_datagram(const struct client *client, const struct player *player,
                             enum wire_work work, uint64_t serial, uint8_t bytes[ROOM])
{
    const struct options *options = client->options;
    size_t len = wire_header_write(options->header, &player->claimed, &options->to, bytes);
    struct wire_hello hello;

    if (len > 0)
        bytes[13] = 0x12; /* UDP over IPv4 */
    wire_hello_fill(&hello, work, serial, &player->claimed, false);
    memcpy(bytes + len, &hello, sizeof hello);
    memcpy(bytes + len + sizeof hello, pattern_at(serial), options->size - sizeof hello);
    return len + options->size;
}

static void send_question(const struct client *client, struct player *player, enum wire_work work)
{
    uint8_t bytes[ROOM];
    size_t len = write_datagram(client, player, work, player->serial, bytes);

    player->sent_ns = net_now_ns();
    if (send(player->fd, bytes, len, MSG_DONTWAIT) < 0 && errno != EAGAIN)
        net_fail("a datagram: %s", strerror(errno));
}

static void ask(const struct client *client, struct player *player, enum wire_work work)
{
    player->serial++;
    player->is_waiting = true;
    send_question(client, player, work);
    player->asked_ns = player->sent_ns;
}

static void verify(const struct client *client, const struct player *player, const uint8_t *bytes,
                   size_t len)
{
    size_t rest = client->options->size - sizeof(struct wire_hello);
    struct wire_hello hello;

    if (len != client->options->size)
        net_fail("an answer of %zu bytes instead of %zu", len, client->options->size);
    memcpy(&hello, bytes, sizeof hello);
    struct sockaddr_in seen = { .sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(hello.address),
                                .sin_port = htons((uint16_t)hello.port) };
    if (!wire_hello_is_right(&hello, true))
        net_fail("the bytes of an answer are wrong");
    if (hello.work != WIRE_COUNT &&
        !pattern_matches(hello.serial, bytes + sizeof hello, rest, true))
        net_fail("the bytes of an answer are wrong");
    if (hello.work != WIRE_COUNT && hello.serial > player->serial)
        net_fail("answer %" PRIu64 " instead of %" PRIu64, hello.serial, player->serial);
    if (seen.sin_addr.s_addr != player->claimed.sin_addr.s_addr ||
        seen.sin_port != player->claimed.sin_port)
        net_fail("the target saw %s, the client is %s", net_text(&seen),
                 net_text(&player->claimed));
}

/* returns: whether an answer has been read; *serial is its own, perhaps of an earlier question. */
static bool read_answer(const struct client *client, struct player *player, uint64_t *serial)
{
    uint8_t bytes[WIRE_DATAGRAM_MAX + 1];

    ssize_t n = recv(player->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n < 0)
        net_fail("an answer: %s", strerror(errno));
    verify(client, player, bytes, (size_t)n);
    memcpy(serial, bytes + offsetof(struct wire_hello, serial), sizeof *serial);
    return true;
}

/* Asks until there is an answer. returns: its serial. */
static uint64_t wait_answer(const struct client *client, struct player *player, enum wire_work work)
{
    struct pollfd poll_fd = { .fd = player->fd, .events = POLLIN };
    uint64_t end = net_now_ns() + SILENCE_MS * UINT64_C(1000000);
    uint64_t serial = 0;

    do {
        if (poll(&poll_fd, 1, GIVEN_UP_MS) == 0)
            send_question(client, player, work);
        else if (read_answer(client, player, &serial) &&
                 (work == WIRE_COUNT || serial == player->serial))
            return serial;
    } while (net_now_ns() < end);
    net_fail("no answer for %d ms", SILENCE_MS);
}

/* In groups, so that no queue is too short for them. Each has a session then. */
void *datagram_open(struct client *client)
{
    enum { GROUP = 64 };
    unsigned n = client->options->connections;
    struct party *party = calloc(1, sizeof *party + n * sizeof party->players[0]);

    if (!party)
        net_fail("%s", strerror(ENOMEM));
    party->n = n;
    for (unsigned first = 0; first < n; first += GROUP) {
        unsigned end = first + GROUP < n ? first + GROUP : n;
        for (unsigned i = first; i < end; i++) {
            party->players[i] = open_player(client);
            ask(client, &party->players[i], WIRE_ECHO);
        }
        for (unsigned i = first; i < end; i++) {
            wait_answer(client, &party->players[i], WIRE_ECHO);
            party->players[i].is_waiting = false;
            net_watch(client->epoll, party->players[i].fd, EPOLLIN, &party->players[i], true);
        }
    }
    return party;
}

static void ask_again(const struct client *client, struct party *party, struct result *result)
{
    uint64_t now = net_now_ns();

    for (unsigned i = 0; i < party->n; i++) {
        struct player *player = &party->players[i];
        if (!player->is_waiting || now - player->sent_ns < GIVEN_UP_MS * UINT64_C(1000000))
            continue;
        if (now - player->asked_ns > SILENCE_MS * UINT64_C(1000000))
            net_fail("no answer for %d ms", SILENCE_MS);
        result->lost++;
        send_question(client, player, WIRE_ECHO);
    }
}

/* returns: whether the player has been answered. */
static bool play(const struct client *client, struct player *player, struct result *result)
{
    uint64_t serial;

    if (!read_answer(client, player, &serial) || serial != player->serial || !player->is_waiting)
        return false;
    latency_add(result->latency, net_now_ns() - player->asked_ns);
    result->operations++;
    player->is_waiting = false;
    return true;
}

void datagram_echo_run(struct client *client, void *state, double seconds, struct result *result)
{
    struct party *party = state;
    struct epoll_event ready[EVENTS];
    uint64_t began = net_now_ns();
    uint64_t end = began + (uint64_t)(seconds * 1e9);
    uint64_t looked = began;
    unsigned active = party->n;

    for (unsigned i = 0; i < party->n; i++)
        ask(client, &party->players[i], WIRE_ECHO);
    while (active > 0) {
        int n = epoll_wait(client->epoll, ready, EVENTS, GIVEN_UP_MS / 4);
        uint64_t now = net_now_ns();
        for (int i = 0; i < n; i++) {
            if (!play(client, ready[i].data.ptr, result))
                continue;
            if (now < end)
                ask(client, ready[i].data.ptr, WIRE_ECHO);
            else
                active--;
        }
        if (now - looked > GIVEN_UP_MS / 4 * UINT64_C(1000000)) {
            ask_again(client, party, result);
            looked = now;
        }
    }
    result->seconds = (double)(net_now_ns() - began) / 1e9;
}

/* How many the target has received, once it has received what is on its way. */
static uint64_t count(struct client *client, struct party *party)
{
    uint64_t before;
    uint64_t now = 0;

    do {
        before = now;
        usleep(20000);
        send_question(client, &party->players[0], WIRE_COUNT);
        now = wait_answer(client, &party->players[0], WIRE_COUNT);
    } while (now != before);
    return now;
}

static void send_burst(const struct client *client, const struct player *player,
                       uint8_t room[BURST][ROOM])
{
    struct mmsghdr messages[BURST] = { 0 };
    struct iovec parts[BURST];

    for (unsigned i = 0; i < BURST; i++) {
        parts[i] =
            (struct iovec){ room[i], write_datagram(client, player, WIRE_FLOOD, i, room[i]) };
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    if (sendmmsg(player->fd, messages, BURST, MSG_DONTWAIT) < 0 && errno != EAGAIN)
        net_fail("a flood: %s", strerror(errno));
}

/* As fast as it can be sent; what counts is what arrives. */
void datagram_flood_run(struct client *client, void *state, double seconds, struct result *result)
{
    static uint8_t room[BURST][ROOM];
    struct party *party = state;
    uint64_t before = count(client, party);
    uint64_t began = net_now_ns();
    uint64_t end = began + (uint64_t)(seconds * 1e9);
    uint64_t sent = 0;

    for (unsigned i = 0; net_now_ns() < end; i = (i + 1) % party->n, sent += BURST)
        send_burst(client, &party->players[i], room);
    result->seconds = (double)(net_now_ns() - began) / 1e9;
    result->operations = count(client, party) - before;
    result->lost = sent - result->operations;
}

/* Sessions that are there, and silent. */
void datagram_hold_run(struct client *client, void *state, double seconds, struct result *result)
{
    (void)client;
    (void)state;
    (void)seconds;
    (void)result;
}
