/* SPDX-License-Identifier: BSD-2-Clause */
/* The supervisor's life without a process: steps are written down, events are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "mmproxy/supervisor/lifecycle.h"

enum { STEPS_MAX = 64 };

static struct world {
    struct lifecycle life;
    enum life_step steps[STEPS_MAX];
    size_t n;
    /* Reported from within a step, as mechanisms do that know at once. */
    enum life_step at;
    enum life_event then;
} world;

static void take(void *context, enum life_step step)
{
    (void)context;
    assert_true(step > NO_STEP && step < LIFE_STEPS);
    assert_true(world.n < STEPS_MAX);
    world.steps[world.n++] = step;
    if (step == world.at)
        lifecycle_report(&world.life, world.then);
}

static void begin_in(enum life_state state)
{
    memset(&world, 0, sizeof world);
    lifecycle_init(&world.life, LIFE_STARTING, take, NULL);
    world.life.state = state;
}

static void report(enum life_event event)
{
    lifecycle_report(&world.life, event);
}

/* The steps since the last call, up to NO_STEP. */
static void expect_steps(const enum life_step *expected)
{
    size_t n = 0;

    while (expected[n] != NO_STEP) {
        assert_true(n < world.n);
        assert_int_equal(world.steps[n], expected[n]);
        n++;
    }
    assert_int_equal(world.n, n);
    world.n = 0;
}

#define EXPECT(...)   expect_steps((const enum life_step[]){ __VA_ARGS__, NO_STEP })
#define EXPECT_NONE() assert_int_equal(world.n, 0)

static void expect_state(enum life_state state)
{
    assert_int_equal(world.life.state, state);
}

static size_t position(enum life_step step)
{
    for (size_t i = 0; i < world.n; i++)
        if (world.steps[i] == step)
            return i;
    return SIZE_MAX;
}

/*
 * Every state and every event: the state that follows by its letter; "." ignored, "?" remembered.
 */
static const char letters[LIFE_STATES] = {
    [LIFE_STARTING] = 's',  [LIFE_TAKING_OVER] = 'o', [LIFE_ANNOUNCED] = 'a', [LIFE_SERVING] = 'v',
    [LIFE_LOADING] = 'l',   [LIFE_REPLACING] = 'r',   [LIFE_LEAVING] = 'e',   [LIFE_STOPPING] = 'p',
    [LIFE_RESETTING] = 't', [LIFE_KILLING] = 'k',     [LIFE_ENDED] = 'x',
};

/* clang-format off */
static const char *const outcomes[LIFE_STATES] = {
    /* BEGIN HUP USR1 USR2 TERM | PREPARED UNCHANGED READY FAILED | NEW_READY NEW_FAILED ANSWERED
       OLD_GONE | PULLED GONE ALONE TIMER | CHECK_DUE CHECKED NETWORK */
    [LIFE_STARTING]    = "s?.sp" "s.vk" "...." "...." "...",
    [LIFE_TAKING_OVER] = "o?.op" "o.ak" "...k" "...." "...",
    [LIFE_ANNOUNCED]   = ".????" "...." "..vp" "...." "...",
    [LIFE_SERVING]     = ".lxrp" "...." "...." ".v.." "vvl",
    [LIFE_LOADING]     = ".?x?p" "lvvv" "...." ".l.." "??.",
    [LIFE_REPLACING]   = ".?xrp" "...." "ev.." ".r.." "??.",
    [LIFE_LEAVING]     = ".e.ep" "...." "...." "tex." "...",
    [LIFE_STOPPING]    = "...pt" "...." "...." "tpxt" "...",
    [LIFE_RESETTING]   = "....k" "...." "...." ".txk" "...",
    [LIFE_KILLING]     = "....." "...." "...." ".kx." "...",
    [LIFE_ENDED]       = "....." "...." "...." "...." "...",
};
/* clang-format on */

static void each_state_and_each_event_have_their_outcome(void **state)
{
    (void)state;
    for (unsigned s = 0; s < LIFE_STATES; s++) {
        assert_int_equal(strlen(outcomes[s]), LIFE_EVENTS);
        for (unsigned e = 0; e < LIFE_EVENTS; e++) {
            char expected = outcomes[s][e];
            begin_in((enum life_state)s);
            report((enum life_event)e);
            char got = world.life.remembered ? '?' : world.n == 0 ? '.' : letters[world.life.state];
            if (got != expected)
                fail_msg("state %c, event %u: %c, not %c", letters[s], e, got, expected);
            if (world.n == 0)
                expect_state((enum life_state)s);
        }
    }
}

static void workers_are_forked_when_the_return_path_is_there(void **state)
{
    (void)state;
    for (unsigned s = 0; s < LIFE_STATES; s++) {
        begin_in((enum life_state)s);
        report(ON_PREPARED);
        if (world.n > 0)
            assert_int_equal(position(DO_SET_UP_RETURN) + 1, position(DO_FORK));
    }
}

static void a_new_generation_serves_before_the_old_one_drains(void **state)
{
    (void)state;
    for (unsigned s = 0; s < LIFE_STATES; s++) {
        begin_in((enum life_state)s);
        report(ON_READY);
        if (position(DO_RETIRE) != SIZE_MAX)
            assert_true(position(DO_SERVE) < position(DO_RETIRE));
        assert_int_equal(position(DO_RETIRE_ALL), SIZE_MAX);
    }
}

static void sigterm_again_and_again_ends_every_state(void **state)
{
    (void)state;
    for (unsigned s = 0; s < LIFE_ENDED; s++) {
        begin_in((enum life_state)s);
        for (int i = 0; i < 3; i++)
            report(ON_TERM);
        if (s == LIFE_ANNOUNCED) { /* the answer is on its way; then the first of them counts */
            report(ON_ANSWERED);
            expect_state(LIFE_STOPPING);
            continue;
        }
        expect_state(LIFE_KILLING);
        report(ON_ALONE);
        expect_state(LIFE_ENDED);
        assert_int_equal(world.steps[world.n - 1], DO_END);
    }
}

static void a_start_goes_through_all_its_steps(void **state)
{
    (void)state;
    begin_in(LIFE_STARTING);
    world.at = DO_PREPARE;
    world.then = ON_PREPARED; /* at once, and the steps are still one after the other */
    report(ON_BEGIN);
    EXPECT(DO_PREPARE, DO_OPEN_LOG, DO_SET_UP_RETURN, DO_FORK);
    report(ON_READY);
    EXPECT(DO_PROMOTE, DO_COMMIT_PORTS, DO_SERVE, DO_ADJUST_PORTS, DO_OFFER_CONTROL, DO_EXPORT,
           DO_CHECK_TARGETS, DO_TELL_LOADED);
    expect_state(LIFE_SERVING);
}

static void a_start_that_fails_waits_for_its_workers_only(void **state)
{
    (void)state;
    begin_in(LIFE_STARTING);
    report(ON_FAILED);
    EXPECT(DO_FAIL_START, DO_ROLL_BACK, DO_KILL, DO_END_IF_ALONE);
    report(ON_GONE);
    EXPECT(DO_END_IF_ALONE);
    report(ON_ALONE);
    EXPECT(DO_END);
    expect_state(LIFE_ENDED);
}

static void a_failed_reload_leaves_what_serves_as_it_is(void **state)
{
    (void)state;
    begin_in(LIFE_SERVING);
    report(ON_HUP);
    EXPECT(DO_TELL_LOADING, DO_PREPARE);
    report(ON_FAILED);
    EXPECT(DO_ROLL_BACK, DO_SET_UP_RETURN, DO_TELL_FAILED);
    expect_state(LIFE_SERVING);
}

static void a_reload_without_a_change_looks_at_the_host_again(void **state)
{
    (void)state;
    begin_in(LIFE_LOADING);
    report(ON_UNCHANGED);
    EXPECT(DO_SET_UP_RETURN, DO_CHECK_TARGETS, DO_TELL_UNCHANGED);
    expect_state(LIFE_SERVING);
}

static void sighups_during_a_load_are_one_load_after_it(void **state)
{
    (void)state;
    begin_in(LIFE_LOADING);
    for (int i = 0; i < 5; i++)
        report(ON_HUP);
    EXPECT_NONE();
    report(ON_READY);
    EXPECT(DO_PROMOTE, DO_COMMIT_PORTS, DO_SERVE, DO_ADJUST_PORTS, DO_RETIRE, DO_OFFER_CONTROL,
           DO_EXPORT, DO_CHECK_TARGETS, DO_TELL_LOADED, DO_TELL_LOADING, DO_PREPARE);
    expect_state(LIFE_LOADING);
    report(ON_UNCHANGED);
    expect_state(LIFE_SERVING);
}

static void sigusr2_during_a_load_waits_for_the_loads_that_are_wanted(void **state)
{
    (void)state;
    begin_in(LIFE_LOADING);
    report(ON_USR2);
    report(ON_HUP);
    EXPECT_NONE();
    report(ON_FAILED);
    EXPECT(DO_ROLL_BACK, DO_SET_UP_RETURN, DO_TELL_FAILED, DO_TELL_LOADING, DO_PREPARE);
    report(ON_UNCHANGED);
    EXPECT(DO_SET_UP_RETURN, DO_CHECK_TARGETS, DO_TELL_UNCHANGED, DO_SERVE_BESIDE, DO_START_BINARY);
    expect_state(LIFE_REPLACING);
}

static void sighup_at_a_start_is_a_load_after_it(void **state)
{
    (void)state;
    begin_in(LIFE_STARTING);
    report(ON_HUP);
    report(ON_READY);
    expect_state(LIFE_LOADING);
}

static void sighup_during_an_upgrade_reaches_the_process_that_serves_then(void **state)
{
    (void)state;
    begin_in(LIFE_REPLACING);
    report(ON_HUP);
    report(ON_NEW_READY);
    EXPECT(DO_RETIRE_ALL, DO_WITHDRAW_CONTROL, DO_END_EXPORT, DO_HAND_OVER, DO_TELL_UPGRADED,
           DO_PASS_HUP_ON);
    expect_state(LIFE_LEAVING);

    begin_in(LIFE_REPLACING);
    report(ON_HUP);
    report(ON_NEW_FAILED);
    EXPECT(DO_SERVE, DO_TELL_UPGRADE_FAILED, DO_TELL_LOADING, DO_PREPARE);
    expect_state(LIFE_LOADING);
}

static void sigterm_during_an_upgrade_ends_the_new_binary_too(void **state)
{
    (void)state;
    begin_in(LIFE_REPLACING);
    report(ON_TERM);
    assert_true(position(DO_KILL_BINARY) != SIZE_MAX);
    expect_state(LIFE_STOPPING);
    world.n = 0;
    report(ON_NEW_READY); /* it was killed too late */
    report(ON_NEW_FAILED);
    EXPECT_NONE();
    expect_state(LIFE_STOPPING);
}

static void a_new_binary_that_dies_late_is_of_no_concern(void **state)
{
    (void)state;
    begin_in(LIFE_LEAVING);
    report(ON_NEW_FAILED);
    EXPECT_NONE();
    expect_state(LIFE_LEAVING);
}

static void ready_after_an_abort_is_ignored(void **state)
{
    (void)state;
    begin_in(LIFE_LOADING);
    report(ON_TERM);
    EXPECT(DO_TELL_STOPPING, DO_ROLL_BACK, DO_KILL_BINARY, DO_WITHDRAW_CONTROL, DO_END_EXPORT,
           DO_CLOSE_PORTS, DO_RETIRE_ALL, DO_GRANT_TIME, DO_END_IF_ALONE);
    report(ON_READY);
    report(ON_FAILED);
    report(ON_PREPARED);
    EXPECT_NONE();
    expect_state(LIFE_STOPPING);
}

static void what_was_remembered_is_forgotten_at_the_end(void **state)
{
    (void)state;
    begin_in(LIFE_LOADING);
    report(ON_HUP);
    report(ON_USR2);
    report(ON_TERM);
    assert_int_equal(world.life.remembered, 0);
    expect_state(LIFE_STOPPING);
}

static void sockets_of_an_old_process_are_not_shut_down_by_the_new_one(void **state)
{
    static const enum life_state states[] = { LIFE_TAKING_OVER, LIFE_TAKING_OVER, LIFE_TAKING_OVER,
                                              LIFE_ANNOUNCED };
    static const enum life_event ends[] = { ON_TERM, ON_FAILED, ON_OLD_GONE, ON_OLD_GONE };

    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        begin_in(states[i]);
        report(ends[i]);
        assert_int_equal(position(DO_CLOSE_PORTS), SIZE_MAX);
        assert_true(position(DO_LET_GO) != SIZE_MAX);
    }
}

/* Neither may shut the sockets down, nor tell a manager anything, while the other one serves. */
static void two_processes_have_the_ports_until_the_old_one_has_answered(void **state)
{
    (void)state;
    begin_in(LIFE_TAKING_OVER);
    report(ON_READY);
    EXPECT(DO_PROMOTE, DO_SERVE_BESIDE, DO_ANNOUNCE);
    report(ON_ANSWERED);
    EXPECT(DO_BE_MAIN, DO_COMMIT_PORTS, DO_SERVE, DO_ADJUST_PORTS, DO_OFFER_CONTROL, DO_EXPORT,
           DO_CHECK_TARGETS, DO_TELL_LOADED);
    expect_state(LIFE_SERVING);
    report(ON_OLD_GONE); /* its last session has ended */
    EXPECT_NONE();

    report(ON_USR2);
    EXPECT(DO_SERVE_BESIDE, DO_START_BINARY);
    report(ON_NEW_FAILED);
    EXPECT(DO_SERVE, DO_TELL_UPGRADE_FAILED);
}

static void signals_before_the_old_process_has_answered_are_remembered(void **state)
{
    (void)state;
    begin_in(LIFE_ANNOUNCED);
    report(ON_TERM);
    EXPECT_NONE();
    report(ON_ANSWERED);
    assert_true(position(DO_SERVE) < position(DO_CLOSE_PORTS));
    expect_state(LIFE_STOPPING);
}

static void a_later_process_ends_what_is_here(void **state)
{
    (void)state;
    begin_in(LIFE_LEAVING);
    report(ON_PULLED);
    EXPECT(DO_RESET);
    report(ON_TIMER);
    EXPECT(DO_KILL, DO_END_IF_ALONE);
    expect_state(LIFE_KILLING);
}

static void a_restart_leaves_at_once_with_nothing_half_done(void **state)
{
    static const enum life_state states[] = { LIFE_SERVING, LIFE_LOADING, LIFE_REPLACING };

    (void)state;
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        begin_in(states[i]);
        report(ON_USR1);
        EXPECT(DO_ROLL_BACK, DO_KILL_BINARY, DO_WITHDRAW_CONTROL, DO_END_EXPORT, DO_ABANDON,
               DO_END);
        report(ON_TERM); /* which a service manager sends all the same */
        EXPECT_NONE();
        expect_state(LIFE_ENDED);
    }
}

static void checks_wait_for_loads_and_upgrades(void **state)
{
    (void)state;
    begin_in(LIFE_LOADING);
    report(ON_CHECKED);
    report(ON_CHECK_DUE);
    EXPECT_NONE();
    report(ON_FAILED);
    EXPECT(DO_ROLL_BACK, DO_SET_UP_RETURN, DO_TELL_FAILED, DO_RECHECK_TARGETS, DO_ADJUST_PORTS);
    begin_in(LIFE_REPLACING);
    report(ON_CHECKED);
    EXPECT_NONE();
    report(ON_NEW_READY);
    assert_int_equal(position(DO_ADJUST_PORTS), SIZE_MAX);
    assert_int_equal(world.life.remembered, 0);
}

static void no_drain_timeout_resets_at_once(void **state)
{
    (void)state;
    begin_in(LIFE_SERVING);
    world.at = DO_GRANT_TIME;
    world.then = ON_TIMER;
    report(ON_TERM);
    assert_int_equal(world.steps[world.n - 1], DO_RESET);
    expect_state(LIFE_RESETTING);
}

static void generations_that_have_gone_take_their_return_path_along(void **state)
{
    static const enum life_state living[] = { LIFE_SERVING, LIFE_LOADING, LIFE_REPLACING,
                                              LIFE_LEAVING };

    (void)state;
    for (size_t i = 0; i < sizeof living / sizeof *living; i++) {
        begin_in(living[i]);
        report(ON_GONE);
        assert_int_equal(position(DO_SET_UP_RETURN), 0);
        expect_state(living[i]);
    }
    begin_in(LIFE_STOPPING); /* soon all of it goes */
    report(ON_GONE);
    EXPECT(DO_END_IF_ALONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_and_each_event_have_their_outcome),
        cmocka_unit_test(workers_are_forked_when_the_return_path_is_there),
        cmocka_unit_test(a_new_generation_serves_before_the_old_one_drains),
        cmocka_unit_test(sigterm_again_and_again_ends_every_state),
        cmocka_unit_test(a_start_goes_through_all_its_steps),
        cmocka_unit_test(a_start_that_fails_waits_for_its_workers_only),
        cmocka_unit_test(a_failed_reload_leaves_what_serves_as_it_is),
        cmocka_unit_test(a_reload_without_a_change_looks_at_the_host_again),
        cmocka_unit_test(sighups_during_a_load_are_one_load_after_it),
        cmocka_unit_test(sigusr2_during_a_load_waits_for_the_loads_that_are_wanted),
        cmocka_unit_test(sighup_at_a_start_is_a_load_after_it),
        cmocka_unit_test(sighup_during_an_upgrade_reaches_the_process_that_serves_then),
        cmocka_unit_test(sigterm_during_an_upgrade_ends_the_new_binary_too),
        cmocka_unit_test(a_new_binary_that_dies_late_is_of_no_concern),
        cmocka_unit_test(ready_after_an_abort_is_ignored),
        cmocka_unit_test(what_was_remembered_is_forgotten_at_the_end),
        cmocka_unit_test(sockets_of_an_old_process_are_not_shut_down_by_the_new_one),
        cmocka_unit_test(two_processes_have_the_ports_until_the_old_one_has_answered),
        cmocka_unit_test(signals_before_the_old_process_has_answered_are_remembered),
        cmocka_unit_test(a_later_process_ends_what_is_here),
        cmocka_unit_test(a_restart_leaves_at_once_with_nothing_half_done),
        cmocka_unit_test(checks_wait_for_loads_and_upgrades),
        cmocka_unit_test(no_drain_timeout_resets_at_once),
        cmocka_unit_test(generations_that_have_gone_take_their_return_path_along),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
