/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include "mmproxy/base/clock.h"
#include "mmproxy/net/loop.h"

static unsigned told;
static int times;
static struct loop_io *forgotten; /* by the next event */
static struct loop *loop_of_forgotten;

static void on_event(struct loop_io *io, unsigned events)
{
    assert_ptr_equal(io->owner, &told);
    told = events;
    times++;
    if (forgotten)
        loop_forget(loop_of_forgotten, forgotten);
}

static int others_before; /* events of others when the first one's came */
static int n_firsts;

static void on_first_event(struct loop_io *io, unsigned events)
{
    (void)io;
    (void)events;
    others_before = times;
    n_firsts++;
}

struct fixture {
    struct loop *loop;
    struct loop_io io;
    int ends[2];
};

static void open_fixture(struct fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    told = 0;
    times = 0;
    forgotten = NULL;
    fixture->loop = loop_new();
    assert_non_null(fixture->loop);
    support_tcp_pair(fixture->ends, 0);
    fixture->io = (struct loop_io){ .on_event = on_event, .owner = &told, .fd = fixture->ends[0] };
}

static void close_fixture(struct fixture *fixture)
{
    for (int i = 0; i < 2; i++)
        if (fixture->ends[i] >= 0)
            close(fixture->ends[i]);
    loop_free(fixture->loop);
}

static void want(struct fixture *fixture, unsigned wanted)
{
    assert_int_equal(loop_want(fixture->loop, &fixture->io, wanted), 0);
}

/* What has been told since the last call. */
static unsigned look(struct fixture *fixture)
{
    told = 0;
    loop_turn(fixture->loop, false);
    return told;
}

static void send_bytes(struct fixture *fixture, int flags)
{
    assert_int_equal(send(fixture->ends[1], "bytes", 5, flags), 5);
    support_wait(fixture->ends[0], POLLIN);
}

static void reset_other_end(struct fixture *fixture)
{
    support_reset(fixture->ends[1]);
    fixture->ends[1] = -1;
    support_wait(fixture->ends[0], POLLHUP);
}

static void what_is_ready_is_told_once(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    want(&fixture, LOOP_READ);
    assert_int_equal(look(&fixture), 0);
    send_bytes(&fixture, 0);
    assert_int_equal(look(&fixture), LOOP_READ);
    assert_int_equal(look(&fixture), 0);
    want(&fixture, LOOP_READ);
    assert_int_equal(look(&fixture), 0);
    close_fixture(&fixture);
}

static void what_is_left_unread_is_told_again_where_the_owner_says_so(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    want(&fixture, LOOP_READ);
    send_bytes(&fixture, 0);
    assert_int_equal(look(&fixture), LOOP_READ);
    loop_again(&fixture.io, LOOP_READ);
    want(&fixture, LOOP_READ);
    assert_int_equal(look(&fixture), LOOP_READ);
    close_fixture(&fixture);
}

static void what_became_ready_while_it_was_not_wanted_is_told_later(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    want(&fixture, LOOP_READ);
    want(&fixture, 0);
    send_bytes(&fixture, 0);
    (void)look(&fixture);
    want(&fixture, LOOP_READ);
    assert_int_equal(look(&fixture), LOOP_READ);
    want(&fixture, LOOP_READ | LOOP_WRITE);
    assert_int_equal(look(&fixture), LOOP_READ | LOOP_WRITE);
    close_fixture(&fixture);
}

static void an_end_is_told_along_with_the_bytes_before_it(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    send_bytes(&fixture, 0);
    assert_return_code(shutdown(fixture.ends[1], SHUT_WR), errno);
    support_wait(fixture.ends[0], POLLRDHUP);
    want(&fixture, LOOP_READ);
    assert_int_equal(look(&fixture), LOOP_READ | LOOP_END);
    assert_int_equal(fixture.io.told, LOOP_END);
    close_fixture(&fixture);
}

static void a_reset_is_no_end_and_told_though_nothing_is_read(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    want(&fixture, LOOP_ERROR);
    send_bytes(&fixture, 0);
    assert_int_equal(look(&fixture), 0);
    reset_other_end(&fixture);
    assert_int_equal(look(&fixture), LOOP_READ | LOOP_WRITE | LOOP_ERROR);
    assert_int_equal(fixture.io.told, 0);
    assert_int_equal(look(&fixture), 0);
    close_fixture(&fixture);
}

/* Its owner may have read the bytes before it, and no more. */
static void a_reset_is_told_until_the_owner_has_met_it(void **state)
{
    static const unsigned wanted[] = { LOOP_READ, LOOP_READ | LOOP_ERROR, LOOP_ERROR };
    char bytes[8];

    (void)state;
    for (size_t i = 0; i < COUNT(wanted); i++) {
        struct fixture fixture;

        open_fixture(&fixture);
        want(&fixture, wanted[i]);
        send_bytes(&fixture, 0);
        reset_other_end(&fixture);
        assert_int_equal(look(&fixture), LOOP_READ | LOOP_WRITE | LOOP_ERROR);
        assert_int_equal(recv(fixture.ends[0], bytes, sizeof bytes, 0), 5);
        want(&fixture, wanted[i]);
        assert_int_equal(look(&fixture), LOOP_READ | LOOP_WRITE | LOOP_ERROR);
        assert_int_equal(recv(fixture.ends[0], bytes, sizeof bytes, 0), -1);
        assert_int_equal(errno, ECONNRESET);
        close_fixture(&fixture);
    }
}

static void an_urgent_byte_is_told(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    support_set_option(fixture.ends[0], SOL_SOCKET, SO_OOBINLINE, 1);
    want(&fixture, LOOP_READ);
    send_bytes(&fixture, MSG_OOB);
    assert_int_equal(look(&fixture), LOOP_READ | LOOP_URGENT);
    assert_int_equal(fixture.io.told, LOOP_URGENT);
    close_fixture(&fixture);
}

static void a_socket_whose_owner_has_gone_in_the_same_batch_is_not_told(void **state)
{
    struct fixture fixture;
    struct loop_io other = { .on_event = on_event, .owner = &told };
    int ends[2];

    (void)state;
    open_fixture(&fixture);
    support_tcp_pair(ends, 0);
    want(&fixture, LOOP_WRITE);
    other.fd = ends[0];
    assert_int_equal(loop_want(fixture.loop, &other, LOOP_WRITE), 0);
    loop_of_forgotten = fixture.loop;
    forgotten = &other;
    (void)look(&fixture);
    assert_int_equal(times, 1);
    close(ends[0]);
    close(ends[1]);
    close_fixture(&fixture);
}

static void a_closed_descriptor_is_forgotten_by_the_kernel(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    want(&fixture, LOOP_READ);
    send_bytes(&fixture, 0);
    close(fixture.ends[0]);
    fixture.ends[0] = -1;
    (void)look(&fixture);
    assert_int_equal(times, 0);
    fixture.io.fd = -1;
    assert_int_equal(loop_want(fixture.loop, &fixture.io, LOOP_WRITE), -EBADF);
    close_fixture(&fixture);
}

static void what_is_watched_is_told_again_and_again(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    assert_int_equal(loop_watch(fixture.loop, &fixture.io), 0);
    assert_int_equal(loop_watch(fixture.loop, &fixture.io), 0);
    assert_int_equal(look(&fixture), 0);
    send_bytes(&fixture, 0);
    assert_int_equal(look(&fixture), LOOP_READ);
    assert_int_equal(look(&fixture), LOOP_READ);
    loop_unwatch(fixture.loop, &fixture.io);
    loop_unwatch(fixture.loop, &fixture.io);
    assert_int_equal(look(&fixture), 0);
    close_fixture(&fixture);
}

/* Once it is closed here its owner can't take it out any more. */
static void a_socket_that_others_have_open_too_is_not_told_after_it_was_closed(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    int other = dup(fixture.ends[0]);
    assert_int_equal(loop_watch(fixture.loop, &fixture.io), 0);
    send_bytes(&fixture, 0);
    loop_unwatch(fixture.loop, &fixture.io);
    close(fixture.ends[0]);
    fixture.ends[0] = other;
    assert_int_equal(look(&fixture), 0);
    assert_int_equal(times, 0);
    close_fixture(&fixture);
}

static void a_descriptor_that_epoll_refuses_is_watched_at_a_later_try(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    fixture.io.fd = -1;
    assert_int_equal(loop_watch(fixture.loop, &fixture.io), -EBADF);
    fixture.io.fd = fixture.ends[0];
    assert_int_equal(loop_watch(fixture.loop, &fixture.io), 0);
    send_bytes(&fixture, 0);
    assert_int_equal(look(&fixture), LOOP_READ);
    close_fixture(&fixture);
}

/* Orders come before connections, also where more is ready than one batch holds. */
static void what_comes_first_is_told_before_what_was_ready_earlier(void **state)
{
    static const int others[] = { 0, 1, LOOP_BATCH - 1, LOOP_BATCH, 3 * LOOP_BATCH };
    static struct loop_io io[3 * LOOP_BATCH];
    static int ends[3 * LOOP_BATCH][2];

    (void)state;
    for (size_t n = 0; n < COUNT(others); n++) {
        struct fixture fixture;

        open_fixture(&fixture);
        fixture.io.on_event = on_first_event;
        fixture.io.is_first = true;
        n_firsts = 0;
        assert_int_equal(loop_watch(fixture.loop, &fixture.io), 0);
        for (int i = 0; i < others[n]; i++) {
            assert_return_code(pipe(ends[i]), errno);
            assert_int_equal(write(ends[i][1], "x", 1), 1);
            io[i] = (struct loop_io){ .on_event = on_event, .owner = &told, .fd = ends[i][0] };
            assert_int_equal(loop_watch(fixture.loop, &io[i]), 0);
        }
        loop_turn(fixture.loop, false);
        assert_int_equal(n_firsts, 0);
        times = 0;
        send_bytes(&fixture, 0);
        loop_turn(fixture.loop, false);
        assert_int_equal(n_firsts, 1);
        assert_int_equal(others_before, 0);
        assert_true(times > 0 || others[n] == 0);
        for (int i = 0; i < others[n]; i++) {
            close(ends[i][0]);
            close(ends[i][1]);
        }
        close_fixture(&fixture);
    }
}

static struct loop *loop_of_timers;
static struct timer *dues[8];
static unsigned n_dues;

static void note_due(struct timer *timer)
{
    assert_false(timer->is_active);
    assert_true(clock_now_us() >= timer->due_us);
    dues[n_dues++] = timer;
    if (timer->owner)
        loop_stop_timer(loop_of_timers, timer->owner);
}

static void timers_are_told_in_their_order_and_not_too_early(void **state)
{
    static const uint64_t delays_us[] = { 9000, 3000, 12000, 6000, 15000 };
    static const int order[] = { 1, 3, 0, 4 };
    struct timer timers[COUNT(delays_us)];

    (void)state;
    n_dues = 0;
    loop_of_timers = loop_new();
    uint64_t now_us = clock_now_us();
    for (size_t i = 0; i < COUNT(delays_us); i++) {
        timers[i] = (struct timer){ .on_due = note_due };
        timers_start(&loop_of_timers->timers, &timers[i], now_us + delays_us[i]);
    }
    timers[3].owner = &timers[2]; /* is stopped by it */
    while (loop_of_timers->timers.first)
        loop_turn(loop_of_timers, true);
    assert_int_equal(n_dues, COUNT(order));
    for (size_t i = 0; i < COUNT(order); i++)
        assert_ptr_equal(dues[i], &timers[order[i]]);
    loop_free(loop_of_timers);
}

static void end(struct timer *timer)
{
    loop_end(timer->owner);
}

static void it_runs_until_it_is_ended_also_where_that_was_before(void **state)
{
    struct loop *loop = loop_new();
    struct timer timer = { .on_due = end, .owner = loop };

    (void)state;
    loop_start_timer(loop, &timer, 1000);
    loop_run(loop);
    assert_false(timer.is_active);
    loop_run(loop);
    loop_free(loop);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* Opens n descriptors whose numbers follow each other; returns the first. Some are inherited. */
static int neighbours(int n)
{
    int first = 3;

    for (int i = 0; i < n; i++) {
        if (is_open(first + i)) {
            first += i + 1;
            i = -1;
        }
    }
    for (int i = 0; i < n; i++)
        assert_int_equal(dup2(0, first + i), first + i);
    return first;
}

static void what_is_to_be_closed_is_closed_after_the_turn_and_nothing_else(void **state)
{
    static const int order[] = { 6, 1, 2, 4, 0 }; /* 3 and 5 stay */
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    int first = neighbours(7);
    loop_close(fixture.loop, -1);
    assert_false(loop_close_now(fixture.loop));
    for (size_t i = 0; i < COUNT(order); i++) {
        loop_close(fixture.loop, first + order[i]);
        assert_true(is_open(first + order[i]));
    }
    loop_turn(fixture.loop, false);
    for (int i = 0; i < 7; i++)
        assert_int_equal(is_open(first + i), i == 3 || i == 5);
    assert_false(loop_close_now(fixture.loop));
    loop_close(fixture.loop, first + 3);
    assert_true(loop_close_now(fixture.loop));
    assert_false(is_open(first + 3));
    loop_close(fixture.loop, first + 5);
    close_fixture(&fixture);
    assert_false(is_open(first + 5));
}

static void no_more_than_so_many_wait_to_be_closed(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    int first = neighbours(LOOP_CLOSING + 1);
    for (int i = LOOP_CLOSING; i >= 0; i--)
        loop_close(fixture.loop, first + i);
    for (int i = 0; i <= LOOP_CLOSING; i++)
        assert_int_equal(is_open(first + i), i == 0);
    close_fixture(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_ready_is_told_once),
        cmocka_unit_test(what_is_left_unread_is_told_again_where_the_owner_says_so),
        cmocka_unit_test(what_became_ready_while_it_was_not_wanted_is_told_later),
        cmocka_unit_test(an_end_is_told_along_with_the_bytes_before_it),
        cmocka_unit_test(a_reset_is_no_end_and_told_though_nothing_is_read),
        cmocka_unit_test(a_reset_is_told_until_the_owner_has_met_it),
        cmocka_unit_test(an_urgent_byte_is_told),
        cmocka_unit_test(a_socket_whose_owner_has_gone_in_the_same_batch_is_not_told),
        cmocka_unit_test(a_closed_descriptor_is_forgotten_by_the_kernel),
        cmocka_unit_test(what_is_watched_is_told_again_and_again),
        cmocka_unit_test(a_socket_that_others_have_open_too_is_not_told_after_it_was_closed),
        cmocka_unit_test(a_descriptor_that_epoll_refuses_is_watched_at_a_later_try),
        cmocka_unit_test(what_comes_first_is_told_before_what_was_ready_earlier),
        cmocka_unit_test(timers_are_told_in_their_order_and_not_too_early),
        cmocka_unit_test(it_runs_until_it_is_ended_also_where_that_was_before),
        cmocka_unit_test(what_is_to_be_closed_is_closed_after_the_turn_and_nothing_else),
        cmocka_unit_test(no_more_than_so_many_wait_to_be_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
