/* SPDX-License-Identifier: BSD-2-Clause */
/* The limits and the sessions of a process before an upgrade. */
#include "admission_support.h"

static void sessions_of_a_process_before_an_upgrade_fill_the_limits(void **state)
{
    struct counters *earlier = world.counters;
    struct admission old;
    struct admission ssh;
    struct admission web;
    struct addr other = support_addr("198.51.100.8:1000");

    (void)state;
    world.config.max_sessions = 3;
    world.config.max_sessions_per_client = 2;
    be_worker_at(&web, "web", 1); /* the two have different numbers there and here */
    be_worker_at(&old, "ssh", 1);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(enter(&old, &world.sessions[i]), REASON_NONE);
        assert_int_equal(identify(&old, &world.sessions[i]), REASON_NONE);
    }
    world.counters = counters_new(WORKERS, LISTENERS);
    assert_non_null(world.counters);
    int number = counters_adopt(world.counters, counters_fd(earlier));
    assert_return_code(number, -number);
    be_worker_at(&ssh, "ssh", 1);
    assert_int_equal(enter(&ssh, &world.sessions[2]), REASON_NONE);
    assert_int_equal(identify(&ssh, &world.sessions[2]), REASON_MAX_SESSIONS_PER_CLIENT);
    assert_int_equal(identify_as(&ssh, &world.sessions[2], &other, true), REASON_NONE);
    assert_int_equal(enter(&ssh, &world.sessions[3]), REASON_MAX_SESSIONS);
    admission_leave(&old, &world.sessions[0]);
    assert_int_equal(enter(&ssh, &world.sessions[3]), REASON_NONE);
    assert_int_equal(identify(&ssh, &world.sessions[3]), REASON_NONE);
    assert_int_equal(enter(&ssh, &world.sessions[4]), REASON_MAX_SESSIONS);
    counters_end_earlier(world.counters, (unsigned)number); /* killed, with a session */
    counters_take_ended(world.counters);
    assert_int_equal(enter(&ssh, &world.sessions[4]), REASON_NONE);
    assert_int_equal(identify(&ssh, &world.sessions[4]), REASON_NONE);
    counters_free(earlier);
}

static void udp_sessions_before_an_upgrade_keep_nobody_out(void **state)
{
    struct counters *earlier = world.counters;
    struct admission old;
    struct admission dns;

    (void)state;
    world.config.protocol = PROTOCOL_UDP;
    world.config.max_sessions = world.config.max_sessions_per_client = 1;
    be_worker_at(&old, "dns", 1);
    assert_int_equal(enter(&old, &world.sessions[0]), REASON_NONE);
    assert_int_equal(identify(&old, &world.sessions[0]), REASON_NONE);
    world.counters = counters_new(WORKERS, LISTENERS);
    assert_non_null(world.counters);
    assert_true(counters_adopt(world.counters, counters_fd(earlier)) >= 0);
    be_worker_at(&dns, "dns", 1);
    assert_int_equal(enter(&dns, &world.sessions[1]), REASON_NONE);
    assert_int_equal(identify(&dns, &world.sessions[1]), REASON_NONE);
    assert_false(admission_ends_silent(&dns, 1));
    counters_free(earlier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sessions_of_a_process_before_an_upgrade_fill_the_limits),
        TEST(udp_sessions_before_an_upgrade_keep_nobody_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
