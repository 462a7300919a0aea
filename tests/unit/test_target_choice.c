/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include "mmproxy/worker/target_choice.h"

struct choice_case {
    const char *client;
    const char *target; /* "-": it is refused */
    const char *source;
    enum reason reason;
};

static void check(const struct listener_config *listener, const char *local,
                  const struct target_facts *facts, const struct choice_case *expected)
{
    const struct addr at = support_addr(local);
    struct target_choice choice;
    char target[ADDR_STRLEN];
    char source[ADDR_STRLEN];

    memset(&choice, 0xff, sizeof choice);
    assert_int_equal(target_choose(listener, &at, facts, &choice), expected->reason);
    assert_string_equal(addr_format(&choice.target, target), expected->target);
    assert_string_equal(addr_format(&choice.source, source), expected->source);
}

static void a_client_goes_to_the_target_of_its_family(void **state)
{
    static const struct {
        const char *v4;
        const char *v6;
        struct choice_case expected;
    } cases[] = {
        { "127.0.0.1:22",
          "[::1]:23",
          { "198.51.100.7:51234", "127.0.0.1:22", "198.51.100.7:51234", REASON_NONE } },
        { "127.0.0.1:22",
          "[::1]:23",
          { "[2001:db8::7]:1", "[::1]:23", "[2001:db8::7]:1", REASON_NONE } },
        { "127.0.0.1:22",
          NULL,
          { "198.51.100.7:1", "127.0.0.1:22", "198.51.100.7:1", REASON_NONE } },
        { "127.0.0.1:22", NULL, { "[2001:db8::7]:1", "-", "-", REASON_NO_TARGET } },
        { NULL, "[::1]:23", { "198.51.100.7:1", "-", "-", REASON_NO_TARGET } },
        { "127.0.0.1:22", "[::1]:23", { NULL, "-", "-", REASON_NO_TARGET } },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct listener_config listener = { 0 };
        struct target_facts facts = { .is_named = true };
        if (cases[i].v4)
            listener.target_v4.addr = support_addr(cases[i].v4);
        if (cases[i].v6)
            listener.target_v6.addr = support_addr(cases[i].v6);
        if (cases[i].expected.client)
            facts.client = support_addr(cases[i].expected.client);
        check(&listener, "192.0.2.1:2222", &facts, &cases[i].expected);
    }
}

/* A listener on two ranges of ten ports, with a target at 127.0.0.1 and one at ::1. */
static struct listener_config listener_with(struct addr_range listen[2], enum target_port port)
{
    struct listener_config listener = { .listen = listen, .n_listen = 2 };

    assert_null(addr_range_parse(&listen[0], "0.0.0.0:2000-2009"));
    assert_null(addr_range_parse(&listen[1], "[::]:3000-3009"));
    assert_null(port_list_parse(&listener.header_ports, "80,8000-8099"));
    listener.target_v4 = (struct target_config){ support_addr("127.0.0.1:4000"), port, 4009 };
    listener.target_v6 = (struct target_config){ support_addr("[::1]:5000"), port, 5009 };
    return listener;
}

static void the_port_follows_the_listener_or_the_header(void **state)
{
    static const struct {
        enum target_port port;
        const char *local;
        uint16_t named; /* by the header; 0: it names nothing */
        struct choice_case expected;
    } cases[] = {
#define V4 "198.51.100.7:51234"
#define V6 "[2001:db8::7]:51234"
        { TARGET_PORT_FIXED, "0.0.0.0:2003", 80, { V4, "127.0.0.1:4000", V4, REASON_NONE } },
        { TARGET_PORT_FIXED, "0.0.0.0:2003", 0, { V4, "127.0.0.1:4000", V4, REASON_NONE } },
        { TARGET_PORT_RANGE, "0.0.0.0:2000", 80, { V4, "127.0.0.1:4000", V4, REASON_NONE } },
        { TARGET_PORT_RANGE, "0.0.0.0:2009", 80, { V4, "127.0.0.1:4009", V4, REASON_NONE } },
        { TARGET_PORT_RANGE, "[::]:3009", 80, { V4, "127.0.0.1:4009", V4, REASON_NONE } },
        { TARGET_PORT_RANGE, "0.0.0.0:2001", 0, { V6, "[::1]:5001", V6, REASON_NONE } },
        { TARGET_PORT_RANGE, "0.0.0.0:2010", 80, { V4, "-", "-", REASON_WRONG_PORT } },
        { TARGET_PORT_RANGE, "0.0.0.0:3000", 80, { V4, "-", "-", REASON_WRONG_PORT } },
        { TARGET_PORT_SAME, "0.0.0.0:2000", 80, { V4, "127.0.0.1:2000", V4, REASON_NONE } },
        { TARGET_PORT_SAME, "[::]:3009", 0, { V6, "[::1]:3009", V6, REASON_NONE } },
        { TARGET_PORT_HEADER, "0.0.0.0:2000", 80, { V4, "127.0.0.1:80", V4, REASON_NONE } },
        { TARGET_PORT_HEADER, "0.0.0.0:2000", 8000, { V4, "127.0.0.1:8000", V4, REASON_NONE } },
        { TARGET_PORT_HEADER, "0.0.0.0:2000", 8099, { V6, "[::1]:8099", V6, REASON_NONE } },
        { TARGET_PORT_HEADER, "0.0.0.0:2000", 8100, { V4, "-", "-", REASON_WRONG_PORT } },
        { TARGET_PORT_HEADER, "0.0.0.0:2000", 7999, { V4, "-", "-", REASON_WRONG_PORT } },
        { TARGET_PORT_HEADER, "0.0.0.0:2000", 22, { V4, "-", "-", REASON_WRONG_PORT } },
        { TARGET_PORT_HEADER, "0.0.0.0:80", 0, { V4, "-", "-", REASON_NO_CLIENT } },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct addr_range listen[2];
        struct listener_config listener = listener_with(listen, cases[i].port);
        struct target_facts facts = { .client = support_addr(cases[i].expected.client),
                                      .is_named = cases[i].named != 0,
                                      .port = cases[i].named };
        check(&listener, cases[i].local, &facts, &cases[i].expected);
    }
}

static void a_header_that_names_port_0_goes_nowhere(void **state)
{
    static const struct choice_case refused = { V4, "-", "-", REASON_WRONG_PORT };
    struct addr_range listen[2];
    struct listener_config listener = listener_with(listen, TARGET_PORT_HEADER);
    struct target_facts facts = { .client = support_addr(V4), .is_named = true };

    (void)state;
    check(&listener, "0.0.0.0:2000", &facts, &refused);
}

static void a_client_without_a_target_of_its_family_is_mapped(void **state)
{
    static const struct choice_case to_v6 = { V4, "[::1]:5000", "[64:ff9b::c633:6407]:51234",
                                              REASON_NONE };
    static const struct choice_case to_v4 = { V6, "127.0.0.1:4000", "254.197.198.148:51234",
                                              REASON_NONE };
    static const struct choice_case own = { V4, "127.0.0.1:4000", V4, REASON_NONE };
    struct addr_range listen[2];
    struct listener_config listener = listener_with(listen, TARGET_PORT_FIXED);
    struct listener_config both = listener;
    const struct target_facts v4 = { .client = support_addr(V4), .is_named = true };
    const struct target_facts v6 = { .client = support_addr(V6), .is_named = true };
    const char *reason;

    (void)state;
    assert_int_equal(prefix_parse(&both.map_v4, "64:ff9b::/96", &reason), PREFIX_OK);
    assert_int_equal(prefix_parse(&both.map_v6, "240.0.0.0/4", &reason), PREFIX_OK);
    check(&both, "0.0.0.0:2000", &v4, &own);
    listener = both;
    listener.target_v4.addr = (struct addr){ 0 };
    check(&listener, "0.0.0.0:2000", &v4, &to_v6);
    listener = both;
    listener.target_v6.addr = (struct addr){ 0 };
    check(&listener, "0.0.0.0:2000", &v6, &to_v4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_goes_to_the_target_of_its_family),
        cmocka_unit_test(the_port_follows_the_listener_or_the_header),
        cmocka_unit_test(a_header_that_names_port_0_goes_nowhere),
        cmocka_unit_test(a_client_without_a_target_of_its_family_is_mapped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
