/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <net/if.h>

#include "mmproxy/base/addr.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define NO_PORT      "port is missing"
#define BAD_PORT     "port is not a number from 1 to 65535"
#define BAD_V4       "not an IPv4 address before the port"
#define BAD_V6       "not an IPv6 address between the brackets"
#define NO_BRACKETS  "an IPv6 address with a port needs brackets: [ADDR]:PORT"
#define NO_INTERFACE "there is no such interface"

static const struct {
    const char *name;
    const char *text;
    const char *formatted; /* NULL where it is refused */
    const char *reason;
} endpoints[] = {
    { "an IPv4 endpoint", "192.0.2.1:22", "192.0.2.1:22", NULL },
    { "the lowest and the highest there is", "0.0.0.0:1", "0.0.0.0:1", NULL },
    { "the highest", "255.255.255.255:65535", "255.255.255.255:65535", NULL },
    { "an IPv6 endpoint", "[2001:db8::7]:22", "[2001:db8::7]:22", NULL },
    { "IPv6 in upper case and in full", "[2001:0DB8:0:0:0:0:0:ABCD]:22", "[2001:db8::abcd]:22",
      NULL },
    { "the unspecified IPv6 address", "[::]:2222", "[::]:2222", NULL },
    { "a v4-mapped address stays what it is", "[::ffff:192.0.2.1]:22", "[::ffff:192.0.2.1]:22",
      NULL },
    { "the longest text", "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535",
      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", NULL },
    { "nothing", "", NULL, NO_PORT },
    { "a colon", ":", NULL, BAD_V4 },
    { "a port alone", ":22", NULL, BAD_V4 },
    { "an IPv4 address alone", "192.0.2.1", NULL, NO_PORT },
    { "an empty port", "192.0.2.1:", NULL, BAD_PORT },
    { "port 0", "192.0.2.1:0", NULL, BAD_PORT },
    { "port 65536", "192.0.2.1:65536", NULL, BAD_PORT },
    { "a port beyond every integer", "192.0.2.1:18446744073709551638", NULL, BAD_PORT },
    { "a port with a plus", "192.0.2.1:+22", NULL, BAD_PORT },
    { "a port with a minus", "192.0.2.1:-22", NULL, BAD_PORT },
    { "a port with a leading zero", "192.0.2.1:022", NULL, BAD_PORT },
    { "a hexadecimal port", "192.0.2.1:0x16", NULL, BAD_PORT },
    { "a space before the port", "192.0.2.1: 22", NULL, BAD_PORT },
    { "a space behind the port", "192.0.2.1:22 ", NULL, BAD_PORT },
    { "a service's name", "192.0.2.1:ssh", NULL, BAD_PORT },
    { "a name", "localhost:22", NULL, BAD_V4 },
    { "a space before the address", " 192.0.2.1:22", NULL, BAD_V4 },
    { "three parts", "192.0.2:22", NULL, BAD_V4 },
    { "an octal part", "192.0.2.01:22", NULL, BAD_V4 },
    { "a part of 256", "192.0.2.256:22", NULL, BAD_V4 },
    { "IPv6 without brackets", "2001:db8::7:22", NULL, NO_BRACKETS },
    { "IPv6 without a port", "[2001:db8::7]", NULL, NO_PORT },
    { "rubbish behind the bracket", "[2001:db8::7]22", NULL, NO_PORT },
    { "no closing bracket", "[2001:db8::7:22", NULL, "closing bracket is missing" },
    { "empty brackets", "[]:22", NULL, BAD_V6 },
    { "two opening brackets", "[[::1]:22", NULL, BAD_V6 },
    { "IPv4 between brackets", "[192.0.2.1]:22", NULL,
      "only an IPv6 address goes between brackets" },
    { "five hexadecimal digits", "[::00001]:22", NULL, BAD_V6 },
    { "nine groups", "[1:2:3:4:5:6:7:8:9]:22", NULL, BAD_V6 },
    { "a host too long for anything",
      "11111111111111111111111111111111111111111111111111111111111111111111111111:22", NULL,
      "not an IPv4 or IPv6 address" },
    { "a scope that no interface has", "[fe80::1%no-such-if0]:22", NULL, NO_INTERFACE },
    { "an empty scope", "[fe80::1%]:22", NULL, NO_INTERFACE },
    { "scope 0", "[fe80::1%0]:22", NULL, NO_INTERFACE },
    { "a scope number that no interface has", "[fe80::1%2147483647]:22", NULL, NO_INTERFACE },
    { "a scope where none belongs", "[2001:db8::7%lo]:22", NULL,
      "only a link-local address has an interface" },
};

static void an_endpoint_is_parsed_strictly(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(endpoints); i++) {
        char text[ADDR_STRLEN];
        struct addr addr;
        const char *reason = addr_parse(&addr, endpoints[i].text);

        if ((reason == NULL) != (endpoints[i].reason == NULL) ||
            (reason != NULL && strcmp(reason, endpoints[i].reason) != 0))
            fail_msg("%s: reason is %s", endpoints[i].name, reason != NULL ? reason : "none");
        assert_int_equal(addr_is_set(&addr), reason == NULL);
        if (reason == NULL)
            assert_string_equal(addr_format(&addr, text), endpoints[i].formatted);
    }
}

static void a_formatted_endpoint_parses_to_itself(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(endpoints); i++) {
        char text[ADDR_STRLEN];
        struct addr first;
        struct addr second;

        if (addr_parse(&first, endpoints[i].text) != NULL)
            continue;
        assert_null(addr_parse(&second, addr_format(&first, text)));
        assert_true(addr_equal(&first, &second));
    }
}

static void a_link_local_address_takes_an_interface_by_name_and_by_index(void **state)
{
    struct addr by_name;
    struct addr by_index;
    char text[ADDR_STRLEN];
    char expected[ADDR_STRLEN];

    (void)state;
    assert_null(addr_parse(&by_name, "[fe80::1%lo]:22"));
    assert_int_equal(by_name.in6.sin6_scope_id, if_nametoindex("lo"));
    snprintf(expected, sizeof(expected), "[fe80::1%%%u]:22", if_nametoindex("lo"));
    assert_string_equal(addr_format(&by_name, text), expected);
    assert_null(addr_parse(&by_index, expected));
    assert_true(addr_equal(&by_name, &by_index));
}

static void a_host_is_parsed_without_a_port(void **state)
{
    static const char *const refused[] = {
        "", "192.0.2.1:22", "[::1]", "::1]", "192.0.2", " ::1", "::1 ", "fe80::1%lo", "1", "host",
    };
    struct addr addr;
    char text[ADDR_STRLEN];

    (void)state;
    assert_null(addr_parse_host(&addr, "192.0.2.1"));
    assert_string_equal(addr_format_host(&addr, text), "192.0.2.1");
    assert_int_equal(addr_port(&addr), 0);
    assert_null(addr_parse_host(&addr, "2001:DB8::7"));
    assert_string_equal(addr_format_host(&addr, text), "2001:db8::7");
    for (size_t i = 0; i < COUNT(refused); i++) {
        if (addr_parse_host(&addr, refused[i]) == NULL)
            fail_msg("\"%s\" is not refused", refused[i]);
        assert_false(addr_is_set(&addr));
    }
}

static void the_longest_address_fits_into_its_text(void **state)
{
    struct addr addr = { .in6 = { .sin6_family = AF_INET6, .sin6_scope_id = UINT32_MAX } };
    char text[ADDR_STRLEN];

    (void)state;
    memset(&addr.in6.sin6_addr, 0xff, sizeof(addr.in6.sin6_addr));
    addr_set_port(&addr, 65535);
    assert_string_equal(addr_format(&addr, text),
                        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
}

static void no_address_is_a_harmless_value(void **state)
{
    struct addr none = { .in6 = { .sin6_family = AF_UNSPEC } };
    struct addr some;
    char text[ADDR_STRLEN];

    (void)state;
    assert_null(addr_parse(&some, "192.0.2.1:22"));
    assert_false(addr_is_set(&none));
    assert_int_equal(addr_len(&none), 0);
    addr_set_port(&none, 22);
    assert_int_equal(addr_port(&none), 0);
    assert_string_equal(addr_format(&none, text), "-");
    assert_string_equal(addr_format_host(&none, text), "-");
    addr_unmap(&none);
    assert_true(addr_equal(&none, &none));
    assert_false(addr_equal(&none, &some));
    assert_false(addr_is_loopback(&none));
    assert_false(addr_is_local_claim(&none));
}

static void lengths_are_those_of_the_socket_calls(void **state)
{
    struct addr addr;

    (void)state;
    assert_null(addr_parse(&addr, "192.0.2.1:22"));
    assert_int_equal(addr_len(&addr), sizeof(struct sockaddr_in));
    assert_null(addr_parse(&addr, "[::1]:22"));
    assert_int_equal(addr_len(&addr), sizeof(struct sockaddr_in6));
}

static void only_mapped_addresses_are_unmapped(void **state)
{
    struct addr addr;
    char text[ADDR_STRLEN];

    (void)state;
    assert_null(addr_parse(&addr, "[::ffff:192.0.2.1]:22"));
    addr_unmap(&addr);
    assert_string_equal(addr_format(&addr, text), "192.0.2.1:22");
    assert_int_equal(addr_family(&addr), AF_INET);
    assert_null(addr_parse(&addr, "[::192.0.2.1]:22"));
    addr_unmap(&addr);
    assert_int_equal(addr_family(&addr), AF_INET6);
    assert_null(addr_parse(&addr, "[64:ff9b::192.0.2.1]:22"));
    addr_unmap(&addr);
    assert_int_equal(addr_family(&addr), AF_INET6);
}

static void equality_counts_what_the_header_says(void **state)
{
    struct addr a;
    struct addr b;

    (void)state;
    assert_null(addr_parse(&a, "192.0.2.1:22"));
    assert_null(addr_parse(&b, "192.0.2.1:23"));
    assert_false(addr_equal(&a, &b));
    assert_true(addr_equal_host(&a, &b));
    assert_null(addr_parse(&b, "192.0.2.2:22"));
    assert_false(addr_equal_host(&a, &b));
    assert_null(addr_parse(&b, "[::ffff:192.0.2.1]:22"));
    assert_false(addr_equal_host(&a, &b));
    assert_null(addr_parse(&a, "[fe80::1]:22"));
    assert_null(addr_parse(&b, "[fe80::1%lo]:22"));
    assert_false(addr_equal(&a, &b));
    assert_true(addr_equal_host(&a, &b));
}

static void what_passes_for_local_is_known(void **state)
{
    static const struct {
        const char *text;
        bool is_loopback;
        bool is_local_claim;
    } cases[] = {
        { "127.0.0.1", true, true },
        { "127.255.255.255", true, true },
        { "126.255.255.255", false, false },
        { "128.0.0.0", false, false },
        { "0.0.0.0", false, true },
        { "0.1.2.3", false, true },
        { "1.0.0.0", false, false },
        { "223.255.255.255", false, false },
        { "224.0.0.0", false, true },
        { "239.255.255.255", false, true },
        { "240.0.0.0", false, false },
        { "255.255.255.254", false, false },
        { "255.255.255.255", false, true },
        { "10.0.0.1", false, false },
        { "::", false, true },
        { "::1", true, true },
        { "::2", false, false },
        { "ff02::1", false, true },
        { "fe80::1", false, false },
        { "2001:db8::1", false, false },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct addr addr;

        assert_null(addr_parse_host(&addr, cases[i].text));
        if (addr_is_loopback(&addr) != cases[i].is_loopback ||
            addr_is_local_claim(&addr) != cases[i].is_local_claim)
            fail_msg("%s", cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_endpoint_is_parsed_strictly),
        cmocka_unit_test(a_formatted_endpoint_parses_to_itself),
        cmocka_unit_test(a_link_local_address_takes_an_interface_by_name_and_by_index),
        cmocka_unit_test(a_host_is_parsed_without_a_port),
        cmocka_unit_test(the_longest_address_fits_into_its_text),
        cmocka_unit_test(no_address_is_a_harmless_value),
        cmocka_unit_test(lengths_are_those_of_the_socket_calls),
        cmocka_unit_test(only_mapped_addresses_are_unmapped),
        cmocka_unit_test(equality_counts_what_the_header_says),
        cmocka_unit_test(what_passes_for_local_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
