/* SPDX-License-Identifier: BSD-2-Clause */
/* The expected addresses were computed by Python's hmac module. */
#include "net_support.h"

#include "mmproxy/base/client_map.h"

static struct prefix parse(const char *text)
{
    struct prefix prefix;
    const char *reason;

    assert_int_equal(prefix_parse(&prefix, text, &reason), PREFIX_OK);
    return prefix;
}

/* Bytes from 0 to 31. */
static struct client_map_key counting_key(void)
{
    struct client_map_key key;

    for (unsigned i = 0; i < CLIENT_MAP_KEY_LEN; i++)
        key.bytes[i] = (uint8_t)i;
    return key;
}

static void an_ipv6_client_has_the_address_of_its_network(void **state)
{
    static const struct {
        const char *subnet;
        const char *client;
        const char *mapped;
    } cases[] = {
        { "240.0.0.0/4", "[2001:db8:0:1::7]:51234", "254.129.92.152:51234" },
        { "240.0.0.0/4", "[2001:db8:0:1:ffff:ffff:ffff:ffff]:1", "254.129.92.152:1" },
        { "240.0.0.0/4", "[2001:db8:0:2::7]:51234", "247.87.249.197:51234" },
        { "198.18.0.0/15", "[2001:db8:0:1::7]:51234", "198.19.92.152:51234" },
        { "192.0.2.1", "[2001:db8::1]:1", "192.0.2.1:1" },
        { "0.0.0.0/0", "[2001:db8:0:1::7]:1", "158.129.92.152:1" },
        /* The second and the fourth would be 255.255.255.255 at the first try. */
        { "255.255.255.254/31", "[2001:db8:0:1::1]:1", "255.255.255.254:1" },
        { "255.255.255.254/31", "[2001:db8:0:2::1]:1", "255.255.255.254:1" },
        { "255.255.255.254/31", "[2001:db8:0:4::1]:1", "255.255.255.254:1" },
    };
    const struct client_map_key key = counting_key();

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct prefix subnet = parse(cases[i].subnet);
        const struct addr client = support_addr(cases[i].client);
        struct addr mapped = client_map_v6(&subnet, &key, &client);
        char text[ADDR_STRLEN];
        assert_string_equal(addr_format(&mapped, text), cases[i].mapped);
    }
}

static void another_key_is_another_address(void **state)
{
    const struct client_map_key zeroes = { { 0 } };
    const struct prefix subnet = parse("240.0.0.0/4");
    const struct addr client = support_addr("[2001:db8:0:1::7]:51234");
    struct addr mapped = client_map_v6(&subnet, &zeroes, &client);
    char text[ADDR_STRLEN];

    (void)state;
    assert_string_equal(addr_format(&mapped, text), "241.132.200.147:51234");
}

/* RFC 6052, section 2.4 */
static void an_ipv4_client_is_the_end_of_the_prefix(void **state)
{
    static const struct {
        const char *prefix;
        const char *mapped;
    } cases[] = {
        { "64:ff9b::/96", "[64:ff9b::c000:221]:51234" },
        { "2001:db8:122:344::/96", "[2001:db8:122:344::c000:221]:51234" },
    };
    const struct addr client = support_addr("192.0.2.33:51234");

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct prefix prefix = parse(cases[i].prefix);
        struct addr mapped = client_map_v4(&prefix, &client);
        char text[ADDR_STRLEN];
        assert_string_equal(addr_format(&mapped, text), cases[i].mapped);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ipv6_client_has_the_address_of_its_network),
        cmocka_unit_test(another_key_is_another_address),
        cmocka_unit_test(an_ipv4_client_is_the_end_of_the_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
