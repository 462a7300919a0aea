/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include "mmproxy/worker/clients.h"

enum { SSH = 0, WEB = 1, MANY = 20 * 1000 };

static const struct hash_secret secret = { { 0x1234, 0x5678, 0x9abc } };
static struct clients clients;

static int empty(void **state)
{
    (void)state;
    memset(&clients, 0, sizeof clients);
    return 0;
}

static uint64_t of(const char *text, unsigned listener)
{
    struct addr addr = support_addr(text);

    return clients_hash(&secret, listener, &addr);
}

static uint64_t numbered(uint32_t number)
{
    uint8_t bytes[16] = { 0x20, 0x01, 0x0d, 0xb8 };
    struct addr addr = { 0 };

    memcpy(bytes + 12, &number, sizeof number);
    addr_from_bytes(&addr, AF_INET6, bytes, 0);
    return clients_hash(&secret, SSH, &addr);
}

static void a_client_is_counted_at_each_listener_apart(void **state)
{
    uint64_t a = of("198.51.100.7:1000", SSH);

    (void)state;
    assert_int_equal(clients_begin(&clients, a), 0);
    assert_int_equal(clients_begin(&clients, a), 0);
    assert_int_equal(clients_begin(&clients, of("198.51.100.7:1000", WEB)), 0);
    assert_int_equal(clients_sessions(&clients, a), 2);
    assert_int_equal(clients_sessions(&clients, of("198.51.100.7:1000", WEB)), 1);
    assert_int_equal(clients_sessions(&clients, of("198.51.100.8:1000", SSH)), 0);
    clients_end(&clients, a);
    assert_int_equal(clients_sessions(&clients, a), 1);
    clients_end(&clients, a);
    clients_end(&clients, a); /* once too often */
    assert_int_equal(clients_sessions(&clients, a), 0);
    assert_int_equal(clients_sessions(&clients, of("198.51.100.7:1000", WEB)), 1);
}

static void a_client_s_port_does_not_matter_its_family_does(void **state)
{
    (void)state;
    assert_true(of("198.51.100.7:1000", SSH) == of("198.51.100.7:1001", SSH));
    assert_true(of("198.51.100.7:1000", SSH) != of("[::c633:6407]:1000", SSH)); /* the same bits */
}

static void the_secret_decides_where_clients_are(void **state)
{
    static const struct hash_secret other = { { 0x1234, 0x5678, 0x9abd } };
    struct addr addr = support_addr("198.51.100.7:1000");

    (void)state;
    assert_true(clients_hash(&secret, SSH, &addr) != clients_hash(&other, SSH, &addr));
}

static void many_clients_come_and_go_in_any_order_and_all_counts_are_right(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < MANY; i++)
            for (uint32_t n = 0; n <= i % 3; n++)
                assert_int_equal(clients_begin(&clients, numbered(i)), 0);
        for (uint32_t i = 0; i < MANY; i += 2)
            clients_end(&clients, numbered(i));
        for (uint32_t i = 0; i < MANY; i++)
            assert_int_equal(clients_sessions(&clients, numbered(i)), i % 3 + i % 2);
        for (uint32_t i = 0; i < MANY; i++)
            for (uint32_t n = 0; n < i % 3 + i % 2; n++)
                clients_end(&clients, numbered(i));
        for (uint32_t i = 0; i < MANY; i++)
            assert_int_equal(clients_sessions(&clients, numbered(i)), 0);
    }
}

static void a_full_table_is_an_error_and_forgets_nobody(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < CLIENTS_MAX; i++)
        assert_int_equal(clients_begin(&clients, numbered(i)), 0);
    assert_int_equal(clients_begin(&clients, numbered(CLIENTS_MAX)), -ENOSPC);
    assert_int_equal(clients_begin(&clients, numbered(0)), 0);
    for (uint32_t i = 1; i < CLIENTS_MAX; i++) {
        assert_int_equal(clients_sessions(&clients, numbered(i)), 1);
        clients_end(&clients, numbered(i));
    }
    assert_int_equal(clients_sessions(&clients, numbered(0)), 2);
    /* After such a rush there is room again, but for entries that lead to the first client's. */
    for (uint32_t i = 1; i < CLIENTS_MAX - 1000; i++)
        assert_int_equal(clients_begin(&clients, numbered(CLIENTS_MAX + i)), 0);
}

static void a_search_ends_in_a_table_without_an_empty_entry(void **state)
{
    uint64_t a = of("198.51.100.7:1000", SSH);

    (void)state;
    atomic_store(&clients.n_used, UINT32_MAX);
    for (size_t i = 0; i < COUNT(clients.entries); i++)
        atomic_store(&clients.entries[i], UINT64_C(0xbad00000000) | 1);
    assert_int_equal(clients_sessions(&clients, a), 0);
    assert_int_equal(clients_begin(&clients, a), -ENOSPC);
    clients_end(&clients, a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_client_is_counted_at_each_listener_apart, empty),
        cmocka_unit_test_setup(a_client_s_port_does_not_matter_its_family_does, empty),
        cmocka_unit_test_setup(the_secret_decides_where_clients_are, empty),
        cmocka_unit_test_setup(many_clients_come_and_go_in_any_order_and_all_counts_are_right,
                               empty),
        cmocka_unit_test_setup(a_full_table_is_an_error_and_forgets_nobody, empty),
        cmocka_unit_test_setup(a_search_ends_in_a_table_without_an_empty_entry, empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
