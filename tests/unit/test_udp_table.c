/* SPDX-License-Identifier: BSD-2-Clause */
/* udp_table: by which address a session is found, in each mode. */
#include "net_support.h"

#include "mmproxy/worker/datagram/receiver.h"
#include "mmproxy/worker/datagram/udp_table.h"

enum { MANY = 1000 };

static struct listener_config config;
static struct listener listener = { .config = &config };
static struct receiver receiver = { .listener = &listener };
static struct receiver other = { .listener = &listener };

static struct udp_session make(struct receiver *of, const char *client, const char *peer)
{
    return (struct udp_session){ .receiver = of,
                                 .client = support_addr(client),
                                 .peer = support_addr(peer) };
}

static struct udp_session *find(const struct udp_table *table, const struct receiver *of,
                                const char *text)
{
    const struct addr key = support_addr(text);

    return udp_table_find(table, of, &key);
}

static void a_session_is_found_by_client_or_by_peer(void **state)
{
    static const enum udp_header modes[] = { UDP_HEADER_EVERY, UDP_HEADER_FIRST, UDP_HEADER_SPP };

    (void)state;
    for (size_t i = 0; i < COUNT(modes); i++) {
        struct udp_table *table = udp_table_new();
        bool is_first = modes[i] == UDP_HEADER_FIRST;

        config.udp_header = modes[i];
        struct udp_session session = make(&receiver, "198.51.100.1:1", "192.0.2.1:2");
        udp_table_add(table, &session);
        assert_ptr_equal(find(table, &receiver, "198.51.100.1:1"), is_first ? NULL : &session);
        assert_ptr_equal(find(table, &receiver, "192.0.2.1:2"), is_first ? &session : NULL);
        assert_null(find(table, &receiver, "198.51.100.1:2"));
        assert_null(find(table, &receiver, "192.0.2.1:1"));
        assert_null(find(table, &other, is_first ? "192.0.2.1:2" : "198.51.100.1:1"));
        udp_table_remove(table, &session);
        assert_null(find(table, &receiver, is_first ? "192.0.2.1:2" : "198.51.100.1:1"));
        udp_table_free(table);
    }
}

static void families_are_not_mixed_up(void **state)
{
    struct udp_table *table = udp_table_new();
    struct udp_session v4 = make(&receiver, "198.51.100.1:1", "192.0.2.1:2");
    struct udp_session v6 = make(&receiver, "[2001:db8::1]:1", "192.0.2.1:2");

    (void)state;
    config.udp_header = UDP_HEADER_EVERY;
    udp_table_add(table, &v4);
    udp_table_add(table, &v6);
    assert_ptr_equal(find(table, &receiver, "198.51.100.1:1"), &v4);
    assert_ptr_equal(find(table, &receiver, "[2001:db8::1]:1"), &v6);
    assert_null(find(table, &receiver, "[::ffff:198.51.100.1]:1"));
    udp_table_remove(table, &v4);
    udp_table_remove(table, &v6);
    udp_table_free(table);
}

static void of_many_each_is_found(void **state)
{
    static struct udp_session sessions[MANY];
    struct udp_table *table = udp_table_new();

    (void)state;
    config.udp_header = UDP_HEADER_EVERY;
    for (unsigned i = 0; i < MANY; i++) {
        sessions[i] = make(&receiver, "198.51.100.1:1", "192.0.2.1:2");
        addr_set_port(&sessions[i].client, (uint16_t)(i + 1));
        udp_table_add(table, &sessions[i]);
    }
    for (unsigned i = 0; i < MANY; i += 2)
        udp_table_remove(table, &sessions[i]);
    for (unsigned i = 0; i < MANY; i++)
        assert_ptr_equal(udp_table_find(table, &receiver, &sessions[i].client),
                         i % 2 == 0 ? NULL : &sessions[i]);
    for (unsigned i = 1; i < MANY; i += 2)
        udp_table_remove(table, &sessions[i]);
    udp_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_found_by_client_or_by_peer),
        cmocka_unit_test(families_are_not_mixed_up),
        cmocka_unit_test(of_many_each_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
