/* SPDX-License-Identifier: BSD-2-Clause */
/* datagram, spoof_datagram: batches between two real sockets, and what they tell of errors. */
#include "net_support.h"

#include "mmproxy/net/datagram.h"
#include "mmproxy/net/sock.h"
#include "mmproxy/net/spoof_datagram.h"
#include "netns_support.h"

#include <linux/sockios.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>

enum { FEW = 3, MANY = DATAGRAM_BATCH + 5 };

static struct datagrams *room;
static int receiver;
static int sender;
static struct addr address;

static const char *const hosts[] = { "0.0.0.0", "::" };
static const char *const loopbacks[] = { "127.0.0.1", "::1" };

static void open_pair(size_t family)
{
    struct addr any = support_host(hosts[family]);

    room = datagrams_new();
    assert_non_null(room);
    receiver = sock_receive(&any, SOCK_ALONE);
    assert_return_code(receiver, -receiver);
    address = support_host(loopbacks[family]);
    struct addr bound = support_name(receiver);
    addr_set_port(&address, addr_port(&bound));
    sender = socket(addr_family(&any), SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_return_code(connect(sender, &address.sa, addr_len(&address)), errno);
}

static void close_pair(void)
{
    datagrams_free(room);
    close(receiver);
    close(sender);
}

static int receive(bool *is_all)
{
    int on_the_way;

    /* The sender's as long as the receiver has not got it, which may be after send(2). */
    do
        assert_return_code(ioctl(sender, SIOCOUTQ, &on_the_way), errno);
    while (on_the_way > 0);
    support_wait(receiver, POLLIN);
    return datagrams_receive(room, receiver, is_all);
}

static void what_was_sent_is_received_with_its_addresses(void **state)
{
    (void)state;
    for (size_t family = 0; family < 2; family++) {
        open_pair(family);
        const struct addr peer = support_name(sender);
        const struct addr local = support_host(loopbacks[family]);
        static const char *const texts[FEW] = { "one", "", "three" };
        bool is_all = false;

        for (size_t i = 0; i < FEW; i++)
            assert_return_code(send(sender, texts[i], strlen(texts[i]), 0), errno);
        assert_int_equal(receive(&is_all), FEW);
        assert_true(is_all);
        for (unsigned i = 0; i < FEW; i++) {
            const struct datagram *each = datagrams_at(room, i);
            assert_int_equal(each->len, strlen(texts[i]));
            assert_memory_equal(each->bytes, texts[i], each->len);
            assert_true(addr_equal(&each->peer, &peer));
            assert_true(addr_equal_host(&each->local, &local));
        }
        assert_int_equal(datagrams_receive(room, receiver, &is_all), 0);
        close_pair();
    }
}

static void a_batch_is_not_more_than_it_says(void **state)
{
    bool is_all = true;

    (void)state;
    open_pair(0);
    for (unsigned i = 0; i < MANY; i++)
        assert_return_code(send(sender, "x", 1, 0), errno);
    assert_int_equal(receive(&is_all), DATAGRAM_BATCH);
    assert_false(is_all);
    assert_int_equal(receive(&is_all), MANY - DATAGRAM_BATCH);
    assert_true(is_all);
    close_pair();
}

static void replies_have_a_prefix_and_leave_from_where_they_came_to(void **state)
{
    (void)state;
    for (size_t family = 0; family < 2; family++) {
        open_pair(family);
        bool is_all;
        char got[64];
        const struct addr peer = support_name(sender);

        assert_return_code(send(sender, "query", 5, 0), errno);
        assert_int_equal(receive(&is_all), 1);
        const struct addr local = datagrams_at(room, 0)->local;
        struct datagram_way way = {
            .to = &peer, .from = &local, .prefix = "head", .prefix_len = 4
        };
        struct datagram_sent sent = datagrams_send(room, receiver, 0, 1, &way);
        assert_int_equal(sent.n, 1);
        assert_int_equal(sent.len, 5);
        assert_int_equal(sent.error, 0);
        /* The sender is connected: it gets nothing from elsewhere. */
        assert_int_equal(recv(sender, got, sizeof got, 0), 9);
        assert_memory_equal(got, "headquery", 9);
        close_pair();
    }
}

static void what_is_too_long_is_left_out_and_the_rest_is_sent(void **state)
{
    static char largest[65507];
    bool is_all;
    char got[8];

    (void)state;
    open_pair(0);
    const struct addr peer = support_name(sender);
    assert_return_code(send(sender, largest, sizeof largest, 0), errno);
    assert_return_code(send(sender, "small", 5, 0), errno);
    assert_int_equal(receive(&is_all), 2);
    struct datagram_way way = { .to = &peer, .prefix = "head", .prefix_len = 4 };
    struct datagram_sent sent = datagrams_send(room, receiver, 0, 2, &way);
    assert_int_equal(sent.n, 1);
    assert_int_equal(sent.error, EMSGSIZE);
    assert_int_equal(recv(sender, got, sizeof got, MSG_TRUNC), 9);
    close_pair();
}

enum { LEN_MAX = 2000, N_LENS = 12 };

/* Some of these fit together. */
static const size_t lens[N_LENS] = { 900, 900, 900, 100, 900, 0, 0, 50, 900, 900, 2000, 2000 };

static const uint8_t *bytes_of(unsigned i)
{
    static uint8_t bytes[LEN_MAX];

    memset(bytes, (int)('a' + i), sizeof bytes);
    return bytes;
}

static void expect_same(int fd, const char *prefix)
{
    uint8_t got[LEN_MAX + 64];
    size_t skip = strlen(prefix);

    for (unsigned i = 0; i < N_LENS; i++) {
        support_wait(fd, POLLIN);
        assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), skip + lens[i]);
        assert_memory_equal(got, prefix, skip);
        assert_memory_equal(got + skip, bytes_of(i), lens[i]);
    }
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), -1);
}

static void datagrams_that_are_sent_as_one_message_arrive_as_they_were(void **state)
{
    (void)state;
    for (unsigned variant = 0; variant < 4; variant++) {
        const char *prefix = variant / 2 ? "head" : "";
        bool is_all;

        open_pair(variant % 2);
        const struct addr peer = support_name(sender);
        struct datagram_way way = { .to = &peer, .prefix_len = strlen(prefix) };
        memcpy(way.prefix, prefix, way.prefix_len);
        for (unsigned i = 0; i < N_LENS; i++)
            assert_return_code(send(sender, bytes_of(i), lens[i], 0), errno);
        assert_int_equal(receive(&is_all), N_LENS);
        struct datagram_sent sent = datagrams_send(room, receiver, 0, N_LENS, &way);
        assert_int_equal(sent.n, N_LENS);
        assert_int_equal(sent.error, 0);
        expect_same(sender, prefix);
        close_pair();
    }
}

static void set_mtu(int mtu)
{
    struct ifreq request = { .ifr_name = "lo", .ifr_mtu = mtu };

    assert_return_code(ioctl(receiver, SIOCSIFMTU, &request), errno);
}

/* The kernel cuts nothing into pieces that would be cut again. */
static void datagrams_larger_than_the_way_allows_are_sent_one_by_one(void **state)
{
    bool is_all;

    (void)state;
    if (!support_has_own_network)
        skip();
    open_pair(0);
    const struct addr peer = support_name(sender);
    const struct datagram_way way = { .to = &peer };
    for (unsigned i = 0; i < N_LENS; i++)
        assert_return_code(send(sender, bytes_of(i), lens[i], 0), errno);
    assert_int_equal(receive(&is_all), N_LENS);
    set_mtu(1400);
    for (unsigned times = 0; times < 2; times++) {
        struct datagram_sent sent = datagrams_send(room, receiver, 0, N_LENS, &way);
        assert_int_equal(sent.n, N_LENS);
        assert_int_equal(sent.error, 0);
        expect_same(sender, "");
    }
    set_mtu(65536);
    close_pair();
}

static void a_message_of_several_datagrams_is_received_as_these(void **state)
{
    static const uint16_t segment = 400;
    enum { LEN = 1000 };
    bool is_all;

    (void)state;
    open_pair(0);
    support_set_option(receiver, IPPROTO_UDP, UDP_GRO, 1);
    assert_return_code(setsockopt(sender, IPPROTO_UDP, UDP_SEGMENT, &(int){ segment }, sizeof(int)),
                       errno);
    assert_int_equal(send(sender, bytes_of(0), LEN, 0), LEN);
    assert_int_equal(receive(&is_all), 3);
    for (unsigned i = 0; i < 3; i++) {
        const struct datagram *each = datagrams_at(room, i);
        assert_int_equal(each->len, i < 2 ? segment : LEN - 2 * segment);
        assert_memory_equal(each->bytes, bytes_of(0), each->len);
    }
    close_pair();
}

/* As many messages as a call takes, each with as many datagrams as the kernel puts into one. */
static void as_many_datagrams_as_there_can_be_have_room(void **state)
{
    enum { LEN = 8, OLDER_MAX = 64 };
    static const int room_wanted = 1 << 24;
    int segments = DATAGRAM_SEGMENTS_MAX;
    bool is_all;

    (void)state;
    if (!support_has_own_network)
        skip();
    open_pair(0);
    support_set_option(receiver, IPPROTO_UDP, UDP_GRO, 1);
    support_set_option(receiver, SOL_SOCKET, SO_RCVBUFFORCE, room_wanted);
    support_set_option(sender, SOL_SOCKET, SO_SNDBUFFORCE, room_wanted);
    support_set_option(sender, IPPROTO_UDP, UDP_SEGMENT, LEN);
    if (send(sender, bytes_of(0), (size_t)segments * LEN, 0) < 0)
        segments = OLDER_MAX;
    else
        assert_int_equal(receive(&is_all), segments);
    for (unsigned i = 0; i < DATAGRAM_BATCH; i++)
        assert_return_code(send(sender, bytes_of(i), (size_t)segments * LEN, 0), errno);
    assert_int_equal(receive(&is_all), DATAGRAM_BATCH * segments);
    assert_memory_equal(datagrams_at(room, DATAGRAM_BATCH * (unsigned)segments - 1)->bytes,
                        bytes_of(DATAGRAM_BATCH - 1), LEN);
    close_pair();
}

/* Such as one with port 0. */
static void a_peer_that_gets_nothing_costs_others_no_calls(void **state)
{
    enum { N = 4, LEN = 100 };
    bool is_all;

    (void)state;
    open_pair(0);
    struct addr peer = support_name(sender);
    struct addr nowhere = peer;
    addr_set_port(&nowhere, 0);
    for (unsigned i = 0; i < N; i++)
        assert_return_code(send(sender, bytes_of(i), LEN, 0), errno);
    assert_int_equal(receive(&is_all), N);
    struct datagram_way way = { .to = &nowhere };
    struct datagram_sent sent = datagrams_send(room, receiver, 0, N, &way);
    assert_int_equal(sent.n, 0);
    assert_int_equal(sent.error, EINVAL);
    support_set_option(sender, IPPROTO_UDP, UDP_GRO, 1);
    way.to = &peer;
    assert_int_equal(datagrams_send(room, receiver, 0, N, &way).n, N);
    uint8_t got[N * LEN];
    assert_int_equal(recv(sender, got, sizeof got, 0), N * LEN); /* one message still */
    close_pair();
}

/* A closed port at the target, told by a socket that is connected and by one that is not. */
static void an_error_of_an_earlier_datagram_costs_no_later_one(void **state)
{
    (void)state;
    for (unsigned is_connected = 0; is_connected < 2; is_connected++) {
        struct spoof spoof = { .source = support_host("127.0.0.1"), .mark = 1 };
        bool is_all;

        if (!support_has_own_network)
            skip();
        open_pair(0);
        assert_return_code(send(sender, "x", 1, 0), errno);
        assert_int_equal(receive(&is_all), 1);
        close(receiver);
        spoof.target = address;
        int fd = spoof_datagram(&spoof, is_connected);
        assert_return_code(fd, -fd);
        struct datagram_way way = { .to = is_connected ? NULL : &address };
        assert_int_equal(datagrams_send(room, fd, 0, 1, &way).error, 0);
        support_wait(fd, POLLERR);

        receiver = sock_receive(&address, SOCK_ALONE);
        assert_return_code(receiver, -receiver);
        struct datagram_sent sent = datagrams_send(room, fd, 0, 1, &way);
        assert_int_equal(sent.n, 1);
        assert_int_equal(sent.error, ECONNREFUSED);
        assert_int_equal(receive(&is_all), 1);
        if (!is_connected)
            assert_int_equal(spoof_datagram_error(fd), ECONNREFUSED);
        assert_int_equal(spoof_datagram_error(fd), 0);
        close(fd);
        close_pair();
    }
}

static void a_clients_port_is_kept_where_it_is_free(void **state)
{
    struct spoof spoof = { .source = support_addr("198.51.100.7:5000"),
                           .target = support_addr("127.0.0.1:9"),
                           .mark = 1,
                           .preserve_port = true };

    (void)state;
    if (!support_has_own_network)
        skip();
    int fd = spoof_datagram(&spoof, false);
    assert_return_code(fd, -fd);
    struct addr name = support_name(fd);
    assert_true(addr_equal(&name, &spoof.source));
    close(fd);

    struct addr taken = support_addr("0.0.0.0:5000");
    int other = sock_receive(&taken, SOCK_ALONE);
    assert_return_code(other, -other);
    fd = spoof_datagram(&spoof, true);
    assert_return_code(fd, -fd);
    name = support_name(fd);
    assert_true(addr_equal_host(&name, &spoof.source));
    assert_int_not_equal(addr_port(&name), 5000);
    close(fd);
    close(other);
}

/* The answers for one of them would reach the other. */
static void two_clients_with_one_address_have_not_one_port(void **state)
{
    struct spoof spoof = { .source = support_addr("198.51.100.7:5000"),
                           .target = support_addr("127.0.0.1:9"),
                           .mark = 1 };

    (void)state;
    if (!support_has_own_network)
        skip();
    for (unsigned i = 0; i < 3; i++) {
        spoof.preserve_port = i < 2;
        spoof.is_shared = i == 1;
        int first = spoof_datagram(&spoof, false);
        int second = spoof_datagram(&spoof, false);
        assert_return_code(first, -first);
        assert_return_code(second, -second);
        struct addr one = support_name(first);
        struct addr other = support_name(second);
        bool has_own = addr_port(&one) == 5000;
        assert_int_equal(has_own, spoof.preserve_port);
        assert_int_equal(addr_equal(&one, &other), i == 0);
        close(first);
        close(second);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sent_is_received_with_its_addresses),
        cmocka_unit_test(a_batch_is_not_more_than_it_says),
        cmocka_unit_test(replies_have_a_prefix_and_leave_from_where_they_came_to),
        cmocka_unit_test(what_is_too_long_is_left_out_and_the_rest_is_sent),
        cmocka_unit_test(datagrams_that_are_sent_as_one_message_arrive_as_they_were),
        cmocka_unit_test(datagrams_larger_than_the_way_allows_are_sent_one_by_one),
        cmocka_unit_test(a_message_of_several_datagrams_is_received_as_these),
        cmocka_unit_test(as_many_datagrams_as_there_can_be_have_room),
        cmocka_unit_test(a_peer_that_gets_nothing_costs_others_no_calls),
        cmocka_unit_test(an_error_of_an_earlier_datagram_costs_no_later_one),
        cmocka_unit_test(a_clients_port_is_kept_where_it_is_free),
        cmocka_unit_test(two_clients_with_one_address_have_not_one_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
