/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mmproxy/base/nested.h"

enum { PREFIXES_MAX = 8, ADDRESSES_MAX = 8, ROUNDS = 2000 };

static struct nested nested_of(const char *text, bool is_second)
{
    struct nested nested = { .is_second = is_second };
    const char *reason;

    assert_int_not_equal(prefix_parse(&nested.prefix, text, &reason), PREFIX_BAD);
    return nested;
}

static bool has(const struct subnets *set, const char *text)
{
    struct addr addr;

    assert_null(addr_parse_host(&addr, text));
    return subnets_contain(set, &addr);
}

static const struct {
    const char *name;
    const char *first[PREFIXES_MAX];
    const char *second[PREFIXES_MAX];
    const char *in[ADDRESSES_MAX];
    const char *out[ADDRESSES_MAX];
} cases[] = {
    { "nothing", { NULL }, { NULL }, { NULL }, { "192.0.2.1", "::1" } },
    { "the second alone",
      { NULL },
      { "192.0.2.0/24", "2001:db8::/32" },
      { "192.0.2.0", "192.0.2.255", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff" },
      { "192.0.1.255", "192.0.3.0", "2001:db9::", "2001:db7:ffff::" } },
    { "a load balancer inside a direct LAN",
      { "10.0.0.7" },
      { "10.0.0.0/8" },
      { "10.0.0.0", "10.0.0.6", "10.0.0.8", "10.255.255.255" },
      { "10.0.0.7", "9.255.255.255", "11.0.0.0" } },
    { "a direct host inside a range of load balancers",
      { "10.0.0.0/8" },
      { "10.0.0.7" },
      { "10.0.0.7" },
      { "10.0.0.6", "10.0.0.8" } },
    { "three deep",
      { "10.1.0.0/16", "10.1.2.3" },
      { "10.0.0.0/8", "10.1.2.0/24" },
      { "10.0.255.255", "10.1.2.2", "10.1.2.4", "10.2.0.0" },
      { "10.1.0.0", "10.1.1.255", "10.1.2.3", "10.1.3.0", "10.1.255.255" } },
    { "at both ends of the address space",
      { "0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
      { "0.0.0.0/0", "::/0" },
      { "0.0.0.1", "255.255.255.254", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe" },
      { "0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" } },
    { "everything is shadowed",
      { "10.0.0.0/9", "10.128.0.0/9" },
      { "10.0.0.0/8" },
      { NULL },
      { "10.0.0.0", "10.127.255.255", "10.128.0.0", "10.255.255.255" } },
    { "the same prefix twice in one list",
      { "10.0.0.1", "10.0.0.1" },
      { "10.0.0.0/24", "10.0.0.0/24" },
      { "10.0.0.0", "10.0.0.2" },
      { "10.0.0.1" } },
    { "a v4-mapped prefix is IPv4",
      { "::ffff:10.0.0.1" },
      { "10.0.0.0/24" },
      { "10.0.0.0", "::ffff:10.0.0.2" },
      { "10.0.0.1", "::ffff:10.0.0.1" } },
    { "one family says nothing of the other",
      { "0.0.0.0/0" },
      { "::/0" },
      { "::1" },
      { "1.2.3.4" } },
};

static void the_longest_prefix_decides(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct nested items[2 * PREFIXES_MAX];
        struct subnets *set;
        size_t n = 0;

        for (size_t j = 0; j < PREFIXES_MAX && cases[i].second[j]; j++)
            items[n++] = nested_of(cases[i].second[j], true);
        for (size_t j = 0; j < PREFIXES_MAX && cases[i].first[j]; j++)
            items[n++] = nested_of(cases[i].first[j], false);
        nested_sort(items, n);
        set = nested_second(items, n);
        assert_non_null(set);
        for (size_t j = 0; j < ADDRESSES_MAX; j++) {
            if (cases[i].in[j] && !has(set, cases[i].in[j]))
                fail_msg("%s: %s is missing", cases[i].name, cases[i].in[j]);
            if (cases[i].out[j] && has(set, cases[i].out[j]))
                fail_msg("%s: %s is in it", cases[i].name, cases[i].out[j]);
        }
        subnets_free(set);
    }
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 16;
}

static bool contains(const struct prefix *prefix, uint8_t byte)
{
    unsigned shift = 32 - prefix->len;

    return addr_bytes(&prefix->addr)[3] >> shift == byte >> shift;
}

/* The rule itself, for one address of 192.0.2.0/24. */
static bool second_decides(const struct nested *items, size_t n, uint8_t byte)
{
    const struct nested *longest = NULL;

    for (size_t i = 0; i < n; i++)
        if (contains(&items[i].prefix, byte) &&
            (!longest || items[i].prefix.len > longest->prefix.len))
            longest = &items[i];
    return longest && longest->is_second;
}

/* returns: how many there are; no prefix is in both lists. */
static size_t make_items(struct nested *items, uint32_t *seed)
{
    size_t n = next_random(seed) % (2 * PREFIXES_MAX);

    for (size_t i = 0; i < n; i++) {
        unsigned len = 24 + next_random(seed) % 9;
        uint8_t bytes[4] = {
            192, 0, 2, (uint8_t)(next_random(seed) & (len == 24 ? 0U : 0xffU << (32 - len)))
        };

        items[i] = (struct nested){ .prefix.len = len };
        addr_from_bytes(&items[i].prefix.addr, AF_INET, bytes, 0);
        items[i].is_second = (bytes[3] + len) % 2;
    }
    return n;
}

static void any_prefixes_give_what_the_rule_says(void **state)
{
    uint32_t seed = 1;

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct nested items[2 * PREFIXES_MAX];
        size_t n = make_items(items, &seed);
        struct subnets *set;

        nested_sort(items, n);
        set = nested_second(items, n);
        assert_non_null(set);
        for (unsigned byte = 0; byte < 256; byte++) {
            uint8_t bytes[4] = { 192, 0, 2, (uint8_t)byte };
            struct addr addr;

            addr_from_bytes(&addr, AF_INET, bytes, 0);
            assert_int_equal(subnets_contain(set, &addr), second_decides(items, n, (uint8_t)byte));
        }
        subnets_free(set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_prefix_decides),
        cmocka_unit_test(any_prefixes_give_what_the_rule_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
