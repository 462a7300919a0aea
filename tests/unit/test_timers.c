/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include "mmproxy/net/timers.h"

enum { N = 64, STEPS = 20000 };

static uint64_t last_due_us;
static unsigned n_due;

static void note(struct timer *timer)
{
    assert_false(timer->is_active);
    assert_true(timer->due_us >= last_due_us);
    last_due_us = timer->due_us;
    n_due++;
}

/* The same at each run. */
static unsigned next_random(void)
{
    static unsigned long long state = 1;

    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(state >> 33);
}

static unsigned active(const struct timer *timers)
{
    unsigned n = 0;

    for (unsigned i = 0; i < N; i++)
        n += timers[i].is_active;
    return n;
}

static uint64_t earliest_us(const struct timer *timers)
{
    uint64_t us = UINT64_MAX;

    for (unsigned i = 0; i < N; i++)
        if (timers[i].is_active && timers[i].due_us < us)
            us = timers[i].due_us;
    return us;
}

/* Against an array that is searched from end to end. */
static void the_first_is_always_the_one_due_next(void **state)
{
    struct timer all[N] = { 0 };
    struct timers timers = { 0 };
    uint64_t now_us = 0;

    (void)state;
    for (unsigned i = 0; i < N; i++)
        all[i].on_due = note;
    for (unsigned step = 0; step < STEPS; step++) {
        struct timer *timer = &all[next_random() % N];
        unsigned before = active(all);
        switch (next_random() % 8) {
        case 0:
            timers_stop(&timers, timer);
            break;
        case 1:
            now_us += next_random() % 50;
            last_due_us = 0;
            n_due = 0;
            timers_run(&timers, now_us);
            assert_int_equal(active(all), before - n_due);
            assert_true(earliest_us(all) > now_us);
            break;
        default:
            timers_start(&timers, timer, now_us + next_random() % 200);
        }
        assert_int_equal(timers.first ? timers.first->due_us : UINT64_MAX, earliest_us(all));
    }
    for (unsigned i = 0; i < N; i++)
        timers_stop(&timers, &all[i]);
    assert_null(timers.first);
}

static struct timers own;

static void start_again(struct timer *timer)
{
    if (++n_due < 3)
        timers_start(&own, timer, timer->due_us + 1);
}

static void one_that_is_due_may_be_started_again(void **state)
{
    struct timer timer = { .on_due = start_again };

    (void)state;
    n_due = 0;
    timers_start(&own, &timer, 1);
    timers_run(&own, 2);
    assert_int_equal(n_due, 2);
    assert_true(timer.is_active);
    timers_run(&own, 3);
    assert_int_equal(n_due, 3);
    assert_false(timer.is_active);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_is_always_the_one_due_next),
        cmocka_unit_test(one_that_is_due_may_be_started_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
