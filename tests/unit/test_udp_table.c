/* SPDX-License-Identifier: BSD-2-Clause */
/* udp_table: an entry is found by its address and port, for its receiver alone. */
#include "net_support.h"

#include "mmproxy/worker/datagram/receiver.h"
#include "mmproxy/worker/datagram/udp_table.h"

enum { MANY = 1000, FEW = 10 };

static struct receiver receiver;
static struct receiver other;
static struct addr keys[MANY];

static struct udp_table_entry make(unsigned i, const char *key)
{
    keys[i] = support_addr(key);
    return (struct udp_table_entry){ .receiver = &receiver, .key = &keys[i] };
}

static struct udp_table_entry *find(const struct udp_table *table, const struct receiver *of,
                                    const char *text)
{
    const struct addr key = support_addr(text);

    return udp_table_find(table, of, &key, 0);
}

static void an_entry_is_found_by_address_port_and_receiver(void **state)
{
    struct udp_table *table = udp_table_new(FEW);
    struct udp_table_entry v4 = make(0, "198.51.100.1:1");
    struct udp_table_entry v6 = make(1, "[2001:db8::1]:1");

    (void)state;
    udp_table_add(table, &v4);
    udp_table_add(table, &v6);
    assert_ptr_equal(find(table, &receiver, "198.51.100.1:1"), &v4);
    assert_ptr_equal(find(table, &receiver, "[2001:db8::1]:1"), &v6);
    assert_null(find(table, &receiver, "198.51.100.1:2"));
    assert_null(find(table, &receiver, "198.51.100.2:1"));
    assert_null(find(table, &receiver, "[::ffff:198.51.100.1]:1"));
    assert_null(find(table, &other, "198.51.100.1:1"));
    udp_table_remove(table, &v4);
    assert_null(find(table, &receiver, "198.51.100.1:1"));
    udp_table_remove(table, &v6);
    udp_table_free(table);
}

static void entries_of_one_key_are_found_one_after_the_other(void **state)
{
    struct udp_table *table = udp_table_new(FEW);
    struct udp_table_entry entries[] = { make(0, "198.51.100.1:1"), make(1, "198.51.100.1:1"),
                                         make(2, "198.51.100.1:2") };
    const struct addr key = support_addr("198.51.100.1:1");

    (void)state;
    entries[1].receiver = &other;
    for (unsigned i = 0; i < 3; i++)
        udp_table_add(table, &entries[i]);
    struct udp_table_entry *first = udp_table_next(table, NULL, &key, 0);
    assert_ptr_equal(first, &entries[1]);
    assert_ptr_equal(udp_table_next(table, first, &key, 0), &entries[0]);
    assert_null(udp_table_next(table, &entries[0], &key, 0));
    assert_null(udp_table_next(table, NULL, &key, 1));
    assert_ptr_equal(udp_table_find(table, &receiver, &key, 0), &entries[0]);
    for (unsigned i = 0; i < 3; i++)
        udp_table_remove(table, &entries[i]);
    udp_table_free(table);
}

/* More than it was made for, too. */
static void of_many_each_is_found(void **state)
{
    static struct udp_table_entry entries[MANY];

    (void)state;
    for (unsigned n_max = FEW; n_max <= MANY; n_max *= FEW) {
        struct udp_table *table = udp_table_new(n_max);

        for (unsigned i = 0; i < MANY; i++) {
            entries[i] = make(i, "198.51.100.1:1");
            addr_set_port(&keys[i], (uint16_t)(i + 1));
            udp_table_add(table, &entries[i]);
        }
        for (unsigned i = 0; i < MANY; i += 2)
            udp_table_remove(table, &entries[i]);
        for (unsigned i = 0; i < MANY; i++)
            assert_ptr_equal(udp_table_find(table, &receiver, &keys[i], 0),
                             i % 2 == 0 ? NULL : &entries[i]);
        for (unsigned i = 1; i < MANY; i += 2)
            udp_table_remove(table, &entries[i]);
        udp_table_free(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_found_by_address_port_and_receiver),
        cmocka_unit_test(entries_of_one_key_are_found_one_after_the_other),
        cmocka_unit_test(of_many_each_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
