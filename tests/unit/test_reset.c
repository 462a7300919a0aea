/* SPDX-License-Identifier: BSD-2-Clause */
/* reset: the state RESET, while a test says whether the target would believe a reset. */
#include "session_support.h"

#include "mmproxy/net/sock.h"

static bool is_believed;

/* Takes the place of the real one. */
bool sock_takes_reset(int fd)
{
    assert_int_equal(fd, 4711);
    return is_believed;
}

static void a_target_that_believes_it_is_reset_at_once(void **state)
{
    struct session session = { .state = SESSION_RESET, .target_fd = 4711 };

    (void)state;
    is_believed = true;
    assert_int_equal(reset_run(&session, READY_ENTERED), SESSION_CLOSED);
}

static void a_target_is_waited_for_but_not_for_ever(void **state)
{
    struct session session = { .state = SESSION_RESET, .target_fd = 4711 };
    unsigned looks = 0;

    (void)state;
    is_believed = false;
    assert_int_equal(reset_run(&session, READY_ENTERED), SESSION_RESET);
    while (reset_run(&session, READY_DEADLINE) == SESSION_RESET)
        looks++;
    assert_true(looks > 1 && looks < 100);

    session.reset_checks = 0;
    assert_int_equal(reset_run(&session, READY_DEADLINE), SESSION_RESET);
    is_believed = true;
    assert_int_equal(reset_run(&session, READY_DEADLINE), SESSION_CLOSED);
}

static void nothing_is_waited_for_when_the_worker_ends_or_the_target_fails(void **state)
{
    struct session session = { .state = SESSION_RESET, .target_fd = 4711 };

    (void)state;
    is_believed = false;
    assert_int_equal(reset_run(&session, READY_STOP), SESSION_CLOSED);
    assert_int_equal(reset_run(&session, READY_ERROR), SESSION_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_that_believes_it_is_reset_at_once),
        cmocka_unit_test(a_target_is_waited_for_but_not_for_ever),
        cmocka_unit_test(nothing_is_waited_for_when_the_worker_ends_or_the_target_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
