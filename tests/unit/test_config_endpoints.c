/* SPDX-License-Identifier: BSD-2-Clause */
/* endpoints: which VPC endpoints may use a listener. */
#include "config_check.h"

static bool may(const struct config *config, size_t listener, const char *id)
{
    return endpoints_contain(config->listeners[listener].endpoints, id, strlen(id));
}

static void only_the_ids_in_the_list_are_in_it(void **state)
{
    struct config *config;

    (void)state;
    write_file("a.subnets", "10.0.0.0/8\n");
    config = load_good(ONE("endpoints = [ \"vpce-0a1b\", \"vpce-2\" ];"));
    assert_true(may(config, 0, "vpce-0a1b"));
    assert_true(may(config, 0, "vpce-2"));
    assert_false(may(config, 0, "vpce-0a1"));
    assert_false(may(config, 0, "vpce-0a1bc"));
    assert_false(may(config, 0, "VPCE-2"));
    assert_false(may(config, 0, ""));
    assert_false(endpoints_contain(config->listeners[0].endpoints, "vpce-0a1b\0vpce-2", 16));
    config_free(config);
    config = load_good(ONE(""));
    assert_null(config->listeners[0].endpoints);
    config_free(config);
}

static void a_listener_may_have_those_of_defaults_or_its_own(void **state)
{
    struct config *config;

    (void)state;
    config = load_good("defaults: { endpoints = ( \"vpce-1\" ); };\nlisteners = (\n" LISTENER(
        "a", "0.0.0.0:1", "127.0.0.1:9", "") ",\n" LISTENER("b", "0.0.0.0:2", "127.0.0.1:9",
                                                            "endpoints = [ \"vpce-2\" ];") ");");
    assert_true(may(config, 0, "vpce-1"));
    assert_false(may(config, 1, "vpce-1"));
    assert_true(may(config, 1, "vpce-2"));
    config_free(config);
}

static void its_mistakes_have_their_line(void **state)
{
    static const struct mistake_case cases[] = {
        { "a string", ONE("\nendpoints = \"vpce-1\";"),
          "t.conf:3: \"endpoints\" must be an array of ids, not a string\n" },
        { "none", ONE("\nendpoints = [ ];"),
          "t.conf:3: \"endpoints\" must have 1 to 1024 ids, not 0\n" },
        { "numbers", ONE("\nendpoints = [ 1,\n2 ];"),
          "t.conf:3: an endpoint must be a string \"vpce-...\", not a number\n"
          "t.conf:4: an endpoint must be a string \"vpce-...\", not a number\n" },
        { "empty, and a blank", ONE("\nendpoints = [ \"\",\n\"a b\" ];"),
          "t.conf:3: an endpoint must be 1 to 64 characters of A-Z a-z 0-9 _ . -, not \"\"\n"
          "t.conf:4: an endpoint must be 1 to 64 characters of A-Z a-z 0-9 _ . -, not \"a b\"\n" },
        { "in defaults, once", "defaults: {\nendpoints = [ 1 ]; };\n" ONE(""),
          "t.conf:2: an endpoint must be a string \"vpce-...\", not a number\n" },
        { "spp", ONE("protocol = \"udp\"; udp_header = \"spp\";\nendpoints = [ \"vpce-1\" ];"),
          "t.conf:3: \"endpoints\" can't go with udp_header \"spp\": its headers name none\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_ids_in_the_list_are_in_it),
        cmocka_unit_test(a_listener_may_have_those_of_defaults_or_its_own),
        cmocka_unit_test(its_mistakes_have_their_line),
    };

    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
