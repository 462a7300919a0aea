/* SPDX-License-Identifier: BSD-2-Clause */
/* session: the driver, around states that a test makes up. */
#include "session_support.h"

#include <netinet/tcp.h>

#include "mmproxy/net/sock.h"

/* What the states return, one after the other, and what they were called with. */
static struct {
    enum session_state next[16];
    size_t n_next;
    size_t n_calls;
    enum session_state called[16];
    unsigned ready[16];
    struct session *session;
    int service; /* the other end of the socket that CONNECT opened last */
} script;

static int abortive_pair(int *other)
{
    int ends[2];

    support_tcp_pair(ends, 0);
    assert_int_equal(sock_set_abortive(ends[1]), 0);
    *other = ends[0];
    return ends[1];
}

static enum session_state play(struct session *session, enum session_state state, unsigned ready)
{
    assert_true(script.n_calls < script.n_next);
    assert_int_equal(session->state, state);
    script.session = session;
    script.called[script.n_calls] = state;
    script.ready[script.n_calls] = ready;
    return script.next[script.n_calls++];
}

/* These take the places of the real ones. */
enum session_state header_run(struct session *session, unsigned ready)
{
    return play(session, SESSION_HEADER, ready);
}

enum session_state connect_run(struct session *session, unsigned ready)
{
    if (session->target_fd < 0)
        session->target_fd = abortive_pair(&script.service);
    session->lacks_keepalive = session->listener->config->keepalive_s > 0;
    pump_open(&session->up, session->peer_fd, session->target_fd);
    pump_open(&session->down, session->target_fd, session->peer_fd);
    return play(session, SESSION_CONNECT, ready);
}

enum session_state relay_run(struct session *session, unsigned ready)
{
    return play(session, SESSION_RELAY, ready);
}

enum session_state reset_run(struct session *session, unsigned ready)
{
    return play(session, SESSION_RESET, ready);
}

#define SCRIPT(...)                                         \
    script_set((const enum session_state[]){ __VA_ARGS__ }, \
               COUNT(((const enum session_state[]){ __VA_ARGS__ })))

static void script_set(const enum session_state *next, size_t n)
{
    memset(&script, 0, sizeof script);
    memcpy(script.next, next, n * sizeof *next);
    script.n_next = n;
    script.service = -1;
}

struct rig {
    struct world world;
    int client;  /* the other end of the session's first socket */
    int service; /* ... and of its second one */
};

static void rig_open(struct rig *rig)
{
    world_open(&rig->world);
    rig->client = -1;
    rig->service = -1;
}

static void rig_close(struct rig *rig)
{
    assert_int_equal(script.n_calls, script.n_next);
    world_close(&rig->world);
    if (rig->client >= 0)
        close(rig->client);
    if (rig->service >= 0)
        close(rig->service);
}

static struct session *start(struct rig *rig)
{
    struct addr peer = support_addr("192.0.2.1:4711");
    int fd = abortive_pair(&rig->client);

    assert_int_equal(session_start(&rig->world.listener, &peer, fd, &peer), REASON_NONE);
    rig->service = script.service;
    return script.session;
}

/* Both pumps wait to read. */
static struct session *start_relay(struct rig *rig)
{
    struct session *session = start(rig);

    assert_int_equal(session->state, SESSION_RELAY);
    return session;
}

static unsigned events(const struct loop_io *io)
{
    return io->due & (LOOP_READ | LOOP_WRITE);
}

static void a_session_waits_for_its_header_first(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    SCRIPT(SESSION_HEADER, SESSION_CLOSED);
    struct session *session = start(&rig);
    assert_int_equal(script.ready[0], READY_ENTERED);
    assert_int_equal(events(&session->peer_io), LOOP_READ);
    assert_int_equal(events(&session->target_io), 0);
    assert_ptr_equal(session->deadline.queue, &rig.world.listener.header_deadlines);
    assert_int_equal(rig.world.worker.n_sessions, 1);
    assert_int_equal(counters_pending(rig.world.spec.counters, rig.world.listener_id), 1);

    assert_int_equal(send(rig.client, "x", 1, 0), 1);
    support_wait(session->peer_fd, POLLIN);
    loop_turn(rig.world.worker.loop, false);
    assert_int_equal(script.ready[1], READY_PEER_READ);
    assert_int_equal(counters_pending(rig.world.spec.counters, rig.world.listener_id), 0);
    assert_int_equal(counters_sessions(rig.world.spec.counters, rig.world.listener_id), 0);
    rig_close(&rig);
}

static void every_state_has_its_watchers_and_its_deadline(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    SCRIPT(SESSION_HEADER, SESSION_CONNECT, SESSION_CONNECT, SESSION_RELAY, SESSION_RELAY,
           SESSION_CLOSED);
    struct session *session = start(&rig);
    session->header = malloc(1);

    session_drive(session, READY_PEER_READ);
    rig.service = script.service;
    assert_int_equal(session->state, SESSION_CONNECT);
    assert_int_equal(script.ready[2], READY_ENTERED);
    assert_int_equal(events(&session->peer_io), 0);
    assert_int_equal(events(&session->target_io), LOOP_WRITE);
    assert_ptr_equal(session->deadline.queue, &rig.world.listener.connect_deadlines);
    assert_non_null(session->header); /* what was behind the header is still wanted */

    session_drive(session, READY_TARGET_WRITE);
    assert_int_equal(session->state, SESSION_RELAY);
    assert_int_equal(script.ready[4], READY_ENTERED);
    assert_int_equal(events(&session->peer_io), LOOP_READ);
    assert_int_equal(events(&session->target_io), LOOP_READ);
    assert_ptr_equal(session->deadline.queue, &rig.world.listener.idle_deadlines);
    assert_null(session->header);
    session_drive(session, READY_STOP);
    rig_close(&rig);
}

static void a_session_may_pass_through_all_states_at_once(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    unsigned sockets = support_descriptors("socket:");
    SCRIPT(SESSION_CONNECT, SESSION_RELAY, SESSION_CLOSED);
    (void)start(&rig);
    assert_int_equal(script.called[1], SESSION_CONNECT);
    assert_int_equal(script.called[2], SESSION_RELAY);
    assert_int_equal(counters_sessions(rig.world.spec.counters, rig.world.listener_id), 0);
    loop_turn(rig.world.worker.loop, false);
    assert_int_equal(support_descriptors("socket:"), sockets + 2); /* client and service */
    rig_close(&rig);
}

static void the_relay_s_watchers_follow_its_pumps(void **state)
{
    static const struct {
        enum pump_wait up;
        enum pump_wait down;
        unsigned peer;
        unsigned target;
    } cases[] = {
        { PUMP_READ, PUMP_READ, LOOP_READ, LOOP_READ },
        { PUMP_WRITE, PUMP_READ, 0, LOOP_READ | LOOP_WRITE },
        { PUMP_READ, PUMP_WRITE, LOOP_READ | LOOP_WRITE, 0 },
        { PUMP_WRITE, PUMP_WRITE, LOOP_WRITE, LOOP_WRITE },
        { PUMP_DONE, PUMP_READ, 0, LOOP_READ },
        { PUMP_DONE, PUMP_WRITE, LOOP_WRITE, 0 },
        { PUMP_READ, PUMP_DONE, LOOP_READ, 0 },
        { PUMP_WRITE, PUMP_DONE, 0, LOOP_WRITE },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rig rig;

        rig_open(&rig);
        SCRIPT(SESSION_CONNECT, SESSION_RELAY, SESSION_RELAY, SESSION_RELAY, SESSION_CLOSED);
        struct session *session = start_relay(&rig);
        session->up.wait = cases[i].up;
        session->down.wait = cases[i].down;
        session_drive(session, READY_PEER_READ);
        assert_int_equal(events(&session->peer_io), cases[i].peer);
        assert_int_equal(events(&session->target_io), cases[i].target);
        assert_true(session->peer_io.due & session->target_io.due & LOOP_ERROR);
        session_drive(session, READY_STOP);
        rig_close(&rig);
    }
}

static void idle_timeout_begins_anew_with_what_comes_or_goes_and_nothing_else(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    const struct deadline_queue *queue = &rig.world.listener.idle_deadlines;
    SCRIPT(SESSION_CONNECT, SESSION_RELAY, SESSION_RELAY, SESSION_CONNECT, SESSION_RELAY,
           SESSION_RELAY, SESSION_RELAY, SESSION_CLOSED, SESSION_CLOSED);
    struct session *first = start_relay(&rig);
    int ends[] = { rig.client, rig.service };
    struct session *second = start_relay(&rig);

    /* The one whose deadline is older is the queue's first. */
    assert_ptr_equal(deadline_queue_first(queue)->owner, first);
    session_lasts(first);
    assert_ptr_equal(deadline_queue_first(queue)->owner, first);
    session_drive(first, READY_TARGET_WRITE);
    assert_ptr_equal(deadline_queue_first(queue)->owner, second);
    session_drive(first, READY_DEADLINE);
    session_drive(second, READY_DEADLINE);
    close(ends[0]);
    close(ends[1]);
    rig_close(&rig);
}

static void without_idle_timeout_there_is_no_deadline(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.world.listener_config.idle_timeout_ms = 0;
    SCRIPT(SESSION_CONNECT, SESSION_RELAY, SESSION_RELAY, SESSION_RELAY, SESSION_CLOSED);
    struct session *session = start_relay(&rig);
    assert_null(session->deadline.queue);
    session_drive(session, READY_PEER_READ);
    assert_null(session->deadline.queue);
    session_drive(session, READY_STOP);
    rig_close(&rig);
}

static void a_socket_that_fails_while_it_is_not_read_is_heard_of(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    SCRIPT(SESSION_CONNECT, SESSION_RELAY, SESSION_RELAY, SESSION_RELAY, SESSION_CLOSED);
    struct session *session = start_relay(&rig);
    session->up.wait = PUMP_DONE;
    session_drive(session, READY_PEER_READ);
    support_reset(rig.client);
    rig.client = -1;
    support_wait(session->peer_fd, POLLHUP);
    loop_turn(rig.world.worker.loop, false);
    assert_int_equal(script.ready[4], READY_ERROR);
    rig_close(&rig);
}

static void a_session_that_lasts_has_keepalive_towards_the_target(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.world.listener_config.keepalive_s = 77;
    SCRIPT(SESSION_CONNECT, SESSION_RELAY, SESSION_RELAY, SESSION_CLOSED);
    struct session *session = start_relay(&rig);
    assert_non_null(session->lasting_due.queue);
    assert_int_equal(support_option(session->target_fd, SOL_SOCKET, SO_KEEPALIVE), 0);

    session_lasts(session);
    assert_int_equal(support_option(session->target_fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(support_option(session->target_fd, IPPROTO_TCP, TCP_KEEPIDLE), 77);
    session_drive(session, READY_STOP);
    rig_close(&rig);
}

static void a_peer_that_may_not_come_in_is_reset_and_no_state_runs(void **state)
{
    struct addr stranger = support_addr("203.0.113.1:4711");
    struct rig rig;

    (void)state;
    rig_open(&rig);
    SCRIPT(SESSION_CLOSED);
    script.n_next = 0;
    int fd = abortive_pair(&rig.client);
    assert_int_equal(session_start(&rig.world.listener, &stranger, fd, &stranger),
                     REASON_NOT_ALLOWED);
    assert_int_equal(support_read_end(rig.client), ECONNRESET);
    rig_close(&rig);
}

static void a_socket_that_epoll_refuses_is_told(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    SCRIPT(SESSION_HEADER, SESSION_CLOSED);
    int epoll_fd = rig.world.worker.loop->epoll_fd;
    rig.world.worker.loop->epoll_fd = -1;
    (void)start(&rig);
    rig.world.worker.loop->epoll_fd = epoll_fd;
    assert_int_equal(script.ready[1], READY_REFUSED);
    rig_close(&rig);
}

static void only_a_session_that_has_not_failed_closes_with_fin(void **state)
{
    static const struct {
        bool ends_with_fin;
        bool has_failed;
        int end;
    } cases[] = {
        { true, false, 0 },
        { false, false, ECONNRESET },
        { false, true, ECONNRESET },
        { true, true, ECONNRESET },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rig rig;

        rig_open(&rig);
        SCRIPT(SESSION_CONNECT, SESSION_RELAY, SESSION_RELAY, SESSION_CLOSED);
        struct session *session = start_relay(&rig);
        session->ends_with_fin = cases[i].ends_with_fin;
        session->has_failed = cases[i].has_failed;
        session_drive(session, READY_STOP);
        loop_turn(rig.world.worker.loop, false);
        assert_int_equal(support_read_end(rig.client), cases[i].end);
        assert_int_equal(support_read_end(rig.service), cases[i].end);
        rig_close(&rig);
    }
}

/* Here it is not over: the reset shows that the option was left. */
static void so_linger_is_left_as_it_is_where_the_connection_is_over(void **state)
{
    (void)state;
    for (int peer_is_over = 0; peer_is_over < 2; peer_is_over++) {
        struct rig rig;

        rig_open(&rig);
        SCRIPT(SESSION_CONNECT, SESSION_RELAY, SESSION_RELAY, SESSION_CLOSED);
        struct session *session = start_relay(&rig);
        session->ends_with_fin = true;
        session->peer_is_over = peer_is_over;
        session->target_is_over = !peer_is_over;
        session_drive(session, READY_STOP);
        loop_turn(rig.world.worker.loop, false);
        assert_int_equal(support_read_end(rig.client), peer_is_over ? ECONNRESET : 0);
        assert_int_equal(support_read_end(rig.service), peer_is_over ? 0 : ECONNRESET);
        rig_close(&rig);
    }
}

static void the_peer_is_reset_at_once_and_the_target_when_the_state_has_ended(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    const struct deadline_queue *queue = &rig.world.worker.reset_deadlines;
    SCRIPT(SESSION_CONNECT, SESSION_RELAY, SESSION_RELAY, SESSION_RESET, SESSION_RESET,
           SESSION_RESET, SESSION_CLOSED);
    struct session *session = start_relay(&rig);
    session->has_failed = true;
    assert_int_equal(pump_prime(&session->up, (const uint8_t *)"unsent", 6), 0);
    session_drive(session, READY_PEER_READ);
    assert_int_equal(session->state, SESSION_RESET);
    assert_int_equal(script.ready[4], READY_ENTERED);
    assert_int_equal(support_read_end(rig.client), ECONNRESET);
    assert_null(session->up.backlog);
    assert_int_equal(events(&session->target_io), 0);
    assert_ptr_equal(session->deadline.queue, queue);
    assert_int_equal(rig.world.worker.n_sessions, 1);

    deadline_clear(&session->deadline); /* as it is when it is due */
    session_drive(session, READY_DEADLINE);
    assert_ptr_equal(session->deadline.queue, queue);
    assert_false(support_is_ready(rig.service, POLLIN, 0));
    session_drive(session, READY_DEADLINE);
    loop_turn(rig.world.worker.loop, false);
    assert_int_equal(support_read_end(rig.service), ECONNRESET);
    rig_close(&rig);
}

static void what_a_session_held_is_free_again(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    unsigned before = support_descriptors("");
    SCRIPT(SESSION_CONNECT, SESSION_RELAY, SESSION_RELAY, SESSION_CLOSED);
    struct session *session = start_relay(&rig);
    session->header = malloc(1);
    assert_int_equal(pump_prime(&session->up, (const uint8_t *)"unsent", 6), 0);
    session_drive(session, READY_STOP);
    loop_turn(rig.world.worker.loop, false);
    assert_int_equal(support_descriptors(""), before + 2); /* client and service */
    assert_int_equal(rig.world.worker.n_sessions, 0);
    assert_null(deadline_queue_first(&rig.world.listener.idle_deadlines));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_waits_for_its_header_first),
        cmocka_unit_test(every_state_has_its_watchers_and_its_deadline),
        cmocka_unit_test(a_session_may_pass_through_all_states_at_once),
        cmocka_unit_test(the_relay_s_watchers_follow_its_pumps),
        cmocka_unit_test(idle_timeout_begins_anew_with_what_comes_or_goes_and_nothing_else),
        cmocka_unit_test(without_idle_timeout_there_is_no_deadline),
        cmocka_unit_test(a_socket_that_fails_while_it_is_not_read_is_heard_of),
        cmocka_unit_test(a_session_that_lasts_has_keepalive_towards_the_target),
        cmocka_unit_test(a_peer_that_may_not_come_in_is_reset_and_no_state_runs),
        cmocka_unit_test(a_socket_that_epoll_refuses_is_told),
        cmocka_unit_test(only_a_session_that_has_not_failed_closes_with_fin),
        cmocka_unit_test(so_linger_is_left_as_it_is_where_the_connection_is_over),
        cmocka_unit_test(the_peer_is_reset_at_once_and_the_target_when_the_state_has_ended),
        cmocka_unit_test(what_a_session_held_is_free_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
