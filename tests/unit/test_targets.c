/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mmproxy/supervisor/targets.h"

static struct listener_config listener;

static int open_listener(void **state)
{
    (void)state;
    listener = (struct listener_config){ .mark = 123, .table = 100 };
    assert_null(addr_parse(&listener.target_v4.addr, "127.0.0.1:22"));
    assert_null(addr_parse(&listener.target_v6.addr, "[::1]:22"));
    return 0;
}

static void know(struct targets *targets, const struct addr *target, bool holds, bool is_reached)
{
    struct target_state state = target_state(&listener, target);
    struct target_state *known = targets_get(targets, &state);

    state.holds = holds;
    state.is_reached = is_reached;
    if (known)
        *known = state;
    else
        assert_int_equal(targets_add(targets, &state), 0);
}

static void a_listener_is_down_when_none_of_its_targets_can_be_reached(void **state)
{
    struct targets targets = { 0 };

    (void)state;
    assert_false(targets_are_down(&targets, &listener)); /* nothing is known */
    know(&targets, &listener.target_v4.addr, false, false);
    assert_false(targets_are_down(&targets, &listener));
    know(&targets, &listener.target_v6.addr, false, true); /* reached, though a check fails */
    assert_false(targets_are_down(&targets, &listener));
    know(&targets, &listener.target_v6.addr, true, false); /* an IPv6 target without IPv6 */
    assert_true(targets_are_down(&targets, &listener));
    know(&targets, &listener.target_v4.addr, true, true);
    assert_false(targets_are_down(&targets, &listener));
    assert_int_equal(targets.n, 2);
    targets_clear(&targets);
    assert_false(targets_are_down(&targets, &listener));
}

static void a_target_that_a_listener_has_not_does_not_keep_it_open(void **state)
{
    struct targets targets = { 0 };

    (void)state;
    know(&targets, &listener.target_v6.addr, true, true);
    listener.target_v6.addr = (struct addr){ 0 };
    know(&targets, &listener.target_v4.addr, false, false);
    assert_true(targets_are_down(&targets, &listener));
    targets_clear(&targets);
}

static void the_same_target_by_another_return_path_is_another(void **state)
{
    struct targets targets = { 0 };

    (void)state;
    know(&targets, &listener.target_v4.addr, false, false);
    listener.return_path = RETURN_PATH_FWMARK;
    assert_null(targets_find(&targets, &listener, &listener.target_v4.addr));
    know(&targets, &listener.target_v4.addr, true, true);
    assert_int_equal(targets.n, 2);
    assert_int_equal(targets_failing(&targets), 1);
    listener.mark = 7;
    assert_null(targets_find(&targets, &listener, &listener.target_v4.addr));
    targets_clear(&targets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_listener_is_down_when_none_of_its_targets_can_be_reached,
                               open_listener),
        cmocka_unit_test_setup(a_target_that_a_listener_has_not_does_not_keep_it_open,
                               open_listener),
        cmocka_unit_test_setup(the_same_target_by_another_return_path_is_another, open_listener),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
