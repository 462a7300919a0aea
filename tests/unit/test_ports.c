/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include "mmproxy/base/ports.h"

#define NO_PORT "port is not a number from 1 to 65535"

static void format_list(const struct port_list *list, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < list->n; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%u-%u", i > 0 ? "," : "",
                                 list->items[i].first, list->items[i].last);
}

static void a_list_of_ports_is_sorted_and_its_ranges_are_apart(void **state)
{
    static const struct {
        const char *text;
        const char *list; /* or why it is none */
    } cases[] = {
        { "1", "1-1" },
        { "65535", "65535-65535" },
        { "8000-8099,9000", "8000-8099,9000-9000" },
        { " 9000 , 8000-8099 ", "8000-8099,9000-9000" },
        { "5-6,7", "5-7" },
        { "7,5-6", "5-7" },
        { "10-20,15-30,1-65535", "1-65535" },
        { "1,3,5,2-4", "1-5" },
        { "65535,65534", "65534-65535" },
        { "20-30,20-30", "20-30" },
        { "", NO_PORT },
        { ",", NO_PORT },
        { "1,", NO_PORT },
        { "1 2", NO_PORT },
        { "0", NO_PORT },
        { "01", NO_PORT },
        { "65536", NO_PORT },
        { "99999999999999999999", NO_PORT },
        { "-5", NO_PORT },
        { "5-", NO_PORT },
        { "5--6", NO_PORT },
        { "5-6-7", NO_PORT },
        { "ssh", NO_PORT },
        { "6-5", "the range of ports ends before it begins" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct port_list list;
        char text[256];
        const char *reason = port_list_parse(&list, cases[i].text);
        if (!reason)
            format_list(&list, text, sizeof text);
        if (strcmp(reason ? reason : text, cases[i].list) != 0)
            fail_msg("%s: %s", cases[i].text, reason ? reason : text);
    }
}

static void a_list_has_room_for_32_ranges(void **state)
{
    struct port_list list = { .n = 0 };

    (void)state;
    for (unsigned i = 0; i < PORT_LIST_MAX; i++)
        assert_true(port_list_add(
            &list, (struct port_range){ (uint16_t)(1000 - 2 * i), (uint16_t)(1000 - 2 * i) }));
    struct port_list before = list;
    assert_false(port_list_add(&list, (struct port_range){ 5, 5 }));
    assert_memory_equal(&before, &list, sizeof list);
    assert_true(port_list_add(&list, (struct port_range){ 999, 999 }));
    assert_int_equal(list.n, PORT_LIST_MAX - 1);
    assert_true(port_list_contains(&list, 998));
    assert_true(port_list_contains(&list, 1000));
    assert_false(port_list_contains(&list, 1001));
    assert_false(port_list_contains(&list, 0));
}

static void an_address_may_have_a_range_of_ports(void **state)
{
    static const struct {
        const char *text;
        const char *range; /* or why it is none */
        unsigned count;
    } cases[] = {
        { "0.0.0.0:22", "0.0.0.0:22", 1 },
        { "0.0.0.0:22-22", "0.0.0.0:22", 1 },
        { "[::]:1-65535", "[::]:1-65535", 65535 },
        { "127.0.0.1:65534-65535", "127.0.0.1:65534-65535", 2 },
        { "127.0.0.1:2-1", "the range of ports ends before it begins", 0 },
        { "127.0.0.1:1-", NO_PORT, 0 },
        { "127.0.0.1:-1", NO_PORT, 0 },
        { "127.0.0.1:1-2-3", NO_PORT, 0 },
        { "127.0.0.1:1-65536", NO_PORT, 0 },
        { "127.0.0.1:0-5", NO_PORT, 0 },
        { "127.0.0.1", "port is missing", 0 },
        { "[::1]", "port is missing", 0 },
        { "", "port is missing", 0 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct addr_range range;
        char text[ADDR_RANGE_STRLEN];
        const char *reason = addr_range_parse(&range, cases[i].text);
        assert_string_equal(reason ? reason : addr_range_format(&range, text), cases[i].range);
        if (reason)
            assert_false(addr_is_set(&range.addr));
        else
            assert_int_equal(addr_range_count(&range), cases[i].count);
    }
}

static void an_address_is_in_a_range_by_its_port(void **state)
{
    struct addr_range range;
    struct addr addr;

    (void)state;
    assert_null(addr_range_parse(&range, "192.0.2.1:20-29"));
    addr = addr_range_at(&range, 9);
    assert_int_equal(addr_port(&addr), 29);
    assert_true(addr_range_contains(&range, &addr));
    addr_set_port(&addr, 30);
    assert_false(addr_range_contains(&range, &addr));
    addr = support_addr("192.0.2.2:20");
    assert_false(addr_range_contains(&range, &addr));
    addr = support_addr("[::1]:20");
    assert_false(addr_range_contains(&range, &addr));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_of_ports_is_sorted_and_its_ranges_are_apart),
        cmocka_unit_test(a_list_has_room_for_32_ranges),
        cmocka_unit_test(an_address_may_have_a_range_of_ports),
        cmocka_unit_test(an_address_is_in_a_range_by_its_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
