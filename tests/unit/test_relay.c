/* SPDX-License-Identifier: BSD-2-Clause */
/* relay: how one side learns of the other's end, whatever is found first. */
#include "session_support.h"

enum { BUFFER = 64 * 1024 }; /* of every socket */

enum side { CLIENT, SERVICE };

/* client - (peer_fd, session, target_fd) - service */
struct rig {
    struct world world;
    struct session session;
    int ends[2]; /* the client's and the service's; -1: closed */
};

static void rig_open(struct rig *rig)
{
    int peer[2];
    int target[2];

    world_open(&rig->world);
    support_tcp_pair(peer, BUFFER);
    support_tcp_pair(target, BUFFER);
    rig->ends[CLIENT] = peer[0];
    rig->ends[SERVICE] = target[0];
    rig->session = (struct session){
        .listener = &rig->world.listener,
        .state = SESSION_RELAY,
        .peer_fd = peer[1],
        .target_fd = target[1],
        .client = support_addr("198.51.100.7:51234"),
    };
    pump_open(&rig->session.up, peer[1], target[1]);
    pump_open(&rig->session.down, target[1], peer[1]);
}

/* As the driver ends a session. */
static void rig_hang_up(struct rig *rig)
{
    struct session *session = &rig->session;
    int fds[] = { session->target_fd, session->peer_fd };

    assert_false(session->has_failed && session->ends_with_fin);
    assert_true(session->has_failed || session->ends_with_fin);
    pump_close(&session->up, rig->world.worker.pool);
    pump_close(&session->down, rig->world.worker.pool);
    for (size_t i = 0; i < COUNT(fds); i++) {
        if (session->has_failed)
            support_reset(fds[i]);
        else
            close(fds[i]);
    }
}

static void rig_close(struct rig *rig)
{
    for (size_t i = 0; i < COUNT(rig->ends); i++)
        if (rig->ends[i] >= 0)
            close(rig->ends[i]);
    world_close(&rig->world);
}

static int fd_of(const struct rig *rig, enum side side)
{
    return side == CLIENT ? rig->session.peer_fd : rig->session.target_fd;
}

static void rig_send(const struct rig *rig, enum side side, const char *text)
{
    assert_int_equal(send(rig->ends[side], text, strlen(text), MSG_NOSIGNAL), strlen(text));
    support_wait(fd_of(rig, side), POLLIN);
}

static void rig_finish(const struct rig *rig, enum side side)
{
    assert_return_code(shutdown(rig->ends[side], SHUT_WR), errno);
    support_wait(fd_of(rig, side), POLLRDHUP);
}

static void rig_reset(struct rig *rig, enum side side)
{
    support_reset(rig->ends[side]);
    rig->ends[side] = -1;
    support_wait(fd_of(rig, side), POLLHUP);
}

static enum session_state rig_run(struct rig *rig, unsigned ready)
{
    return relay_run(&rig->session, ready);
}

static void rig_receive(const struct rig *rig, enum side side, const char *text)
{
    char bytes[64] = "";

    support_wait(rig->ends[side], POLLIN);
    assert_int_equal(recv(rig->ends[side], bytes, sizeof bytes - 1, 0), strlen(text));
    assert_string_equal(bytes, text);
}

/* One direction is full: from the victim to the survivor, who does not read. */
static void rig_fill(struct rig *rig, enum side side, bool is_bulky)
{
    static const char bytes[64 * 1024];
    struct pump *pump = side == CLIENT ? &rig->session.up : &rig->session.down;

    pump->full_reads = is_bulky ? 3 : 0;
    do {
        while (send(rig->ends[side], bytes, sizeof bytes, MSG_NOSIGNAL) > 0)
            ;
        if (is_bulky)
            pump->full_reads = 3;
        assert_int_equal(rig_run(rig, READY_SOCKETS), SESSION_RELAY);
    } while (pump->wait != PUMP_WRITE || support_is_ready(rig->ends[side], POLLOUT, 20));
}

/* --- regular ends */

static void the_end_of_one_direction_is_passed_on_and_the_other_continues(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig_send(&rig, CLIENT, "request");
    rig_finish(&rig, CLIENT);
    assert_int_equal(rig_run(&rig, READY_PEER_READ), SESSION_RELAY);
    rig_receive(&rig, SERVICE, "request");
    assert_int_equal(support_read_end(rig.ends[SERVICE]), 0);

    rig_send(&rig, SERVICE, "answer");
    assert_int_equal(rig_run(&rig, READY_TARGET_READ), SESSION_RELAY);
    rig_receive(&rig, CLIENT, "answer");
    rig_finish(&rig, SERVICE);
    assert_int_equal(rig_run(&rig, READY_TARGET_READ), SESSION_CLOSED);
    assert_string_equal(rig.session.end, "client closed");
    rig_hang_up(&rig);
    assert_int_equal(support_read_end(rig.ends[CLIENT]), 0);
    rig_close(&rig);
}

static void the_first_end_is_the_one_that_is_named(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig_finish(&rig, SERVICE);
    assert_int_equal(rig_run(&rig, READY_TARGET_READ), SESSION_RELAY);
    rig_finish(&rig, CLIENT);
    assert_int_equal(rig_run(&rig, READY_PEER_READ), SESSION_CLOSED);
    assert_string_equal(rig.session.end, "target closed");
    rig_hang_up(&rig);
    rig_close(&rig);
}

/* As an event tells it: together with the last bytes. */
static enum session_state rig_run_to_the_end(struct rig *rig, enum side side)
{
    struct loop_io *io = side == CLIENT ? &rig->session.peer_io : &rig->session.target_io;

    rig_finish(rig, side);
    io->told = LOOP_END;
    return rig_run(rig, side == CLIENT ? READY_PEER_READ : READY_TARGET_READ);
}

static void the_connection_that_ends_last_is_over_where_nothing_is_left_in_it(void **state)
{
    (void)state;
    for (enum side last = CLIENT; last <= SERVICE; last++) {
        for (int has_more = 0; has_more < 2; has_more++) {
            enum side first = last == CLIENT ? SERVICE : CLIENT;
            struct rig rig;

            rig_open(&rig);
            rig_send(&rig, last, "request");
            assert_int_equal(rig_run(&rig, READY_SOCKETS), SESSION_RELAY);
            rig_receive(&rig, first, "request");
            assert_int_equal(rig_run_to_the_end(&rig, first), SESSION_RELAY);
            assert_int_equal(support_read_end(rig.ends[last]), 0);
            if (has_more)
                rig_send(&rig, last, "more");
            assert_int_equal(rig_run_to_the_end(&rig, last), SESSION_CLOSED);
            assert_int_equal(rig.session.peer_is_over, last == CLIENT && !has_more);
            assert_int_equal(rig.session.target_is_over, last == SERVICE && !has_more);
            if (has_more)
                rig_receive(&rig, first, "more");
            rig_hang_up(&rig);
            assert_int_equal(support_read_end(rig.ends[first]), 0);
            rig_close(&rig);
        }
    }
}

static void bytes_of_the_header_count_as_read(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig_send(&rig, CLIENT, "PROXY request");
    assert_int_equal(recv(rig.session.peer_fd, (char[6]){ 0 }, 6, 0), 6);
    rig.session.proxy_len = 6;
    assert_int_equal(rig_run(&rig, READY_SOCKETS), SESSION_RELAY);
    assert_int_equal(rig_run_to_the_end(&rig, SERVICE), SESSION_RELAY);
    assert_int_equal(rig_run_to_the_end(&rig, CLIENT), SESSION_CLOSED);
    assert_true(rig.session.peer_is_over);
    rig_hang_up(&rig);
    rig_close(&rig);
}

static void a_payload_goes_out_when_the_state_is_entered(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    assert_int_equal(pump_prime(&rig.session.up, (const uint8_t *)"payload", 7), 0);
    assert_int_equal(rig_run(&rig, READY_ENTERED), SESSION_RELAY);
    rig_receive(&rig, SERVICE, "payload");
    assert_int_equal(rig_run(&rig, READY_STOP), SESSION_RESET);
    rig_hang_up(&rig);
    rig_close(&rig);
}

/* --- failures */

/* What the victim has done and the survivor is doing when the victim is reset. */
static void nothing(struct rig *rig, enum side victim, enum side survivor)
{
    (void)rig;
    (void)victim;
    (void)survivor;
}

static void part_has_been_relayed(struct rig *rig, enum side victim, enum side survivor)
{
    rig_send(rig, victim, "first");
    assert_int_equal(rig_run(rig, READY_SOCKETS), SESSION_RELAY);
    rig_receive(rig, survivor, "first");
}

static void part_is_there(struct rig *rig, enum side victim, enum side survivor)
{
    (void)survivor;
    rig_send(rig, victim, "first half");
}

static void both_send(struct rig *rig, enum side victim, enum side survivor)
{
    rig_send(rig, victim, "first half");
    rig_send(rig, survivor, "more");
}

static void the_survivor_sends_its_first_bytes(struct rig *rig, enum side victim,
                                               enum side survivor)
{
    (void)victim;
    rig_send(rig, survivor, "more");
}

static void the_survivor_has_finished(struct rig *rig, enum side victim, enum side survivor)
{
    rig_send(rig, survivor, "request");
    rig_finish(rig, survivor);
    assert_int_equal(rig_run(rig, READY_SOCKETS), SESSION_RELAY);
    rig_send(rig, victim, "first half");
}

static void the_survivor_finishes(struct rig *rig, enum side victim, enum side survivor)
{
    part_has_been_relayed(rig, victim, survivor);
    rig_send(rig, survivor, "last words");
    rig_finish(rig, survivor);
    rig_send(rig, victim, "second half");
}

static void bytes_are_on_the_heap(struct rig *rig, enum side victim, enum side survivor)
{
    (void)survivor;
    rig_fill(rig, victim, false);
}

static void bytes_are_in_a_pipe(struct rig *rig, enum side victim, enum side survivor)
{
    (void)survivor;
    rig_fill(rig, victim, true);
}

static void bytes_are_in_a_pipe_and_the_survivor_sends(struct rig *rig, enum side victim,
                                                       enum side survivor)
{
    rig_fill(rig, victim, true);
    rig_send(rig, survivor, "more");
}

static void both_directions_are_full(struct rig *rig, enum side victim, enum side survivor)
{
    rig_fill(rig, victim, true);
    rig_fill(rig, survivor, false);
}

static void (*const before[])(struct rig *, enum side victim, enum side survivor) = {
    nothing,
    part_has_been_relayed,
    part_is_there,
    both_send,
    the_survivor_sends_its_first_bytes,
    the_survivor_has_finished,
    the_survivor_finishes,
    bytes_are_on_the_heap,
    bytes_are_in_a_pipe,
    bytes_are_in_a_pipe_and_the_survivor_sends,
    both_directions_are_full,
};

/* In which order readiness is told; everything follows in the end. */
static const unsigned first_told[] = {
    READY_SOCKETS,
    READY_PEER_READ,
    READY_TARGET_READ,
    READY_PEER_WRITE,
    READY_TARGET_WRITE,
    READY_PEER_READ | READY_PEER_WRITE,
    READY_TARGET_READ | READY_TARGET_WRITE,
    READY_ERROR,
};

/* The survivor reads only when the session waits for that, and has seen no end by then. */
static void run_to_the_failure(struct rig *rig, enum side survivor, unsigned ready)
{
    enum session_state next = rig_run(rig, ready);

    for (int i = 0; next == SESSION_RELAY; i++) {
        assert_true(i < 20);
        /* A reset makes a socket ready for everything. */
        next = rig_run(rig, i % 2 ? READY_ERROR : READY_SOCKETS);
    }
    assert_int_equal(next, SESSION_RESET);
    assert_false(support_is_ready(rig->ends[survivor], POLLRDHUP, 0));
}

static void fail_one(size_t scenario, enum side victim, unsigned ready)
{
    enum side survivor = victim == CLIENT ? SERVICE : CLIENT;
    struct rig rig;

    rig_open(&rig);
    before[scenario](&rig, victim, survivor);
    rig_reset(&rig, victim);
    run_to_the_failure(&rig, survivor, ready);
    assert_string_equal(rig.session.end, victim == CLIENT ? "client reset" : "target reset");
    rig_hang_up(&rig);
    assert_int_equal(support_read_end(rig.ends[survivor]), ECONNRESET);
    rig_close(&rig);
}

static void
a_reset_of_one_side_reaches_the_other_as_a_reset_whatever_is_reported_first(void **state)
{
    (void)state;
    for (size_t scenario = 0; scenario < COUNT(before); scenario++)
        for (size_t i = 0; i < COUNT(first_told); i++) {
            fail_one(scenario, CLIENT, first_told[i]);
            fail_one(scenario, SERVICE, first_told[i]);
        }
}

static void a_target_that_is_reset_before_the_payload_goes_out_is_no_regular_end(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    assert_int_equal(pump_prime(&rig.session.up, (const uint8_t *)"payload", 7), 0);
    rig_send(&rig, SERVICE, "banner");
    rig_reset(&rig, SERVICE);
    assert_int_equal(rig_run(&rig, READY_ENTERED), SESSION_RESET);
    assert_string_equal(rig.session.end, "target reset");
    rig_receive(&rig, CLIENT, "banner");
    rig_hang_up(&rig);
    assert_int_equal(support_read_end(rig.ends[CLIENT]), ECONNRESET);
    rig_close(&rig);
}

static void what_the_failed_side_had_sent_before_goes_out_first(void **state)
{
    (void)state;
    for (enum side victim = CLIENT; victim <= SERVICE; victim++) {
        enum side survivor = victim == CLIENT ? SERVICE : CLIENT;
        struct rig rig;

        rig_open(&rig);
        both_send(&rig, victim, survivor);
        rig_reset(&rig, victim);
        assert_int_equal(rig_run(&rig, victim == CLIENT ? READY_TARGET_READ : READY_PEER_READ),
                         SESSION_RESET);
        rig_receive(&rig, survivor, "first half");
        rig_hang_up(&rig);
        rig_close(&rig);
    }
}

static void a_regular_end_before_the_failure_is_not_what_the_log_names(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig_finish(&rig, CLIENT);
    assert_int_equal(rig_run(&rig, READY_PEER_READ), SESSION_RELAY);
    assert_string_equal(rig.session.end, "client closed");
    rig_reset(&rig, SERVICE);
    assert_int_equal(rig_run(&rig, READY_TARGET_READ), SESSION_RESET);
    assert_string_equal(rig.session.end, "target reset");
    rig_hang_up(&rig);
    rig_close(&rig);
}

static void a_session_that_is_ended_from_outside_has_failed(void **state)
{
    static const struct {
        unsigned ready;
        const char *end;
    } cases[] = {
        { READY_STOP, "stopped" },
        { READY_DEADLINE, "idle timeout" },
        { READY_REFUSED, "Cannot allocate memory" },
        { READY_STOP | READY_SOCKETS, "stopped" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rig rig;

        rig_open(&rig);
        rig_finish(&rig, CLIENT);
        rig_finish(&rig, SERVICE);
        assert_int_equal(rig_run(&rig, cases[i].ready), SESSION_RESET);
        assert_string_equal(rig.session.end, cases[i].end);
        rig_hang_up(&rig);
        assert_int_not_equal(support_read_end(rig.ends[CLIENT]), 0);
        rig_close(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_one_direction_is_passed_on_and_the_other_continues),
        cmocka_unit_test(the_first_end_is_the_one_that_is_named),
        cmocka_unit_test(the_connection_that_ends_last_is_over_where_nothing_is_left_in_it),
        cmocka_unit_test(bytes_of_the_header_count_as_read),
        cmocka_unit_test(a_payload_goes_out_when_the_state_is_entered),
        cmocka_unit_test(
            a_reset_of_one_side_reaches_the_other_as_a_reset_whatever_is_reported_first),
        cmocka_unit_test(a_target_that_is_reset_before_the_payload_goes_out_is_no_regular_end),
        cmocka_unit_test(what_the_failed_side_had_sent_before_goes_out_first),
        cmocka_unit_test(a_regular_end_before_the_failure_is_not_what_the_log_names),
        cmocka_unit_test(a_session_that_is_ended_from_outside_has_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
