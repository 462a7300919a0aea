/* SPDX-License-Identifier: BSD-2-Clause */
/* connect: the state CONNECT, around a connection to the target that a test makes up. */
#include "session_support.h"

#include "mmproxy/net/spoof.h"

/* What the calls of spoof.h are answered with, and what they were asked for. */
static struct {
    int fd_or_error;
    bool is_connected;
    int finish_error;
    ssize_t sent_or_error;
    struct spoof asked;
} answer;

/* These take the places of the real ones, which need a privilege. */
int spoof_connect(const struct spoof *spoof, bool *connected)
{
    answer.asked = *spoof;
    *connected = answer.is_connected;
    return answer.fd_or_error;
}

int spoof_finish(int fd, const struct addr *target)
{
    assert_int_equal(fd, answer.fd_or_error);
    assert_int_equal(addr_port(target), 22);
    return answer.finish_error;
}

ssize_t spoof_send(int fd, const uint8_t *bytes, size_t len)
{
    assert_int_equal(fd, answer.fd_or_error);
    assert_memory_equal(bytes, "payload", len);
    return answer.sent_or_error;
}

struct rig {
    struct world world;
    struct session session;
    int ends[2]; /* of the connection to the target: the service's, ours */
};

static void rig_open(struct rig *rig)
{
    world_open(&rig->world);
    support_tcp_pair(rig->ends, 0);
    memset(&answer, 0, sizeof answer);
    answer.fd_or_error = rig->ends[1];
    rig->session = (struct session){
        .listener = &rig->world.listener,
        .state = SESSION_CONNECT,
        .peer_fd = -1,
        .target_fd = -1,
        .peer = support_addr("192.0.2.1:4711"),
        .client = support_addr("198.51.100.7:51234"),
        .choice = { .target = rig->world.listener_config.target_v4.addr,
                    .source = support_addr("198.51.100.7:51234") },
    };
}

static void rig_close(struct rig *rig)
{
    pump_close(&rig->session.up, rig->world.worker.pool);
    free(rig->session.header);
    close(rig->ends[0]);
    close(rig->ends[1]);
    world_close(&rig->world);
}

static void keep_payload(struct session *session, const char *payload)
{
    session->header = (uint8_t *)strdup(payload);
    session->header_len = (uint32_t)strlen(payload);
    assert_non_null(session->header);
}

static void the_target_is_asked_for_in_the_client_s_name(void **state)
{
    char text[ADDR_STRLEN];
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.world.listener_config.mark = 77;
    rig.world.listener_config.preserve_client_port = true;
    assert_int_equal(connect_run(&rig.session, READY_ENTERED), SESSION_CONNECT);
    assert_int_equal(rig.session.target_fd, rig.ends[1]);
    assert_string_equal(addr_format(&answer.asked.source, text), "198.51.100.7:51234");
    assert_string_equal(addr_format(&answer.asked.target, text), "127.0.0.1:22");
    assert_int_equal(answer.asked.mark, 77);
    assert_true(answer.asked.preserve_port);
    assert_false(answer.asked.sends_at_once);
    rig_close(&rig);
}

static void a_target_that_answers_at_once_is_relayed_to_at_once(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    answer.is_connected = true;
    keep_payload(&rig.session, "payload");
    assert_int_equal(connect_run(&rig.session, READY_ENTERED), SESSION_RELAY);
    assert_true(answer.asked.sends_at_once);
    assert_int_equal(rig.session.up.wait, PUMP_READ);
    assert_int_equal(rig.session.down.from, rig.ends[1]);
    /* The state frees nothing: that is the driver's. */
    assert_non_null(rig.session.header);
    assert_int_equal(pump_flush(&rig.session.up, rig.world.worker.pool), PUMP_READ);
    support_wait(rig.ends[0], POLLIN);
    rig_close(&rig);
}

static void a_payload_that_is_sent_tells_that_the_target_is_connected(void **state)
{
    static const struct {
        ssize_t sent_or_error;
        enum session_state next;
        uint64_t n_sent;
        bool has_backlog;
    } cases[] = {
        { 7, SESSION_RELAY, 7, false },
        { 3, SESSION_RELAY, 3, true },
        { -EAGAIN, SESSION_CONNECT, 0, false },
        { -ECONNREFUSED, SESSION_CLOSED, 0, false },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rig rig;

        rig_open(&rig);
        keep_payload(&rig.session, "payload");
        answer.sent_or_error = cases[i].sent_or_error;
        assert_int_equal(connect_run(&rig.session, READY_ENTERED), cases[i].next);
        assert_int_equal(rig.session.up.bytes, cases[i].n_sent);
        assert_int_equal(rig.session.up.backlog != NULL, cases[i].has_backlog);
        assert_int_equal(
            atomic_load(
                &rig.world.listener.counters->counts[COUNT_REFUSED + REASON_TARGET_REFUSED]),
            cases[i].next == SESSION_CLOSED);
        rig_close(&rig);
    }
}

static void a_target_may_take_its_time(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    assert_int_equal(connect_run(&rig.session, READY_ENTERED), SESSION_CONNECT);
    answer.finish_error = -EALREADY;
    assert_int_equal(connect_run(&rig.session, READY_TARGET_WRITE), SESSION_CONNECT);
    answer.finish_error = 0;
    assert_int_equal(connect_run(&rig.session, READY_TARGET_WRITE), SESSION_RELAY);
    assert_true(rig.session.since_us > 0);
    rig_close(&rig);
}

static void a_target_that_is_not_reached_is_counted_by_reason(void **state)
{
    static const struct {
        int connect_error; /* 0: on its way */
        int finish_error;
        unsigned ready;
        enum reason reason;
    } cases[] = {
        { -ECONNREFUSED, 0, 0, REASON_TARGET_REFUSED },
        { 0, -ECONNREFUSED, READY_TARGET_WRITE, REASON_TARGET_REFUSED },
        { 0, -EHOSTUNREACH, READY_TARGET_WRITE, REASON_TARGET_UNREACHABLE },
        { 0, -EALREADY, READY_DEADLINE, REASON_TARGET_TIMEOUT },
        { 0, -EALREADY, READY_DEADLINE | READY_TARGET_WRITE, REASON_TARGET_TIMEOUT },
        { 0, 0, READY_STOP, REASON_NONE },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rig rig;

        rig_open(&rig);
        if (cases[i].connect_error != 0)
            answer.fd_or_error = cases[i].connect_error;
        enum session_state next = connect_run(&rig.session, READY_ENTERED);
        if (cases[i].connect_error == 0) {
            assert_int_equal(next, SESSION_CONNECT);
            answer.finish_error = cases[i].finish_error;
            next = connect_run(&rig.session, cases[i].ready);
        }
        assert_int_equal(next, SESSION_CLOSED);
        assert_false(rig.session.ends_with_fin);
        for (int reason = REASON_NONE + 1; reason < REASONS; reason++)
            assert_int_equal(
                atomic_load(&rig.world.listener.counters->counts[COUNT_REFUSED + reason]),
                reason == (int)cases[i].reason);
        rig_close(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_target_is_asked_for_in_the_client_s_name),
        cmocka_unit_test(a_target_that_answers_at_once_is_relayed_to_at_once),
        cmocka_unit_test(a_payload_that_is_sent_tells_that_the_target_is_connected),
        cmocka_unit_test(a_target_may_take_its_time),
        cmocka_unit_test(a_target_that_is_not_reached_is_counted_by_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
