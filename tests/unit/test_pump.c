/* SPDX-License-Identifier: BSD-2-Clause */
#include "pump_support.h"

struct flow {
    const char *name;
    size_t total;
    size_t send_size;
    size_t receive_size;
    int buffer; /* of the sockets; 0 = as they are */
    unsigned max_pipes;
};

static const struct flow flows[] = {
    { "one byte", 1, 1, 1, 0, 4 },
    { "single bytes", 3000, 1, 7, 0, 4 },
    { "small messages", 100 * 1000, 64, 64 * 1024, 0, 4 },
    { "exactly the buffer", 64 * 1024, 64 * 1024, 64 * 1024, 0, 0 },
    { "one more than the buffer", 64 * 1024 + 1, 64 * 1024, 64 * 1024, 0, 0 },
    { "bulk, copied", 8 << 20, 64 * 1024, 64 * 1024, 0, 0 },
    { "bulk, spliced", 8 << 20, 64 * 1024, 64 * 1024, 0, 4 },
    { "bulk to a slow receiver, copied", 2 << 20, 64 * 1024, 3001, 0, 0 },
    { "bulk to a slow receiver, spliced", 2 << 20, 64 * 1024, 3001, 0, 4 },
    { "bulk through small sockets, copied", 1 << 20, 64 * 1024, 999, 4096, 0 },
    { "bulk through small sockets, spliced", 1 << 20, 64 * 1024, 999, 4096, 4 },
};

static void every_byte_arrives_once_and_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(flows); i++) {
        const struct flow *flow = &flows[i];
        struct pump_pool *pool = pump_pool_new(flow->max_pipes);
        struct rig rig;

        print_message("    %s\n", flow->name);
        rig_open(&rig, pool, flow->buffer);
        rig_move(&rig, flow->total, flow->send_size, flow->receive_size);
        assert_int_equal(rig.pump.bytes, flow->total);
        assert_null(rig.pump.backlog);
        rig_close(&rig);
        pump_pool_free(pool);
    }
}

static void calm_and_bulky_times_may_alternate(void **state)
{
    struct pump_pool *pool = pump_pool_new(4);
    struct rig rig;

    (void)state;
    rig_open(&rig, pool, 0);
    for (size_t round = 0; round < 5; round++) {
        rig_move(&rig, rig.sent + (2 << 20), 64 * 1024, 64 * 1024);
        for (size_t i = 0; i < 20; i++)
            rig_move(&rig, rig.sent + 10, 10, 64);
        assert_int_equal(rig.pump.full_reads, 0);
    }
    rig_close(&rig);
    pump_pool_free(pool);
}

static void the_second_piece_is_not_delayed_where_the_first_could_not_be(void **state)
{
    struct pump_pool *pool = pump_pool_new(4);
    struct rig rig;

    (void)state;
    rig_open(&rig, pool, 0);
    rig.pump.delays = true;
    support_set_option(rig.to, IPPROTO_TCP, TCP_NODELAY, 0);
    rig_move(&rig, 10, 10, 64);
    assert_int_equal(support_option(rig.to, IPPROTO_TCP, TCP_NODELAY), 0);
    rig_move(&rig, 20, 10, 64);
    assert_int_equal(support_option(rig.to, IPPROTO_TCP, TCP_NODELAY), 1);
    rig_close(&rig);
    pump_pool_free(pool);
}

static void a_receiver_that_never_reads_is_waited_for_and_nothing_else(void **state)
{
    (void)state;
    for (unsigned max_pipes = 0; max_pipes < 2; max_pipes++) {
        struct pump_pool *pool = pump_pool_new(max_pipes);
        struct rig rig;
        rig_open(&rig, pool, 0);
        assert_int_equal(rig_fill(&rig), PUMP_WRITE);
        support_wait(rig.from, POLLIN);
        for (int i = 0; i < 100; i++) {
            assert_int_equal(rig_fill(&rig), PUMP_WRITE);
            assert_in_range(rig_held(&rig), 1, PUMP_HOLDS_AT_MOST);
        }

        /* And when it reads after all, it finds everything. */
        rig_move(&rig, rig.sent, 1, 64 * 1024);
        rig_close(&rig);
        pump_pool_free(pool);
    }
}

static void the_end_of_file_comes_behind_the_last_byte(void **state)
{
    (void)state;
    for (unsigned max_pipes = 0; max_pipes < 2; max_pipes++) {
        struct pump_pool *pool = pump_pool_new(max_pipes);
        struct rig rig;

        rig_open(&rig, pool, 0);
        rig_move(&rig, 1 << 20, 64 * 1024, 64 * 1024);
        assert_int_equal(rig_fill(&rig), PUMP_WRITE);
        assert_return_code(shutdown(rig.sender, SHUT_WR), errno);
        assert_int_equal(rig_run(&rig), PUMP_WRITE);

        enum pump_wait wait = PUMP_WRITE;
        while (wait != PUMP_DONE) {
            if (rig_receive(&rig, 64 * 1024) == 0)
                support_wait(wait == PUMP_READ ? rig.from : rig.receiver, POLLIN);
            wait = rig_run(&rig);
            assert_true(wait <= PUMP_DONE);
        }
        assert_int_equal(rig.pump.bytes, rig.sent);
        while (rig.received < rig.sent)
            if (rig_receive(&rig, 64 * 1024) == 0)
                support_wait(rig.receiver, POLLIN);
        /* Passing the end on is the caller's matter; asked again, the answer is the same. */
        assert_int_equal(rig_receive(&rig, 1), 0);
        assert_int_equal(rig_run(&rig), PUMP_DONE);
        rig_close(&rig);
        pump_pool_free(pool);
    }
}

/* The kernel holds back what was sent with MSG_MORE for that long, and no longer. */
enum { HELD_BACK_MS = 200 };

/* returns: whether it was looked at in time, that is, while the kernel holds the answer back. */
static bool answer_waits_for_its_end(struct pump_pool *pool)
{
    struct rig rig;

    rig_open(&rig, pool, 0);
    assert_int_equal(rig_send(&rig, 64, 0), 64);
    assert_return_code(shutdown(rig.sender, SHUT_WR), errno);
    support_wait(rig.from, POLLRDHUP);
    uint64_t began_ms = clock_now_ms();
    assert_int_equal(rig_run(&rig), PUMP_DONE);
    assert_int_equal(rig.pump.bytes, 64);
    bool is_held = !support_is_ready(rig.receiver, POLLIN, 0);
    bool is_in_time = clock_now_ms() - began_ms < HELD_BACK_MS;
    if (is_in_time)
        assert_true(is_held);
    assert_return_code(shutdown(rig.to, SHUT_WR), errno);
    support_wait(rig.receiver, POLLIN | POLLRDHUP);
    assert_int_equal(rig_receive(&rig, 64), 64);
    support_wait(rig.receiver, POLLRDHUP);
    assert_int_equal(rig_receive(&rig, 64), SIZE_MAX);
    rig_close(&rig);
    return is_in_time;
}

static void the_end_behind_a_first_answer_is_seen_with_it_and_goes_out_with_it(void **state)
{
    struct pump_pool *pool = pump_pool_new(4);

    (void)state;
    while (!answer_waits_for_its_end(pool))
        ;
    pump_pool_free(pool);
}

static void a_reset_behind_a_first_answer_is_no_end_of_file(void **state)
{
    struct pump_pool *pool = pump_pool_new(4);
    struct rig rig;

    (void)state;
    rig_open(&rig, pool, 0);
    assert_int_equal(rig_send(&rig, 64, 0), 64);
    support_wait(rig.from, POLLIN);
    support_reset(rig.sender);
    rig.sender = -1;
    support_wait(rig.from, POLLHUP);
    assert_int_equal(rig_run(&rig), PUMP_FROM_ERROR);
    assert_int_equal(rig.pump.error, ECONNRESET);
    support_wait(rig.receiver, POLLIN);
    assert_int_equal(rig_receive(&rig, 64), 64);
    rig_close(&rig);
    pump_pool_free(pool);
}

/* As a failed send does it: the socket's error is gone, and recv returns 0. */
static void an_end_of_file_behind_a_reset_that_was_told_elsewhere_is_an_error(void **state)
{
    (void)state;
    for (size_t warm_up = 0; warm_up <= 1 << 20; warm_up += 1 << 20) {
        struct pump_pool *pool = pump_pool_new(4);
        struct rig rig;

        rig_open(&rig, pool, 0);
        rig_move(&rig, warm_up, 64 * 1024, 64 * 1024);
        assert_int_equal(rig_send(&rig, 64, 0), 64);
        support_wait(rig.from, POLLIN);
        support_reset(rig.sender);
        rig.sender = -1;
        support_wait(rig.from, POLLHUP);
        assert_int_equal(support_option(rig.from, SOL_SOCKET, SO_ERROR), ECONNRESET);
        pump_cut_off(&rig.pump);
        assert_int_equal(rig_run_to_the_end(&rig), PUMP_FROM_ERROR);
        assert_int_equal(rig.pump.error, ECONNRESET);
        assert_int_equal(rig_run(&rig), PUMP_FROM_ERROR);
        /* Nothing is held back for a FIN that does not come. */
        support_wait(rig.receiver, POLLIN);
        assert_int_equal(rig_receive(&rig, 64), 64);
        rig_close(&rig);
        pump_pool_free(pool);
    }
}

static void a_regular_end_of_one_whose_other_direction_failed_then_is_none(void **state)
{
    struct pump_pool *pool = pump_pool_new(4);
    struct rig rig;

    (void)state;
    rig_open(&rig, pool, 0);
    assert_return_code(shutdown(rig.sender, SHUT_WR), errno);
    assert_int_equal(rig_run_to_the_end(&rig), PUMP_DONE);
    pump_cut_off(&rig.pump);
    assert_int_equal(rig_run(&rig), PUMP_FROM_ERROR);
    assert_int_equal(rig.pump.wait, PUMP_FROM_ERROR);
    rig_close(&rig);
    pump_pool_free(pool);
}

static void one_direction_continues_after_the_end_of_the_other(void **state)
{
    struct pump_pool *pool = pump_pool_new(4);
    struct pump back;
    struct rig rig;
    char answer[6] = "";

    (void)state;
    rig_open(&rig, pool, 0);
    pump_open(&back, rig.to, rig.from);
    assert_return_code(shutdown(rig.sender, SHUT_WR), errno);
    assert_int_equal(rig_run_to_the_end(&rig), PUMP_DONE);
    assert_return_code(shutdown(rig.to, SHUT_WR), errno);

    support_wait(rig.receiver, POLLIN);
    assert_int_equal(rig_receive(&rig, 1), SIZE_MAX);
    assert_int_equal(send(rig.receiver, "answer", 6, 0), 6);
    support_wait(rig.to, POLLIN);
    assert_int_equal(pump_run(&back, pool), PUMP_READ);
    support_wait(rig.sender, POLLIN);
    assert_int_equal(recv(rig.sender, answer, sizeof answer, 0), 6);
    assert_memory_equal(answer, "answer", 6);
    pump_close(&back, pool);
    rig_close(&rig);
    pump_pool_free(pool);
}

static void a_reset_by_the_sender_is_an_error_of_the_reading_side(void **state)
{
    (void)state;
    for (size_t warm_up = 0; warm_up <= 1 << 20; warm_up += 1 << 20) {
        struct pump_pool *pool = pump_pool_new(4);
        struct rig rig;

        rig_open(&rig, pool, 0);
        rig_move(&rig, warm_up, 64 * 1024, 64 * 1024);
        support_reset(rig.sender);
        rig.sender = -1;
        assert_int_equal(rig_run_to_the_end(&rig), PUMP_FROM_ERROR);
        assert_int_equal(rig.pump.error, ECONNRESET);
        rig_close(&rig);
        pump_pool_free(pool);
    }
}

static void a_reset_by_the_receiver_is_an_error_of_the_writing_side(void **state)
{
    (void)state;
    for (size_t warm_up = 0; warm_up <= 1 << 20; warm_up += 1 << 20) {
        struct pump_pool *pool = pump_pool_new(4);
        struct rig rig;

        rig_open(&rig, pool, 0);
        rig_move(&rig, warm_up, 64 * 1024, 64 * 1024);
        support_reset(rig.receiver);
        rig.receiver = -1;
        support_wait(rig.to, POLLHUP);
        while (rig_send(&rig, 64 * 1024, 0) > 0)
            ;
        assert_int_equal(rig_run_to_the_end(&rig), PUMP_TO_ERROR);
        assert_true(rig.pump.error == ECONNRESET || rig.pump.error == EPIPE);
        rig_close(&rig);
        pump_pool_free(pool);
    }
}

static void a_reset_while_bytes_wait_for_the_receiver_is_noticed(void **state)
{
    (void)state;
    for (unsigned max_pipes = 0; max_pipes < 2; max_pipes++) {
        struct pump_pool *pool = pump_pool_new(max_pipes);
        unsigned pipes = support_descriptors("pipe:");
        struct rig rig;

        rig_open(&rig, pool, 0);
        assert_int_equal(rig_fill(&rig), PUMP_WRITE);
        support_reset(rig.receiver);
        rig.receiver = -1;
        support_wait(rig.to, POLLHUP);
        assert_int_equal(rig_run_to_the_end(&rig), PUMP_TO_ERROR);
        assert_true(rig.pump.error == ECONNRESET || rig.pump.error == EPIPE);
        rig_close(&rig);
        /* The pipe had bytes of that session in it: nobody may get it. */
        assert_int_equal(support_descriptors("pipe:"), pipes);
        pump_pool_free(pool);
    }
}

/* splice(2) returns 0 at an urgent byte, as it does at the end of file. */
static void an_urgent_byte_is_neither_lost_nor_taken_for_the_end(void **state)
{
    (void)state;
    for (size_t warm_up = 0; warm_up <= 1 << 20; warm_up += 1 << 20) {
        struct pump_pool *pool = pump_pool_new(4);
        struct rig rig;

        rig_open(&rig, pool, 0);
        rig_move(&rig, warm_up, 64 * 1024, 64 * 1024);
        for (int i = 0; i < 5; i++) {
            assert_true(rig_send(&rig, 40 * 1024, 0) > 0);
            assert_int_equal(rig_send(&rig, 1, MSG_OOB), 1);
            assert_true(rig_send(&rig, 40 * 1024, 0) > 0);
            rig_move(&rig, rig.sent, 1, 64 * 1024);
        }
        assert_int_equal(rig_send(&rig, 1, MSG_OOB), 1);
        assert_return_code(shutdown(rig.sender, SHUT_WR), errno);
        assert_int_equal(rig_run_to_the_end(&rig), PUMP_DONE);
        assert_int_equal(rig.pump.bytes, rig.sent);
        rig_close(&rig);
        pump_pool_free(pool);
    }
}

static void a_call_moves_a_share_and_leaves_the_rest_for_the_next(void **state)
{
    struct pump_pool *pool = pump_pool_new(4);
    struct rig rig;

    (void)state;
    rig_open(&rig, pool, 4 << 20);
    for (int i = 0; i < 64; i++) {
        support_set_option(rig.to, SOL_SOCKET, SO_SNDBUF, 8 << 20);
        (void)rig_send(&rig, 64 * 1024, 0);
    }
    while (rig.pump.bytes < rig.sent) {
        uint64_t before = rig.pump.bytes;
        enum pump_wait wait = rig_run(&rig);
        assert_true(rig.pump.bytes - before < (1 << 20) + PUMP_HOLDS_AT_MOST);
        if (wait == PUMP_READ && rig.pump.bytes < rig.sent)
            support_wait(rig.from, POLLIN);
        while (wait == PUMP_WRITE && !support_is_ready(rig.to, POLLOUT, 0))
            if (rig_receive(&rig, 64 * 1024) == 0)
                support_wait(rig.receiver, POLLIN);
    }
    rig_close(&rig);
    pump_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_arrives_once_and_in_order),
        cmocka_unit_test(calm_and_bulky_times_may_alternate),
        cmocka_unit_test(the_second_piece_is_not_delayed_where_the_first_could_not_be),
        cmocka_unit_test(a_receiver_that_never_reads_is_waited_for_and_nothing_else),
        cmocka_unit_test(the_end_of_file_comes_behind_the_last_byte),
        cmocka_unit_test(the_end_behind_a_first_answer_is_seen_with_it_and_goes_out_with_it),
        cmocka_unit_test(a_reset_behind_a_first_answer_is_no_end_of_file),
        cmocka_unit_test(an_end_of_file_behind_a_reset_that_was_told_elsewhere_is_an_error),
        cmocka_unit_test(a_regular_end_of_one_whose_other_direction_failed_then_is_none),
        cmocka_unit_test(one_direction_continues_after_the_end_of_the_other),
        cmocka_unit_test(a_reset_by_the_sender_is_an_error_of_the_reading_side),
        cmocka_unit_test(a_reset_by_the_receiver_is_an_error_of_the_writing_side),
        cmocka_unit_test(a_reset_while_bytes_wait_for_the_receiver_is_noticed),
        cmocka_unit_test(an_urgent_byte_is_neither_lost_nor_taken_for_the_end),
        cmocka_unit_test(a_call_moves_a_share_and_leaves_the_rest_for_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
