/* SPDX-License-Identifier: BSD-2-Clause */
/* Leashes: an earlier process and a later one in one process, with a loop that turns by hand. */
#include "net_support.h"

#include <fcntl.h>

#include "mmproxy/supervisor/leash.h"

static struct world {
    struct ev_loop *loop;
    struct leashes earlier;
    struct leashes later;
    unsigned pulled; /* seen by the earlier one */
    unsigned gone;   /* seen by the later one */
} world;

static void on_pulled(void *context)
{
    (void)context;
    world.pulled++;
}

static void on_gone(void *context, int counted)
{
    assert_int_equal(counted, -1);
    (void)context;
    world.gone++;
}

static struct leashes fresh(void)
{
    return (struct leashes){ .end = -1, .pull = -1, .on_pulled = on_pulled, .on_gone = on_gone };
}

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    world.loop = ev_loop_new(EVBACKEND_EPOLL);
    world.earlier = fresh();
    world.later = fresh();
    assert_int_equal(leash_open(&world.earlier, world.loop), 0);
    int pull = fcntl(world.earlier.pull, F_DUPFD_CLOEXEC, 0);
    assert_true(leash_is(pull));
    assert_int_equal(leash_adopt(&world.later, pull), 0);
    assert_int_equal(leash_open(&world.later, world.loop), 0);
    assert_int_equal(world.later.n_earlier, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    leash_close(&world.earlier);
    leash_close(&world.later);
    leash_close(&world.later); /* harmless */
    ev_loop_destroy(world.loop);
    return 0;
}

static void turn(void)
{
    for (int i = 0; i < 3; i++)
        ev_run(world.loop, EVRUN_NOWAIT);
}

static void a_pull_is_seen_by_all_holders_of_the_reading_end(void **state)
{
    (void)state;
    turn();
    assert_int_equal(world.pulled + world.gone, 0);
    leash_pull_all(&world.later);
    turn();
    assert_int_equal(world.pulled, 1);
    turn();
    assert_int_equal(world.pulled, 1);
    assert_true(support_is_ready(world.earlier.end, POLLIN, 0)); /* for workers, and later ones */
}

static void the_last_reader_that_goes_is_noticed(void **state)
{
    int worker = fcntl(world.earlier.end, F_DUPFD_CLOEXEC, 0);

    (void)state;
    leash_close(&world.earlier);
    turn();
    assert_int_equal(world.gone, 0);
    close(worker);
    turn();
    assert_int_equal(world.gone, 1);
    assert_int_equal(world.later.n_earlier, 0);
    leash_pull_all(&world.later); /* there is nobody */
}

static void no_worker_is_pulled_when_the_later_process_ends(void **state)
{
    (void)state;
    leash_close(&world.later);
    turn();
    close(world.earlier.pull);
    world.earlier.pull = -1;
    turn();
    assert_int_equal(world.pulled, 0);
}

static void a_successor_knows_its_own(void **state)
{
    struct leashes successor = fresh();
    int ends[2];

    (void)state;
    assert_int_equal(leash_make(ends), 0);
    assert_true(leash_is_end(ends[0]) && !leash_is(ends[0]));
    int pull = fcntl(ends[1], F_DUPFD_CLOEXEC, 0);
    assert_int_equal(leash_adopt(&world.later, ends[1]), 0); /* which has opened already */
    leash_take_end(&successor, ends[0]);
    int earlier = fcntl(world.earlier.pull, F_DUPFD_CLOEXEC, 0);
    assert_int_equal(leash_adopt(&successor, earlier), 0);
    assert_int_equal(leash_adopt(&successor, pull), 0);
    assert_int_equal(leash_open(&successor, world.loop), 0);
    assert_int_equal(successor.pull, pull);
    assert_int_equal(successor.n_earlier, 1);
    leash_close(&successor);
    turn();
    assert_int_equal(world.gone, 1); /* seen by the one that made it */
}

static void other_descriptors_are_no_leashes(void **state)
{
    int ends[2];
    int listening = support_listen(0);

    (void)state;
    assert_return_code(pipe(ends), errno);
    assert_false(leash_is(ends[0]));
    assert_true(leash_is(ends[1]));
    assert_false(leash_is(listening));
    assert_false(leash_is(-1));
    close(ends[0]);
    close(ends[1]);
    close(listening);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pull_is_seen_by_all_holders_of_the_reading_end, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_last_reader_that_goes_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_worker_is_pulled_when_the_later_process_ends, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_successor_knows_its_own, set_up, tear_down),
        cmocka_unit_test(other_descriptors_are_no_leashes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
