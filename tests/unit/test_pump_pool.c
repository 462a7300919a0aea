/* SPDX-License-Identifier: BSD-2-Clause */
/* The pipes of pump's pool, and bytes that are there ahead of the first run. */
#include "pump_support.h"

enum { MAX_PIPES = 2, RIGS = 4 };

static void pipes_are_made_for_bulky_streams_only(void **state)
{
    struct pump_pool *pool = pump_pool_new(MAX_PIPES);
    unsigned before = support_descriptors("pipe:");
    struct rig rig;

    (void)state;
    rig_open(&rig, pool, 0);
    for (int i = 0; i < 50; i++)
        rig_move(&rig, rig.sent + 1000, 1000, 64 * 1024);
    assert_int_equal(support_descriptors("pipe:"), before);
    rig_move_in_bulk(&rig, 10);
    assert_int_equal(support_descriptors("pipe:"), before + 2);
    rig_close(&rig);
    pump_pool_free(pool);
    assert_int_equal(support_descriptors("pipe:"), before);
}

static void an_idle_direction_holds_no_pipe_so_one_serves_many(void **state)
{
    struct pump_pool *pool = pump_pool_new(MAX_PIPES);
    unsigned before = support_descriptors("pipe:");

    (void)state;
    for (int i = 0; i < RIGS; i++) {
        struct rig rig;
        rig_open(&rig, pool, 0);
        rig_move_in_bulk(&rig, 10);
        assert_null(rig.pump.backlog);
        assert_int_equal(support_descriptors("pipe:"), before + 2);
        rig_close(&rig);
    }
    pump_pool_free(pool);
}

static void the_pool_is_bounded_and_streams_beyond_it_are_copied(void **state)
{
    struct pump_pool *pool = pump_pool_new(MAX_PIPES);
    unsigned before = support_descriptors("pipe:");
    struct rig rigs[RIGS];

    (void)state;
    for (int i = 0; i < RIGS; i++) {
        rig_open(&rigs[i], pool, 0);
        assert_int_equal(rig_fill(&rigs[i]), PUMP_WRITE);
        assert_true(rig_held(&rigs[i]) <= PUMP_HOLDS_AT_MOST);
    }
    assert_true(support_descriptors("pipe:") <= before + 2 * MAX_PIPES);
    for (int i = 0; i < RIGS; i++) {
        rig_move(&rigs[i], rigs[i].sent + (1 << 20), 64 * 1024, 64 * 1024);
        assert_int_equal(rigs[i].received, rigs[i].sent);
    }
    assert_true(support_descriptors("pipe:") <= before + 2 * MAX_PIPES);
    for (int i = 0; i < RIGS; i++)
        rig_close(&rigs[i]);
    pump_pool_free(pool);
    assert_int_equal(support_descriptors("pipe:"), before);
}

static void a_direction_closed_with_bytes_waiting_gives_its_place_back(void **state)
{
    struct pump_pool *pool = pump_pool_new(1);
    unsigned before = support_descriptors("pipe:");
    struct rig rig;

    (void)state;
    for (int i = 0; i < RIGS; i++) {
        rig_open(&rig, pool, 0);
        assert_int_equal(rig_fill(&rig), PUMP_WRITE);
        rig_close(&rig);
    }
    rig_open(&rig, pool, 0);
    rig_move_in_bulk(&rig, 10);
    assert_int_equal(support_descriptors("pipe:"), before + 2);
    rig_close(&rig);
    pump_pool_free(pool);
}

static void the_buffer_is_lent_between_two_runs(void **state)
{
    struct pump_pool *pool = pump_pool_new(0);
    struct rig rig;
    size_t size;
    uint8_t *buffer = pump_pool_buffer(pool, &size);

    (void)state;
    assert_true(size >= 64 * 1024);
    rig_open(&rig, pool, 0);
    assert_int_equal(rig_fill(&rig), PUMP_WRITE);
    /* What waits for the receiver must not be in there. */
    memset(buffer, 0xee, size);
    rig_move(&rig, rig.sent, 1, 64 * 1024);
    rig_close(&rig);
    pump_pool_free(pool);
}

static void prime(struct rig *rig, size_t len)
{
    uint8_t *bytes = malloc(len > 0 ? len : 1);

    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = rig_byte(rig->sent + i);
    assert_int_equal(pump_prime(&rig->pump, bytes, len), 0);
    rig->sent += len;
    free(bytes);
}

static void primed_bytes_go_ahead_of_what_is_read_later(void **state)
{
    static const size_t lengths[] = { 0, 1, 1000, 65 * 1024, 200 * 1024 };

    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct pump_pool *pool = pump_pool_new(4);
        struct rig rig;

        rig_open(&rig, pool, 0);
        prime(&rig, lengths[i]);
        rig_move(&rig, lengths[i] + 300 * 1024, 64 * 1024, 64 * 1024);
        assert_int_equal(rig.pump.bytes, lengths[i] + 300 * 1024);
        rig_close(&rig);
        pump_pool_free(pool);
    }
}

static void flushing_delivers_and_reads_nothing(void **state)
{
    struct pump_pool *pool = pump_pool_new(4);
    struct rig rig;
    int unread = 0;

    (void)state;
    rig_open(&rig, pool, 0);
    prime(&rig, 100);
    assert_int_equal(rig_send(&rig, 50, 0), 50);
    support_wait(rig.from, POLLIN);
    assert_int_equal(pump_flush(&rig.pump, pool), PUMP_READ);
    assert_int_equal(rig.pump.bytes, 100);
    ioctl(rig.from, FIONREAD, &unread);
    assert_int_equal(unread, 50);
    assert_int_equal(pump_flush(&rig.pump, pool), PUMP_READ);
    rig_move(&rig, 150, 1, 1000);
    rig_close(&rig);
    pump_pool_free(pool);
}

static void flushing_to_a_receiver_that_does_not_read_waits_for_it(void **state)
{
    struct pump_pool *pool = pump_pool_new(4);
    struct rig rig;

    (void)state;
    rig_open(&rig, pool, 4096);
    prime(&rig, 4 << 20);
    assert_int_equal(pump_flush(&rig.pump, pool), PUMP_WRITE);
    assert_non_null(rig.pump.backlog);
    assert_true(rig.pump.bytes < 4 << 20);
    rig_move(&rig, 4 << 20, 1, 64 * 1024);
    assert_null(rig.pump.backlog);
    rig_close(&rig);
    pump_pool_free(pool);
}

static void flushing_to_a_receiver_that_has_gone_fails(void **state)
{
    struct pump_pool *pool = pump_pool_new(4);
    struct rig rig;

    (void)state;
    rig_open(&rig, pool, 0);
    prime(&rig, 100);
    support_reset(rig.receiver);
    rig.receiver = -1;
    support_wait(rig.to, POLLHUP);
    assert_int_equal(pump_flush(&rig.pump, pool), PUMP_TO_ERROR);
    assert_true(rig.pump.error == ECONNRESET || rig.pump.error == EPIPE);
    rig_close(&rig);
    pump_pool_free(pool);
}

static void closing_twice_and_freeing_nothing_is_harmless(void **state)
{
    struct pump_pool *pool = pump_pool_new(4);
    struct rig rig;

    (void)state;
    rig_open(&rig, pool, 0);
    prime(&rig, 100);
    pump_close(&rig.pump, pool);
    rig_close(&rig);
    pump_pool_free(pool);
    pump_pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipes_are_made_for_bulky_streams_only),
        cmocka_unit_test(an_idle_direction_holds_no_pipe_so_one_serves_many),
        cmocka_unit_test(the_pool_is_bounded_and_streams_beyond_it_are_copied),
        cmocka_unit_test(a_direction_closed_with_bytes_waiting_gives_its_place_back),
        cmocka_unit_test(the_buffer_is_lent_between_two_runs),
        cmocka_unit_test(primed_bytes_go_ahead_of_what_is_read_later),
        cmocka_unit_test(flushing_delivers_and_reads_nothing),
        cmocka_unit_test(flushing_to_a_receiver_that_does_not_read_waits_for_it),
        cmocka_unit_test(flushing_to_a_receiver_that_has_gone_fails),
        cmocka_unit_test(closing_twice_and_freeing_nothing_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
