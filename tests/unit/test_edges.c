/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include "mmproxy/net/edges.h"

static unsigned told;
static int times;
static struct edge *forgotten; /* by the next event */
static struct edges *edges_of_forgotten;

static void on_event(struct edge *edge, unsigned events)
{
    assert_ptr_equal(edge->owner, &told);
    told = events;
    times++;
    if (forgotten)
        edges_forget(edges_of_forgotten, forgotten);
}

struct fixture {
    struct ev_loop *loop;
    struct edges edges;
    struct edge edge;
    int ends[2];
};

static void open_fixture(struct fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    told = 0;
    times = 0;
    forgotten = NULL;
    fixture->loop = ev_loop_new(EVBACKEND_EPOLL);
    assert_non_null(fixture->loop);
    assert_int_equal(edges_open(&fixture->edges, fixture->loop, on_event), 0);
    fixture->edge.owner = &told;
    support_tcp_pair(fixture->ends, 0);
}

static void close_fixture(struct fixture *fixture)
{
    for (int i = 0; i < 2; i++)
        if (fixture->ends[i] >= 0)
            close(fixture->ends[i]);
    edges_close(&fixture->edges);
    ev_loop_destroy(fixture->loop);
}

static void want(struct fixture *fixture, unsigned wanted)
{
    assert_int_equal(edges_want(&fixture->edges, &fixture->edge, fixture->ends[0], wanted), 0);
}

/* What has been told since the last call. */
static unsigned look(struct fixture *fixture)
{
    told = 0;
    ev_run(fixture->loop, EVRUN_NOWAIT);
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
    want(&fixture, EDGE_READ);
    assert_int_equal(look(&fixture), 0);
    send_bytes(&fixture, 0);
    assert_int_equal(look(&fixture), EDGE_READ);
    assert_int_equal(look(&fixture), 0);
    want(&fixture, EDGE_READ);
    assert_int_equal(look(&fixture), 0);
    close_fixture(&fixture);
}

static void what_is_left_unread_is_told_again_where_the_owner_says_so(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    want(&fixture, EDGE_READ);
    send_bytes(&fixture, 0);
    assert_int_equal(look(&fixture), EDGE_READ);
    edges_again(&fixture.edge, EDGE_READ);
    want(&fixture, EDGE_READ);
    assert_int_equal(look(&fixture), EDGE_READ);
    close_fixture(&fixture);
}

static void what_became_ready_while_it_was_not_wanted_is_told_later(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    want(&fixture, EDGE_READ);
    want(&fixture, 0);
    send_bytes(&fixture, 0);
    (void)look(&fixture);
    want(&fixture, EDGE_READ);
    assert_int_equal(look(&fixture), EDGE_READ);
    want(&fixture, EDGE_READ | EDGE_WRITE);
    assert_int_equal(look(&fixture), EDGE_READ | EDGE_WRITE);
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
    want(&fixture, EDGE_READ);
    assert_int_equal(look(&fixture), EDGE_READ | EDGE_END);
    assert_int_equal(fixture.edge.told, EDGE_END);
    close_fixture(&fixture);
}

static void a_reset_is_no_end_and_told_though_nothing_is_read(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture);
    want(&fixture, EDGE_ERROR);
    send_bytes(&fixture, 0);
    assert_int_equal(look(&fixture), 0);
    reset_other_end(&fixture);
    assert_int_equal(look(&fixture), EDGE_READ | EDGE_WRITE | EDGE_ERROR);
    assert_int_equal(fixture.edge.told, 0);
    assert_int_equal(look(&fixture), 0);
    close_fixture(&fixture);
}

/* Its owner may have read the bytes before it, and no more. */
static void a_reset_is_told_until_the_owner_has_met_it(void **state)
{
    static const unsigned wanted[] = { EDGE_READ, EDGE_READ | EDGE_ERROR, EDGE_ERROR };
    char bytes[8];

    (void)state;
    for (size_t i = 0; i < COUNT(wanted); i++) {
        struct fixture fixture;

        open_fixture(&fixture);
        want(&fixture, wanted[i]);
        send_bytes(&fixture, 0);
        reset_other_end(&fixture);
        assert_int_equal(look(&fixture), EDGE_READ | EDGE_WRITE | EDGE_ERROR);
        assert_int_equal(recv(fixture.ends[0], bytes, sizeof bytes, 0), 5);
        want(&fixture, wanted[i]);
        assert_int_equal(look(&fixture), EDGE_READ | EDGE_WRITE | EDGE_ERROR);
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
    want(&fixture, EDGE_READ);
    send_bytes(&fixture, MSG_OOB);
    assert_int_equal(look(&fixture), EDGE_READ | EDGE_URGENT);
    assert_int_equal(fixture.edge.told, EDGE_URGENT);
    close_fixture(&fixture);
}

static void a_socket_whose_owner_has_gone_in_the_same_batch_is_not_told(void **state)
{
    struct fixture fixture;
    struct edge other = { .owner = &told };
    int ends[2];

    (void)state;
    open_fixture(&fixture);
    support_tcp_pair(ends, 0);
    want(&fixture, EDGE_WRITE);
    assert_int_equal(edges_want(&fixture.edges, &other, ends[0], EDGE_WRITE), 0);
    edges_of_forgotten = &fixture.edges;
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
    want(&fixture, EDGE_READ);
    send_bytes(&fixture, 0);
    close(fixture.ends[0]);
    fixture.ends[0] = -1;
    (void)look(&fixture);
    assert_int_equal(times, 0);
    assert_int_equal(edges_want(&fixture.edges, &fixture.edge, -1, EDGE_WRITE), -EBADF);
    close_fixture(&fixture);
}

static void closing_twice_is_harmless(void **state)
{
    struct edges never = { 0 };
    struct fixture fixture;
    unsigned before = support_descriptors("");

    (void)state;
    edges_close(&never);
    open_fixture(&fixture);
    edges_close(&fixture.edges);
    close_fixture(&fixture);
    assert_int_equal(support_descriptors(""), before);
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
        cmocka_unit_test(closing_twice_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
