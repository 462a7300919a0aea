/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "mmproxy/base/subnets.h"
#include "patience.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define BAD_ADDRESS "not an IPv4 or IPv6 address"
#define BAD_LEN4    "prefix length is not a number from 0 to 32"
#define BAD_LEN6    "prefix length is not a number from 0 to 128"

static const struct {
    const char *name;
    const char *text;
    enum prefix_verdict verdict;
    const char *result; /* the prefix, or the reason */
} prefixes[] = {
    { "an IPv4 prefix", "192.0.2.0/24", PREFIX_OK, "192.0.2.0/24" },
    { "an IPv4 address", "192.0.2.1", PREFIX_OK, "192.0.2.1/32" },
    { "all of IPv4", "0.0.0.0/0", PREFIX_OK, "0.0.0.0/0" },
    { "a half", "128.0.0.0/1", PREFIX_OK, "128.0.0.0/1" },
    { "an IPv6 prefix", "2001:db8::/32", PREFIX_OK, "2001:db8::/32" },
    { "an IPv6 address", "2001:DB8::7", PREFIX_OK, "2001:db8::7/128" },
    { "all of IPv6", "::/0", PREFIX_OK, "::/0" },
    { "a prefix of 65 bits", "2001:db8:0:0:8000::/65", PREFIX_OK, "2001:db8:0:0:8000::/65" },
    { "IPv4 host bits", "192.0.2.1/24", PREFIX_HOST_BITS, "192.0.2.0/24" },
    { "one IPv4 host bit within a byte", "192.0.2.130/26", PREFIX_HOST_BITS, "192.0.2.128/26" },
    { "all of IPv4, written carelessly", "1.2.3.4/0", PREFIX_HOST_BITS, "0.0.0.0/0" },
    { "IPv6 host bits", "2001:db8::7/32", PREFIX_HOST_BITS, "2001:db8::/32" },
    { "a v4-mapped address", "::ffff:192.0.2.1", PREFIX_OK, "192.0.2.1/32" },
    { "a v4-mapped prefix", "::ffff:192.0.2.0/120", PREFIX_OK, "192.0.2.0/24" },
    { "all v4-mapped addresses", "::ffff:0:0/96", PREFIX_OK, "0.0.0.0/0" },
    { "v4-mapped host bits", "::ffff:192.0.2.1/120", PREFIX_HOST_BITS, "192.0.2.0/24" },
    { "a shorter prefix of v4-mapped addresses stays IPv6", "::/90", PREFIX_OK, "::/90" },
    { "a v4-mapped address with a short prefix", "::ffff:192.0.2.1/95", PREFIX_HOST_BITS,
      "::fffe:0:0/95" },
    { "nothing", "", PREFIX_BAD, BAD_ADDRESS },
    { "a length alone", "/24", PREFIX_BAD, BAD_ADDRESS },
    { "a name", "example.org", PREFIX_BAD, BAD_ADDRESS },
    { "three parts", "192.0.2/24", PREFIX_BAD, BAD_ADDRESS },
    { "an octal part", "192.0.02.0/24", PREFIX_BAD, BAD_ADDRESS },
    { "a port", "192.0.2.1:22", PREFIX_BAD, BAD_ADDRESS },
    { "brackets", "[::1]/128", PREFIX_BAD, BAD_ADDRESS },
    { "a scope", "fe80::1%lo/128", PREFIX_BAD, BAD_ADDRESS },
    { "text longer than any address",
      "1111111111111111111111111111111111111111111111111111111111111111111111111111/8", PREFIX_BAD,
      BAD_ADDRESS },
    { "an empty length", "192.0.2.0/", PREFIX_BAD, BAD_LEN4 },
    { "an IPv4 length of 33", "192.0.2.0/33", PREFIX_BAD, BAD_LEN4 },
    { "an IPv6 length for IPv4", "192.0.2.0/128", PREFIX_BAD, BAD_LEN4 },
    { "a netmask", "192.0.2.0/255.255.255.0", PREFIX_BAD, BAD_LEN4 },
    { "a length with a leading zero", "192.0.2.0/08", PREFIX_BAD, BAD_LEN4 },
    { "a length with a plus", "192.0.2.0/+8", PREFIX_BAD, BAD_LEN4 },
    { "a length with a minus", "192.0.2.0/-0", PREFIX_BAD, BAD_LEN4 },
    { "two lengths", "192.0.2.0/24/24", PREFIX_BAD, BAD_LEN4 },
    { "a length beyond every integer", "192.0.2.0/18446744073709551640", PREFIX_BAD, BAD_LEN4 },
    { "an IPv6 length of 129", "2001:db8::/129", PREFIX_BAD, BAD_LEN6 },
    { "a v4-mapped length of 129", "::ffff:192.0.2.0/129", PREFIX_BAD, BAD_LEN6 },
};

static void a_prefix_is_parsed_strictly(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(prefixes); i++) {
        char host[ADDR_STRLEN];
        char text[ADDR_STRLEN + 8];
        struct prefix prefix;
        const char *reason = NULL;
        enum prefix_verdict verdict = prefix_parse(&prefix, prefixes[i].text, &reason);

        if (verdict != prefixes[i].verdict)
            fail_msg("%s: verdict is %d", prefixes[i].name, (int)verdict);
        snprintf(text, sizeof(text), "%s/%u", addr_format_host(&prefix.addr, host), prefix.len);
        assert_string_equal(verdict == PREFIX_BAD ? reason : text, prefixes[i].result);
    }
}

static int add(struct subnets *set, const char *text)
{
    struct prefix prefix;
    const char *reason;

    assert_int_not_equal(prefix_parse(&prefix, text, &reason), PREFIX_BAD);
    return subnets_add(set, &prefix);
}

static bool contains(const struct subnets *set, const char *text)
{
    struct addr addr;

    assert_null(addr_parse_host(&addr, text));
    return subnets_contain(set, &addr);
}

/* Lists end with NULL. */
static const struct {
    const char *name;
    const char *prefixes[6];
    size_t count;
    const char *inside[7];
    const char *outside[6];
} sets[] = {
    { "an empty set lets nobody in",
      { NULL },
      0,
      { NULL },
      { "0.0.0.0", "192.0.2.1", "::", "::1" } },
    { "one prefix, at its edges",
      { "192.0.2.0/24" },
      1,
      { "192.0.2.0", "192.0.2.1", "192.0.2.255" },
      { "192.0.1.255", "192.0.3.0", "0.0.0.0", "255.255.255.255", "::" } },
    { "one IPv6 prefix, at its edges",
      { "2001:db8::/32" },
      1,
      { "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff" },
      { "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "::", "0.0.0.0" } },
    { "one IPv6 prefix longer than 64 bits",
      { "2001:db8::1:0/112" },
      1,
      { "2001:db8::1:0", "2001:db8::1:ffff" },
      { "2001:db8::ffff", "2001:db8::2:0", "2001:db9::1:0" } },
    { "all of IPv4 is no IPv6",
      { "0.0.0.0/0" },
      1,
      { "0.0.0.0", "255.255.255.255" },
      { "::", "::1" } },
    { "all of IPv6 is no IPv4, v4-mapped ones neither",
      { "::/0" },
      1,
      { "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
      { "0.0.0.0", "::ffff:192.0.2.1" } },
    { "a v4-mapped address counts as IPv4",
      { "192.0.2.0/24" },
      1,
      { "::ffff:192.0.2.1" },
      { "::192.0.2.1" } },
    { "a v4-mapped prefix counts as IPv4",
      { "::ffff:192.0.2.0/120" },
      1,
      { "192.0.2.1", "::ffff:192.0.2.1" },
      { "192.0.3.1" } },
    { "repeated prefixes are one",
      { "192.0.2.0/24", "192.0.2.0/24", "192.0.2.77/24" },
      1,
      { "192.0.2.255" },
      { "192.0.3.0" } },
    { "a prefix within another is swallowed, in any order",
      { "10.1.2.0/24", "10.0.0.0/8", "10.255.255.255/32", "10.0.0.0/32" },
      1,
      { "10.0.0.0", "10.1.2.3", "10.2.0.0", "10.255.255.255" },
      { "9.255.255.255", "11.0.0.0" } },
    { "adjacent prefixes are one",
      { "10.0.1.0/24", "10.0.0.0/24", "10.0.2.0/32" },
      1,
      { "10.0.0.255", "10.0.1.0", "10.0.2.0" },
      { "10.0.2.1" } },
    { "prefixes with one address between them are two",
      { "10.0.0.0/32", "10.0.0.2/32" },
      2,
      { "10.0.0.0", "10.0.0.2" },
      { "10.0.0.1", "10.0.0.3", "9.255.255.255" } },
    { "both halves are the whole",
      { "128.0.0.0/1", "0.0.0.0/1", "8000::/1", "::/1" },
      2,
      { "127.255.255.255", "128.0.0.0", "7fff::1", "8000::" },
      { NULL } },
    { "adjacent across the low 64 bits",
      { "2001:db8:0:1::/64", "2001:db8::ffff:ffff:ffff:ffff/128" },
      1,
      { "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::", "2001:db8:0:1:ffff::" },
      { "2001:db8::ffff:ffff:ffff:fffe", "2001:db8:0:2::" } },
    { "the first and the last addresses of both families",
      { "0.0.0.0/32", "255.255.255.255/32", "::/128",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128" },
      4,
      { "0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
      { "0.0.0.1", "255.255.255.254", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe" } },
};

static void a_set_holds_what_its_prefixes_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(sets); i++) {
        struct subnets *set = subnets_new();

        assert_non_null(set);
        for (size_t k = 0; k < COUNT(sets[i].prefixes) && sets[i].prefixes[k] != NULL; k++)
            assert_int_equal(add(set, sets[i].prefixes[k]), 0);
        subnets_seal(set);
        if (subnets_count(set) != sets[i].count)
            fail_msg("%s: %zu ranges", sets[i].name, subnets_count(set));
        for (size_t k = 0; k < COUNT(sets[i].inside) && sets[i].inside[k] != NULL; k++) {
            if (!contains(set, sets[i].inside[k]))
                fail_msg("%s: %s is not in it", sets[i].name, sets[i].inside[k]);
        }
        for (size_t k = 0; k < COUNT(sets[i].outside) && sets[i].outside[k] != NULL; k++) {
            if (contains(set, sets[i].outside[k]))
                fail_msg("%s: %s is in it", sets[i].name, sets[i].outside[k]);
        }
        subnets_free(set);
    }
}

static void no_address_is_in_no_set(void **state)
{
    struct addr none = { .in6 = { .sin6_family = AF_UNSPEC } };
    struct subnets *set = subnets_new();

    (void)state;
    assert_int_equal(add(set, "0.0.0.0/0"), 0);
    assert_int_equal(add(set, "::/0"), 0);
    subnets_seal(set);
    assert_false(subnets_contain(set, &none));
    subnets_free(set);
    subnets_free(NULL);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static struct addr random_addr(uint32_t *state)
{
    uint8_t bytes[16] = { 0x20, 0x01, 0x0d, 0xb8 };
    bool is_v4 = next_random(state) % 2 == 0;
    struct addr addr;

    /* Few values in few bytes, so that prefixes meet often. */
    for (size_t i = 0; i < 4; i++)
        bytes[is_v4 ? i : 6 + i] = (uint8_t)(next_random(state) % 4 * 85);
    addr_from_bytes(&addr, is_v4 ? AF_INET : AF_INET6, bytes, 0);
    return addr;
}

static bool prefix_holds(const struct prefix *prefix, const struct addr *addr)
{
    if (addr_family(&prefix->addr) != addr_family(addr))
        return false;
    for (unsigned bit = 0; bit < prefix->len; bit++) {
        int differing = addr_bytes(&prefix->addr)[bit / 8] ^ addr_bytes(addr)[bit / 8];
        if ((differing >> (7 - bit % 8) & 1) != 0)
            return false;
    }
    return true;
}

static void random_sets_agree_with_a_walk_through_their_prefixes(void **state)
{
    uint32_t random = 1;

    (void)state;
    for (int round = 0; round < 200; round++) {
        struct prefix list[24];
        struct subnets *set = subnets_new();

        for (size_t i = 0; i < COUNT(list); i++) {
            char host[ADDR_STRLEN];
            char text[ADDR_STRLEN + 8];
            struct addr addr = random_addr(&random);
            unsigned max = addr_family(&addr) == AF_INET ? 32 : 88;
            const char *reason;

            snprintf(text, sizeof(text), "%s/%u", addr_format_host(&addr, host),
                     max - next_random(&random) % 24);
            assert_int_not_equal(prefix_parse(&list[i], text, &reason), PREFIX_BAD);
            assert_int_equal(subnets_add(set, &list[i]), 0);
        }
        subnets_seal(set);
        assert_in_range(subnets_count(set), 1, COUNT(list));
        for (int i = 0; i < 200; i++) {
            struct addr addr = random_addr(&random);
            bool is_inside = false;

            for (size_t k = 0; k < COUNT(list); k++)
                is_inside = is_inside || prefix_holds(&list[k], &addr);
            assert_int_equal(subnets_contain(set, &addr), is_inside);
        }
        subnets_free(set);
    }
}

static void fill_and_search(unsigned n)
{
    struct subnets *set = subnets_new();

    for (unsigned i = 0; i < n; i++) {
        char text[64];
        unsigned k = i * 40503u % 0xffffu; /* not in order */

        if (i % 2 == 0)
            snprintf(text, sizeof(text), "%u.%u.%u.0/25", 1 + i / 65536, k >> 8, k & 255);
        else
            snprintf(text, sizeof(text), "2001:db8:%x:%x::/65", i / 65536, k);
        assert_int_equal(add(set, text), 0);
    }
    subnets_seal(set);
    for (unsigned i = 0; i < n; i++) {
        char text[64];
        struct addr addr;

        snprintf(text, sizeof(text), "1.%u.%u.%u", i >> 8 & 255, i & 255, i % 256);
        assert_null(addr_parse_host(&addr, text));
        subnets_contain(set, &addr);
    }
    assert_in_range(subnets_count(set), n / 4, n);
    assert_true(contains(set, "1.0.0.0"));
    assert_false(contains(set, "1.0.0.128"));
    subnets_free(set);
}

static void a_hundred_thousand_prefixes_cost_no_more_than_their_number(void **state)
{
    (void)state;
    support_assert_linear(fill_and_search, 100000 / 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefix_is_parsed_strictly),
        cmocka_unit_test(a_set_holds_what_its_prefixes_say),
        cmocka_unit_test(no_address_is_in_no_set),
        cmocka_unit_test(random_sets_agree_with_a_walk_through_their_prefixes),
        cmocka_unit_test(a_hundred_thousand_prefixes_cost_no_more_than_their_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
