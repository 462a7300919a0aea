/* SPDX-License-Identifier: BSD-2-Clause */
#include "routing_support.h"

#include "mmproxy/routing/wanted/region.h"

static struct region_prefix prefix(const char *host, unsigned len)
{
    struct addr addr = support_host(host);

    return region_prefix(addr_bytes(&addr), len);
}

static void a_prefix_forgets_its_host_bits(void **state)
{
    struct region_prefix a = prefix("10.99.255.255", 12);
    struct region_prefix b = prefix("10.96.0.0", 12);

    (void)state;
    assert_memory_equal(&a, &b, sizeof a);
}

static void the_wider_one_has_the_longer_one(void **state)
{
    struct region_prefix wide = prefix("10.0.0.0", 9);
    struct region_prefix inside = prefix("10.1.2.3", 32);
    struct region_prefix outside = prefix("10.128.0.0", 16);
    struct region_prefix common;

    (void)state;
    assert_true(region_has(&wide, &inside));
    assert_false(region_has(&inside, &wide));
    assert_true(region_has(&wide, &wide));
    assert_true(region_common(&inside, &wide, &common));
    assert_memory_equal(&common, &inside, sizeof common);
    assert_false(region_common(&outside, &wide, &common));
}

static bool is_left(const char *host, unsigned len, const char *const *without, size_t n)
{
    struct region_prefix within = prefix(host, len);
    struct region_set set = { 0 };
    bool left;

    for (size_t i = 0; i < n; i++) {
        char text[64];
        char *slash;
        struct region_prefix item;

        snprintf(text, sizeof text, "%s", without[i]);
        slash = strchr(text, '/');
        *slash = '\0';
        item = prefix(text, (unsigned)atoi(slash + 1));
        region_set_add(&set, &item);
    }
    left = region_is_left(&within, &set, strchr(host, ':') ? 128 : 32);
    region_set_close(&set);
    return left;
}

static void what_is_left_is_found_exactly(void **state)
{
    static const char *const halves[] = { "128.0.0.0/1", "0.0.0.0/1" };
    static const char *const all_but_one[] = { "192.0.2.0/25",   "192.0.2.128/26", "192.0.2.192/27",
                                               "192.0.2.224/28", "192.0.2.240/29", "192.0.2.248/30",
                                               "192.0.2.252/31", "192.0.2.254/32", "10.0.0.0/8" };
    static const char *const v6[] = { "2001:db8::/33", "2001:db8:8000::/33" };

    (void)state;
    assert_true(is_left("0.0.0.0", 0, NULL, 0));
    assert_false(is_left("0.0.0.0", 0, halves, 2));
    assert_true(is_left("0.0.0.0", 0, halves, 1));
    assert_false(is_left("1.2.3.4", 32, halves, 2));
    assert_true(is_left("192.0.2.0", 24, all_but_one, COUNT(all_but_one)));
    assert_true(is_left("192.0.2.255", 32, all_but_one, COUNT(all_but_one)));
    assert_false(is_left("192.0.2.254", 32, all_but_one, COUNT(all_but_one)));
    assert_false(is_left("2001:db8::", 32, v6, 2));
    assert_true(is_left("2001:db8::", 31, v6, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefix_forgets_its_host_bits),
        cmocka_unit_test(the_wider_one_has_the_longer_one),
        cmocka_unit_test(what_is_left_is_found_exactly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
