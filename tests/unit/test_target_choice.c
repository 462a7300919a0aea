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
            listener.target_v4 = support_addr(cases[i].v4);
        if (cases[i].v6)
            listener.target_v6 = support_addr(cases[i].v6);
        if (cases[i].expected.client)
            facts.client = support_addr(cases[i].expected.client);
        check(&listener, "192.0.2.1:2222", &facts, &cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_goes_to_the_target_of_its_family),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
