/* SPDX-License-Identifier: BSD-2-Clause */
/* steer: which socket of a group gets a client's datagrams, whatever they come by. */
#include "net_support.h"

#include <arpa/inet.h>

#include "mmproxy/net/sock.h"
#include "mmproxy/net/steer.h"

enum { MEMBERS = 4, SENDERS = 8, CLIENTS = 64 };

static struct group {
    int members[MEMBERS];
    int senders[SENDERS];
    struct addr addr;
} group;

static void open_group(const char *host)
{
    struct addr any = support_host(host);

    for (unsigned i = 0; i < MEMBERS; i++) {
        group.members[i] =
            sock_receive(i == 0 ? &any : &group.addr, i == 0 ? SOCK_ALONE : SOCK_IN_GROUP);
        assert_return_code(group.members[i], errno);
        group.addr = support_name(group.members[i]);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        group.senders[i] = socket(addr_family(&any), SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_return_code(connect(group.senders[i], &group.addr.sa, addr_len(&group.addr)), errno);
    }
}

static void close_group(void)
{
    for (unsigned i = 0; i < MEMBERS; i++)
        close(group.members[i]);
    for (unsigned i = 0; i < SENDERS; i++)
        close(group.senders[i]);
}

/* returns: the member that gets it. */
static unsigned member_of(unsigned sender, const uint8_t *bytes, size_t len)
{
    struct pollfd polls[MEMBERS];
    uint8_t got[256];

    assert_int_equal(send(group.senders[sender], bytes, len, 0), len);
    for (unsigned i = 0; i < MEMBERS; i++)
        polls[i] = (struct pollfd){ .fd = group.members[i], .events = POLLIN };
    assert_int_equal(poll(polls, MEMBERS, 60 * 1000), 1);
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (!polls[i].revents)
            continue;
        assert_int_equal(recv(group.members[i], got, sizeof got, 0), len);
        return i;
    }
    fail();
    return 0;
}

/* Headers of a client with that number; by its own address, not by the order of its bits. */
static size_t write_v2(uint8_t *out, sa_family_t family, unsigned client, uint8_t command)
{
    static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";
    uint8_t block = family == AF_INET ? 12 : 36;
    uint8_t *addr = out + 16;
    size_t host = family == AF_INET ? 4 : 16;

    memset(out, 0, 64);
    memcpy(out, signature, sizeof signature);
    out[12] = (uint8_t)(0x20 | command);
    out[13] = family == AF_INET ? 0x12 : 0x22;
    out[15] = block;
    addr[host - 1] = (uint8_t)(client / 8);
    addr[2 * host] = 200;
    addr[2 * host + 1] = (uint8_t)(client % 8);
    return 16U + block;
}

static size_t write_spp(uint8_t *out, sa_family_t family, unsigned client, uint8_t command)
{
    (void)family;
    (void)command;
    memset(out, 0, 64);
    out[0] = 0x56;
    out[1] = 0xec;
    out[17] = (uint8_t)(client / 8);
    out[35] = (uint8_t)(client % 8);
    return 38;
}

static void expect_by_client(size_t (*write)(uint8_t *, sa_family_t, unsigned, uint8_t),
                             sa_family_t family)
{
    bool is_used[MEMBERS] = { false };
    uint8_t bytes[64];

    for (unsigned client = 0; client < CLIENTS; client++) {
        size_t len = write(bytes, family, client, 1);
        unsigned member = member_of(0, bytes, len);
        is_used[member] = true;
        for (unsigned sender = 1; sender < SENDERS; sender++)
            assert_int_equal(member_of(sender, bytes, len), member);
    }
    for (unsigned i = 0; i < MEMBERS; i++)
        assert_true(is_used[i]);
}

static const char *const hosts[] = { "127.0.0.1", "::1" };

static void a_client_of_v2_has_one_member(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(hosts); i++) {
        open_group(hosts[i]);
        assert_int_equal(steer_attach(group.members[0], addr_family(&group.addr), STEER_BY_V2, 4),
                         0);
        expect_by_client(write_v2, AF_INET);
        expect_by_client(write_v2, AF_INET6);
        close_group();
    }
}

static void a_client_of_spp_has_one_member(void **state)
{
    (void)state;
    open_group("127.0.0.1");
    assert_int_equal(steer_attach(group.members[1], AF_INET, STEER_BY_SPP, 4), 0);
    expect_by_client(write_spp, AF_INET6);
    close_group();
}

static void expect_by_peer(const uint8_t *bytes, size_t len)
{
    unsigned members[SENDERS];

    for (unsigned i = 0; i < SENDERS; i++)
        members[i] = member_of(i, bytes, len);
    for (unsigned i = 0; i < SENDERS; i++)
        assert_int_equal(member_of(i, bytes, len), members[i]);
    /* It is not where they were sent to that decides. */
    for (unsigned i = 0; i < SENDERS; i++)
        assert_int_equal(member_of(i, (const uint8_t *)"another", 7), members[i]);
}

static void a_peer_has_one_member(void **state)
{
    uint8_t local[64];

    (void)state;
    for (size_t i = 0; i < COUNT(hosts); i++) {
        open_group(hosts[i]);
        sa_family_t family = addr_family(&group.addr);
        assert_int_equal(steer_attach(group.members[0], family, STEER_BY_PEER, 4), 0);
        expect_by_peer((const uint8_t *)"bare", 4);
        close_group();

        open_group(hosts[i]);
        assert_int_equal(steer_attach(group.members[0], family, STEER_BY_V2, 4), 0);
        size_t len = write_v2(local, AF_INET, 1, 0);
        unsigned members[SENDERS];
        for (unsigned j = 0; j < SENDERS; j++)
            members[j] = member_of(j, local, len);
        write_v2(local, AF_INET, 2, 0); /* its block is of no account */
        for (unsigned j = 0; j < SENDERS; j++)
            assert_int_equal(member_of(j, local, len), members[j]);
        close_group();
    }
}

static void what_has_no_header_goes_by_its_peer(void **state)
{
    static const enum steer_by modes[] = { STEER_BY_V2, STEER_BY_SPP };

    (void)state;
    for (size_t i = 0; i < COUNT(modes); i++) {
        open_group(hosts[i]);
        assert_int_equal(steer_attach(group.members[0], addr_family(&group.addr), modes[i], 4), 0);
        expect_by_peer((const uint8_t *)"", 0);
        expect_by_peer((const uint8_t *)"a query that is longer than any header without a client",
                       55);
        close_group();
    }
}

static void what_is_too_short_arrives_too(void **state)
{
    (void)state;
    open_group("127.0.0.1");
    assert_int_equal(steer_attach(group.members[0], AF_INET, STEER_BY_V2, 4), 0);
    for (size_t len = 0; len < 28; len++)
        member_of(0, (const uint8_t *)"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c............", len);
    close_group();
}

static void members_beyond_the_number_get_nothing(void **state)
{
    uint8_t bytes[64];

    (void)state;
    open_group("127.0.0.1");
    assert_int_equal(steer_attach(group.members[0], AF_INET, STEER_BY_V2, 2), 0);
    for (unsigned client = 0; client < CLIENTS; client++)
        assert_in_range(member_of(0, bytes, write_v2(bytes, AF_INET, client, 1)), 0, 1);
    close_group();
}

static void a_freed_port_can_be_had_again_and_a_taken_one_not(void **state)
{
    (void)state;
    open_group("127.0.0.1");
    assert_int_equal(sock_receive(&group.addr, SOCK_ALONE), -EADDRINUSE);
    assert_int_equal(sock_receive(&group.addr, SOCK_BESIDE_FREED), -EADDRINUSE);
    for (unsigned i = 0; i < MEMBERS; i++)
        sock_free_port(group.members[i]);
    assert_int_equal(sock_receive(&group.addr, SOCK_ALONE), -EADDRINUSE);

    int first = sock_receive(&group.addr, SOCK_BESIDE_FREED);
    int second = sock_receive(&group.addr, SOCK_IN_GROUP);
    assert_return_code(first, -first);
    assert_return_code(second, -second);
    assert_int_equal(steer_attach(first, AF_INET, STEER_BY_SPP, 2), 0);
    unsigned n = 0;
    for (unsigned client = 0; client < CLIENTS; client++) {
        uint8_t bytes[64];
        struct pollfd polls[2] = { { .fd = first, .events = POLLIN },
                                   { .fd = second, .events = POLLIN } };
        int sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        size_t len = write_spp(bytes, AF_INET, client, 0);
        assert_int_equal(sendto(sender, bytes, len, 0, &group.addr.sa, addr_len(&group.addr)), len);
        assert_int_equal(poll(polls, 2, 60 * 1000), 1);
        n += polls[1].revents != 0;
        assert_int_equal(recv(polls[0].revents ? first : second, bytes, sizeof bytes, 0), len);
        close(sender);
    }
    assert_in_range(n, 1, CLIENTS - 1);
    close(first);
    close(second);
    close_group();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_of_v2_has_one_member),
        cmocka_unit_test(a_client_of_spp_has_one_member),
        cmocka_unit_test(a_peer_has_one_member),
        cmocka_unit_test(what_has_no_header_goes_by_its_peer),
        cmocka_unit_test(what_is_too_short_arrives_too),
        cmocka_unit_test(members_beyond_the_number_get_nothing),
        cmocka_unit_test(a_freed_port_can_be_had_again_and_a_taken_one_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
