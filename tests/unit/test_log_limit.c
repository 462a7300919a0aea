/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mmproxy/base/log.h"

/* How many of n lines at that moment are let through? */
static unsigned pass(struct log_limit *limit, unsigned n, uint64_t now_ms)
{
    unsigned passed = 0;
    for (unsigned i = 0; i < n; i++)
        passed += log_limit_pass(limit, now_ms) ? 1 : 0;
    return passed;
}

/* After a burst has emptied the bucket at start_ms: lines that pass wait_ms later. */
static const struct {
    const char *name;
    uint64_t start_ms;
    uint64_t wait_ms;
    unsigned passed;
} refills[] = {
    { "nothing at once", 1, 0, 0 },
    { "nothing after 499 ms", 1000, 499, 0 },
    { "one after 500 ms", 1000, 500, 1 },
    { "one after 999 ms", 1000, 999, 1 },
    { "two after a second", 1000, 1000, 2 },
    { "nineteen after 9,999 ms", 1000, 9999, 19 },
    { "all twenty after ten seconds", 1000, 10000, 20 },
    { "no more than twenty after a year", 1000, 31536000000, 20 },
    { "no more than twenty at the end of time", 1, UINT64_MAX - 1, 20 },
};

static void an_empty_bucket_fills_by_two_lines_a_second(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refills) / sizeof(refills[0]); i++) {
        struct log_limit limit = { 0 };
        print_message("  %s\n", refills[i].name);
        assert_int_equal(pass(&limit, 100, refills[i].start_ms), 20);
        assert_int_equal(pass(&limit, 100, refills[i].start_ms + refills[i].wait_ms),
                         refills[i].passed);
    }
}

static void a_line_every_half_second_always_passes(void **state)
{
    struct log_limit limit = { 0 };
    (void)state;
    pass(&limit, 20, 1);
    for (unsigned i = 1; i <= 100; i++)
        assert_true(log_limit_pass(&limit, 1 + i * 500));
    assert_int_equal(log_limit_take_held_back(&limit), 0);
}

static void parts_of_a_line_add_up(void **state)
{
    struct log_limit limit = { 0 };
    unsigned passed = 0;
    (void)state;
    pass(&limit, 20, 1);
    for (unsigned i = 1; i <= 5000; i++)
        passed += pass(&limit, 1, 1 + i);
    assert_int_equal(passed, 10);
}

static void what_was_held_back_is_counted_and_taken_once(void **state)
{
    struct log_limit limit = { 0 };
    (void)state;
    assert_int_equal(log_limit_take_held_back(&limit), 0);
    pass(&limit, 25, 1000);
    assert_int_equal(log_limit_take_held_back(&limit), 5);
    assert_int_equal(log_limit_take_held_back(&limit), 0);
    assert_true(log_limit_pass(&limit, 2000));
    pass(&limit, 4, 2000);
    assert_int_equal(log_limit_take_held_back(&limit), 3);
}

static void the_count_stops_at_its_maximum(void **state)
{
    struct log_limit limit = { .updated_ms = 1, .tokens = 0, .held_back = UINT32_MAX - 1 };
    (void)state;
    pass(&limit, 3, 1);
    assert_int_equal(log_limit_take_held_back(&limit), UINT32_MAX);
}

static void a_clock_that_goes_back_fills_nothing(void **state)
{
    struct log_limit limit = { 0 };
    (void)state;
    pass(&limit, 20, 5000);
    assert_false(log_limit_pass(&limit, 4000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_bucket_fills_by_two_lines_a_second),
        cmocka_unit_test(a_line_every_half_second_always_passes),
        cmocka_unit_test(parts_of_a_line_add_up),
        cmocka_unit_test(what_was_held_back_is_counted_and_taken_once),
        cmocka_unit_test(the_count_stops_at_its_maximum),
        cmocka_unit_test(a_clock_that_goes_back_fills_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
