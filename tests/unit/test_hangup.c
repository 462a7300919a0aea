/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include "mmproxy/net/hangup.h"

struct watched {
    struct ev_loop *loop;
    int errors;
};

static void on_error(void *data)
{
    struct watched *watched = data;

    watched->errors++;
    ev_break(watched->loop, EVBREAK_ALL);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)timer;
    (void)revents;
    ev_break(loop, EVBREAK_ALL);
}

struct fixture {
    struct ev_loop *loop;
    struct hangup hangup;
    ev_timer deadline;
    struct watched watched;
    int ends[2];
};

static void open_fixture(struct fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->loop = ev_loop_new(EVBACKEND_EPOLL);
    assert_non_null(fixture->loop);
    assert_int_equal(hangup_open(&fixture->hangup, fixture->loop, on_error), 0);
    fixture->watched.loop = fixture->loop;
    ev_timer_init(&fixture->deadline, on_deadline, SUPPORT_DEADLINE_MS / 1000., 0.);
    ev_timer_start(fixture->loop, &fixture->deadline);
    support_tcp_pair(fixture->ends, 0);
    assert_int_equal(hangup_add(&fixture->hangup, fixture->ends[0], &fixture->watched), 0);
}

static void close_fixture(struct fixture *fixture)
{
    for (int i = 0; i < 2; i++)
        if (fixture->ends[i] >= 0)
            close(fixture->ends[i]);
    hangup_close(&fixture->hangup);
    ev_loop_destroy(fixture->loop);
}

static void reset_other_end(struct fixture *fixture)
{
    support_reset(fixture->ends[1]);
    fixture->ends[1] = -1;
    support_wait(fixture->ends[0], POLLHUP);
}

static void a_reset_is_reported_once(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    reset_other_end(&fixture);
    ev_run(fixture.loop, 0);
    assert_int_equal(fixture.watched.errors, 1);
    ev_run(fixture.loop, EVRUN_NOWAIT);
    assert_int_equal(fixture.watched.errors, 1);
    close_fixture(&fixture);
}

static void a_reset_is_reported_behind_bytes_without_a_reader(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    assert_int_equal(send(fixture.ends[1], "unread", 6, 0), 6);
    support_wait(fixture.ends[0], POLLIN);
    ev_run(fixture.loop, EVRUN_NOWAIT);
    assert_int_equal(fixture.watched.errors, 0);
    reset_other_end(&fixture);
    ev_run(fixture.loop, 0);
    assert_int_equal(fixture.watched.errors, 1);
    close_fixture(&fixture);
}

static void bytes_and_regular_ends_are_not_reported(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    assert_int_equal(send(fixture.ends[1], "bytes", 5, 0), 5);
    support_wait(fixture.ends[0], POLLIN);
    ev_run(fixture.loop, EVRUN_NOWAIT);
    assert_return_code(shutdown(fixture.ends[1], SHUT_WR), errno);
    support_wait(fixture.ends[0], POLLRDHUP);
    ev_run(fixture.loop, EVRUN_NOWAIT);
    assert_return_code(shutdown(fixture.ends[0], SHUT_WR), errno);
    support_wait(fixture.ends[0], POLLHUP);
    ev_run(fixture.loop, EVRUN_NOWAIT);
    assert_int_equal(fixture.watched.errors, 0);
    close_fixture(&fixture);
}

static void a_reset_that_came_before_the_watch_is_reported(void **state)
{
    struct fixture fixture;
    struct watched late = { 0 };
    int ends[2];

    (void)state;
    open_fixture(&fixture);
    late.loop = fixture.loop;
    support_tcp_pair(ends, 0);
    support_reset(ends[1]);
    support_wait(ends[0], POLLHUP);
    assert_int_equal(hangup_add(&fixture.hangup, ends[0], &late), 0);
    ev_run(fixture.loop, 0);
    assert_int_equal(late.errors, 1);
    assert_int_equal(fixture.watched.errors, 0);
    close(ends[0]);
    close_fixture(&fixture);
}

static void a_closed_descriptor_is_forgotten(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    reset_other_end(&fixture);
    close(fixture.ends[0]);
    fixture.ends[0] = -1;
    ev_run(fixture.loop, EVRUN_NOWAIT);
    assert_int_equal(fixture.watched.errors, 0);
    close_fixture(&fixture);
}

static void a_descriptor_is_watched_only_once(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    assert_int_equal(hangup_add(&fixture.hangup, fixture.ends[0], &fixture.watched), -EEXIST);
    assert_int_equal(hangup_add(&fixture.hangup, -1, &fixture.watched), -EBADF);
    close_fixture(&fixture);
}

static void closing_twice_is_harmless(void **state)
{
    struct hangup never = { 0 };
    struct fixture fixture;
    unsigned before = support_descriptors("");

    (void)state;
    hangup_close(&never);
    open_fixture(&fixture);
    hangup_close(&fixture.hangup);
    close_fixture(&fixture);
    assert_int_equal(support_descriptors(""), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reset_is_reported_once),
        cmocka_unit_test(a_reset_is_reported_behind_bytes_without_a_reader),
        cmocka_unit_test(bytes_and_regular_ends_are_not_reported),
        cmocka_unit_test(a_reset_that_came_before_the_watch_is_reported),
        cmocka_unit_test(a_closed_descriptor_is_forgotten),
        cmocka_unit_test(a_descriptor_is_watched_only_once),
        cmocka_unit_test(closing_twice_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
