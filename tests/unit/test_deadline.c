/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include "mmproxy/base/clock.h"
#include "mmproxy/worker/deadline.h"

enum { N = 5, SHORT_MS = 20, LONG_MS = 60 * 1000 };

static struct loop *loop;
static struct deadline deadlines[N];
static struct deadline *due[N * 2];
static unsigned n_due;

static void note(struct deadline *deadline)
{
    assert_null(deadline->queue);
    assert_true(clock_now_us() >= deadline->due_us);
    due[n_due++] = deadline;
}

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    memset(deadlines, 0, sizeof deadlines);
    n_due = 0;
    return loop ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static void open_queue(struct deadline_queue *queue, unsigned timeout_ms)
{
    memset(queue, 0, sizeof *queue);
    deadline_queue_open(queue, loop, timeout_ms, note);
}

/* Until no queue has a timer. */
static void run(void)
{
    while (loop->timers.first)
        loop_turn(loop, true);
}

static void they_are_due_in_the_order_they_were_set_and_not_too_early(void **state)
{
    static const int order[N] = { 3, 0, 4, 1, 2 };
    struct deadline_queue queue;
    uint64_t began_ms = clock_now_ms();

    (void)state;
    open_queue(&queue, SHORT_MS);
    assert_null(deadline_queue_first(&queue));
    for (int i = 0; i < N; i++)
        deadline_set(&deadlines[order[i]], &queue);
    assert_ptr_equal(deadline_queue_first(&queue), &deadlines[3]);
    run();
    assert_true(clock_now_ms() - began_ms >= SHORT_MS);
    assert_int_equal(n_due, N);
    for (int i = 0; i < N; i++)
        assert_ptr_equal(due[i], &deadlines[order[i]]);
    deadline_queue_close(&queue);
}

static void a_cleared_deadline_is_never_due(void **state)
{
    struct deadline_queue queue;

    (void)state;
    open_queue(&queue, SHORT_MS);
    for (int i = 0; i < N; i++)
        deadline_set(&deadlines[i], &queue);
    deadline_clear(&deadlines[0]);
    deadline_clear(&deadlines[2]);
    deadline_clear(&deadlines[2]);
    deadline_clear(&deadlines[N - 1]);
    run();
    assert_int_equal(n_due, 2);
    assert_ptr_equal(due[0], &deadlines[1]);
    assert_ptr_equal(due[1], &deadlines[3]);
    deadline_queue_close(&queue);
}

static void clearing_all_of_them_leaves_a_queue_that_works(void **state)
{
    struct deadline_queue queue;

    (void)state;
    open_queue(&queue, SHORT_MS);
    deadline_set(&deadlines[0], &queue);
    deadline_clear(&deadlines[0]);
    run();
    assert_int_equal(n_due, 0);
    deadline_set(&deadlines[0], &queue);
    run();
    assert_int_equal(n_due, 1);
    deadline_queue_close(&queue);
}

static void setting_one_again_moves_it_behind_the_others(void **state)
{
    struct deadline_queue queue;

    (void)state;
    open_queue(&queue, SHORT_MS);
    deadline_set(&deadlines[0], &queue);
    deadline_set(&deadlines[1], &queue);
    uint64_t first_us = deadlines[0].due_us;
    deadline_set(&deadlines[0], &queue);
    assert_true(deadlines[0].due_us >= first_us);
    assert_ptr_equal(deadline_queue_first(&queue), &deadlines[1]);
    run();
    assert_int_equal(n_due, 2);
    assert_ptr_equal(due[1], &deadlines[0]);
    deadline_queue_close(&queue);
}

static void one_may_move_to_another_queue(void **state)
{
    struct deadline_queue quick;
    struct deadline_queue slow;

    (void)state;
    open_queue(&quick, SHORT_MS);
    open_queue(&slow, LONG_MS);
    deadline_set(&deadlines[0], &slow);
    deadline_set(&deadlines[1], &slow);
    deadline_set(&deadlines[0], &quick);
    assert_ptr_equal(deadlines[0].queue, &quick);
    assert_ptr_equal(deadline_queue_first(&slow), &deadlines[1]);
    while (n_due == 0)
        loop_turn(loop, true);
    assert_int_equal(n_due, 1);
    assert_ptr_equal(due[0], &deadlines[0]);
    deadline_clear(&deadlines[1]);
    deadline_queue_close(&quick);
    deadline_queue_close(&slow);
}

static void set_once_more(struct deadline *deadline)
{
    note(deadline);
    if (n_due < 3)
        deadline_set(deadline, deadline->owner);
}

static void a_due_deadline_may_be_set_again_at_once(void **state)
{
    struct deadline_queue queue = { 0 };
    uint64_t began_ms = clock_now_ms();

    (void)state;
    deadline_queue_open(&queue, loop, SHORT_MS, set_once_more);
    deadlines[0].owner = &queue;
    deadline_set(&deadlines[0], &queue);
    run();
    assert_int_equal(n_due, 3);
    assert_true(clock_now_ms() - began_ms >= 3 * SHORT_MS);
    deadline_queue_close(&queue);
}

static void free_owner(struct deadline *deadline)
{
    n_due++;
    deadline_clear(&deadlines[1]); /* a session may end another one */
    free(deadline->owner);
}

static void what_is_due_may_free_its_owner_and_clear_others(void **state)
{
    struct deadline_queue queue = { 0 };
    struct deadline *owned = calloc(1, sizeof *owned);

    (void)state;
    assert_non_null(owned);
    owned->owner = owned;
    deadline_queue_open(&queue, loop, SHORT_MS, free_owner);
    deadline_set(owned, &queue);
    deadline_set(&deadlines[1], &queue);
    run();
    assert_int_equal(n_due, 1);
    deadline_queue_close(&queue);
}

static void closing_what_was_never_opened_is_harmless(void **state)
{
    struct deadline_queue queue = { 0 };

    (void)state;
    deadline_queue_close(&queue);
    deadline_queue_open(&queue, loop, 1, note);
    deadline_queue_close(&queue);
    deadline_queue_close(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(they_are_due_in_the_order_they_were_set_and_not_too_early,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cleared_deadline_is_never_due, set_up, tear_down),
        cmocka_unit_test_setup_teardown(clearing_all_of_them_leaves_a_queue_that_works, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(setting_one_again_moves_it_behind_the_others, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_may_move_to_another_queue, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_due_deadline_may_be_set_again_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_due_may_free_its_owner_and_clear_others, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(closing_what_was_never_opened_is_harmless, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
