/* SPDX-License-Identifier: BSD-2-Clause */
/* header: the state HEADER, from a peer's bytes to the client and what is behind the header. */
#include "session_support.h"

#define V1        "PROXY TCP4 198.51.100.7 203.0.113.80 51234 443\r\n"
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2_LOCAL  SIGNATURE "\x20\x00\x00\x00"

struct rig {
    struct world world;
    struct session session;
    int peer; /* the load balancer's end */
};

static void rig_open(struct rig *rig)
{
    int ends[2];

    world_open(&rig->world);
    support_tcp_pair(ends, 0);
    rig->peer = ends[0];
    rig->session = (struct session){
        .listener = &rig->world.listener,
        .state = SESSION_HEADER,
        .peer_fd = ends[1],
        .target_fd = -1,
        .peer = support_addr("192.0.2.1:4711"),
    };
    assert_int_equal(admission_enter(&rig->world.listener.admission, &rig->session.admitted,
                                     &rig->session.peer, 1),
                     REASON_NONE);
}

static void rig_close(struct rig *rig)
{
    admission_leave(&rig->world.listener.admission, &rig->session.admitted);
    free(rig->session.header);
    close(rig->session.peer_fd);
    if (rig->peer >= 0)
        close(rig->peer);
    world_close(&rig->world);
}

/* Bytes of the peer, and what the state comes to then. */
static enum session_state rig_give(struct rig *rig, const char *bytes, size_t len)
{
    assert_int_equal(send(rig->peer, bytes, len, MSG_NOSIGNAL), len);
    support_wait(rig->session.peer_fd, POLLIN);
    return header_run(&rig->session, READY_PEER_READ);
}

static uint64_t refused(const struct rig *rig, enum reason reason)
{
    return atomic_load(&rig->world.listener.counters->counts[COUNT_REFUSED + reason]);
}

/* Refusals for any reason: each connection has one at most. */
static uint64_t all_refused(const struct rig *rig)
{
    uint64_t n = 0;

    for (int reason = 0; reason < REASONS; reason++)
        n += refused(rig, (enum reason)reason);
    return n;
}

static void assert_client(const struct rig *rig, const char *client)
{
    char text[ADDR_STRLEN];

    assert_string_equal(addr_format(&rig->session.client, text), client);
}

static void a_header_in_one_piece_names_the_client(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    assert_int_equal(header_run(&rig.session, READY_ENTERED), SESSION_HEADER);
    assert_int_equal(rig_give(&rig, V1, strlen(V1)), SESSION_CONNECT);
    assert_client(&rig, "198.51.100.7:51234");
    assert_null(rig.session.header);
    rig_close(&rig);
}

static void a_header_may_come_byte_by_byte(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    for (size_t i = 0; i < strlen(V1) - 1; i++)
        assert_int_equal(rig_give(&rig, &V1[i], 1), SESSION_HEADER);
    assert_int_equal(rig_give(&rig, "\n", 1), SESSION_CONNECT);
    assert_client(&rig, "198.51.100.7:51234");
    assert_int_equal(rig.session.header_len, 0);
    rig_close(&rig);
}

static void what_is_behind_the_header_waits_for_the_target(void **state)
{
    static const size_t first[] = { sizeof V1 - 1 + 7, 10, sizeof V1 - 1 };

    (void)state;
    for (size_t i = 0; i < COUNT(first); i++) {
        struct rig rig;

        rig_open(&rig);
        if (first[i] < strlen(V1))
            assert_int_equal(rig_give(&rig, V1, first[i]), SESSION_HEADER);
        size_t begun = first[i] < strlen(V1) ? first[i] : 0;
        size_t len = first[i] == strlen(V1) ? first[i] : strlen(V1) + 7;
        assert_int_equal(rig_give(&rig, &(V1 "payload")[begun], len - begun), SESSION_CONNECT);
        assert_int_equal(rig.session.header_len, len - strlen(V1));
        assert_int_equal(rig.session.proxy_len, strlen(V1));
        if (rig.session.header_len > 0)
            assert_memory_equal(rig.session.header, "payload", 7);
        rig_close(&rig);
    }
}

/* A header of 60,000 bytes in pieces: memory follows what has come. */
static void a_long_header_takes_as_much_memory_as_has_arrived(void **state)
{
    static char header[16 + 60000] = SIGNATURE "\x21\x11\xea\x60\xc6\x33\x64\x07\xcb\x00\x71\x50"
                                               "\xc8\x22\x01\xbb\x04\xea\x51";
    enum session_state next = SESSION_HEADER;
    struct rig rig;

    (void)state;
    rig_open(&rig);
    for (size_t given = 0; given < sizeof header; given += 1000) {
        size_t len = sizeof header - given < 1000 ? sizeof header - given : 1000;

        assert_int_equal(next, SESSION_HEADER);
        next = rig_give(&rig, &header[given], len);
        if (next == SESSION_HEADER)
            assert_true(rig.session.header_size <= 2 * (given + len) + 256);
    }
    assert_int_equal(next, SESSION_CONNECT);
    assert_client(&rig, "198.51.100.7:51234");
    rig_close(&rig);
}

static void a_local_header_means_the_peer_itself(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        { "PROXY UNKNOWN\r\n", 15 },
        { SIGNATURE "\x20\x00\x00\x00", 16 },
        { SIGNATURE "\x20\x11\x00\x00", 16 }, /* a family but no addresses: AWS */
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rig rig;

        rig_open(&rig);
        assert_int_equal(rig_give(&rig, cases[i].bytes, cases[i].len), SESSION_CONNECT);
        assert_client(&rig, "192.0.2.1:4711");
        assert_true(rig.session.is_health_check);
        assert_int_equal(atomic_load(&rig.world.listener.counters->counts[COUNT_HEALTH_CHECKS]), 1);
        rig_close(&rig);
    }
}

static void what_is_no_header_is_counted_and_closed_with_a_reset(void **state)
{
    static const struct {
        const char *bytes;
        bool ends;
    } cases[] = {
        { "GET / HTTP/1.1\r\n\r\n", false },
        { "PROXY TCP4 198.51.100.7 203.0.113.80 51234\r\n", false },
        { "PROXY TC", true },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rig rig;

        rig_open(&rig);
        enum session_state next = rig_give(&rig, cases[i].bytes, strlen(cases[i].bytes));
        if (cases[i].ends) {
            assert_int_equal(next, SESSION_HEADER);
            assert_return_code(shutdown(rig.peer, SHUT_WR), errno);
            support_wait(rig.session.peer_fd, POLLRDHUP);
            next = header_run(&rig.session, READY_PEER_READ);
        }
        assert_int_equal(next, SESSION_CLOSED);
        assert_false(rig.session.ends_with_fin);
        assert_int_equal(refused(&rig, REASON_BAD_HEADER), 1);
        rig_close(&rig);
    }
}

static void a_connection_without_a_byte_is_a_health_check(void **state)
{
    (void)state;
    for (int is_reset = 0; is_reset < 2; is_reset++) {
        struct rig rig;

        rig_open(&rig);
        if (is_reset)
            support_reset(rig.peer);
        else
            close(rig.peer);
        rig.peer = -1;
        support_wait(rig.session.peer_fd, POLLRDHUP);
        assert_int_equal(header_run(&rig.session, READY_PEER_READ), SESSION_CLOSED);
        assert_int_equal(atomic_load(&rig.world.listener.counters->counts[COUNT_HEALTH_CHECKS]), 1);
        assert_int_equal(refused(&rig, REASON_BAD_HEADER), 0);
        rig_close(&rig);
    }
}

static void a_reset_within_the_header_is_no_regular_end(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    assert_int_equal(rig_give(&rig, "PROXY", 5), SESSION_HEADER);
    support_reset(rig.peer);
    rig.peer = -1;
    support_wait(rig.session.peer_fd, POLLHUP);
    assert_int_equal(header_run(&rig.session, READY_PEER_READ), SESSION_CLOSED);
    assert_false(rig.session.ends_with_fin);
    assert_int_equal(refused(&rig, REASON_BAD_HEADER), 1);
    rig_close(&rig);
}

static void clients_that_can_t_be_served_are_refused_and_counted_by_reason(void **state)
{
    static const struct {
        const char *header;
        enum reason reason;
        enum reason reason_with_local_clients;
    } cases[] = {
        { "PROXY TCP4 127.0.0.1 203.0.113.80 51234 443\r\n", REASON_LOCAL_CLIENT, REASON_NONE },
        { "PROXY TCP4 0.0.0.0 203.0.113.80 51234 443\r\n", REASON_LOCAL_CLIENT, REASON_NONE },
        { "PROXY TCP6 2001:db8::7 2001:db8::80 51234 443\r\n", REASON_NO_TARGET, REASON_NO_TARGET },
        { "PROXY TCP6 fe80::1 2001:db8::80 51234 443\r\n", REASON_IMPOSSIBLE_CLIENT,
          REASON_IMPOSSIBLE_CLIENT },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int allow = 0; allow < 2; allow++) {
            enum reason reason = allow ? cases[i].reason_with_local_clients : cases[i].reason;
            struct rig rig;

            rig_open(&rig);
            rig.world.listener_config.allow_local_clients = allow;
            assert_int_equal(rig_give(&rig, cases[i].header, strlen(cases[i].header)),
                             reason == REASON_NONE ? SESSION_CONNECT : SESSION_CLOSED);
            assert_int_equal(all_refused(&rig), reason != REASON_NONE);
            assert_int_equal(refused(&rig, reason), reason != REASON_NONE);
            assert_false(rig.session.ends_with_fin);
            rig_close(&rig);
        }
    }
}

static void what_ends_the_state_from_outside_is_counted_by_reason(void **state)
{
    static const struct {
        unsigned ready;
        enum reason reason;
    } cases[] = {
        { READY_DEADLINE, REASON_TIMEOUT },
        { READY_OLDEST, REASON_MAX_PENDING },
        { READY_REFUSED, REASON_NO_RESOURCES },
        { READY_STOP, REASON_NONE },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rig rig;

        rig_open(&rig);
        assert_int_equal(rig_give(&rig, "PROXY", 5), SESSION_HEADER);
        assert_int_equal(header_run(&rig.session, cases[i].ready), SESSION_CLOSED);
        assert_false(rig.session.ends_with_fin);
        assert_int_equal(all_refused(&rig), cases[i].reason != REASON_NONE);
        assert_int_equal(refused(&rig, cases[i].reason), cases[i].reason != REASON_NONE);
        rig_close(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_in_one_piece_names_the_client),
        cmocka_unit_test(a_header_may_come_byte_by_byte),
        cmocka_unit_test(what_is_behind_the_header_waits_for_the_target),
        cmocka_unit_test(a_long_header_takes_as_much_memory_as_has_arrived),
        cmocka_unit_test(a_local_header_means_the_peer_itself),
        cmocka_unit_test(what_is_no_header_is_counted_and_closed_with_a_reset),
        cmocka_unit_test(a_connection_without_a_byte_is_a_health_check),
        cmocka_unit_test(a_reset_within_the_header_is_no_regular_end),
        cmocka_unit_test(clients_that_can_t_be_served_are_refused_and_counted_by_reason),
        cmocka_unit_test(what_ends_the_state_from_outside_is_counted_by_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
