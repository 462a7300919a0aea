/* SPDX-License-Identifier: BSD-2-Clause */
/* direct_subnets: who sends no header, and what is wrong with it. */
#include "config_check.h"

static struct reported reported;

#define DIRECT(ALLOWED, DIRECT)                                                            \
    "listeners = ( { name = \"a\"; listen = \"0.0.0.0:1\"; target_v4 = \"127.0.0.1:2\";\n" \
    "allowed_subnets = " ALLOWED ";\ndirect_subnets = " DIRECT ";\n} );"

static bool is_direct(const struct config *config, const char *text)
{
    struct addr addr;

    assert_null(addr_parse_host(&addr, text));
    return subnets_contain(config->listeners[0].direct, &addr);
}

static void of_two_prefixes_the_longer_one_decides(void **state)
{
    struct config *config = load_good(
        DIRECT("[ \"10.0.0.7\", \"192.0.2.0/24\" ]", "[ \"10.0.0.0/8\", \"192.0.2.9\" ]"));

    (void)state;
    assert_true(is_direct(config, "10.0.0.6"));
    assert_false(is_direct(config, "10.0.0.7"));
    assert_true(is_direct(config, "192.0.2.9"));
    assert_false(is_direct(config, "192.0.2.8"));
    assert_false(is_direct(config, "198.51.100.1"));
    config_free(config);
}

static void it_may_be_a_file_or_stand_in_defaults(void **state)
{
    struct config *config;

    (void)state;
    write_file("lan.subnets", "10.0.0.0/8 # the LAN\n");
    config = load_good(DIRECT("[ \"10.0.0.7\" ]", "\"lan.subnets\""));
    assert_true(is_direct(config, "10.0.0.6"));
    assert_false(is_direct(config, "10.0.0.7"));
    config_free(config);
    config = load_good("defaults: { allowed_subnets = [ \"10.0.0.7\" ]; direct_subnets = "
                       "\"lan.subnets\"; };\nlisteners = ( { name = \"a\"; listen = \"0.0.0.0:1\"; "
                       "target_v4 = \"127.0.0.1:9\" }, { name = \"b\"; listen = \"0.0.0.0:2\"; "
                       "target_v4 = \"127.0.0.1:9\" }, { name = \"c\"; listen = \"0.0.0.0:3\"; "
                       "target_v4 = \"127.0.0.1:9\"; direct_subnets = [ ] } );");
    assert_true(is_direct(config, "10.0.0.6"));
    assert_ptr_equal(config->listeners[0].direct, config->listeners[1].direct);
    assert_null(config->listeners[2].direct);
    config_free(config);
}

static void without_it_or_with_nothing_in_it_nobody_is_direct(void **state)
{
    struct config *config = load_good(DIRECT("[ \"10.0.0.7\" ]", "[ ]"));

    (void)state;
    assert_null(config->listeners[0].direct);
    config_free(config);
    write_file("a.subnets", "10.0.0.0/8\n");
    config = load_good(ONE(""));
    assert_null(config->listeners[0].direct);
    config_free(config);
}

static void the_same_subnet_in_both_is_reported_at_both_places(void **state)
{
    static const struct mistake_case cases[] = {
        { "two arrays", DIRECT("[ \"10.0.0.7\",\n\"10.0.0.0/24\" ]", "[\n\"10.0.0.0/24\" ]"),
          "t.conf:3: 10.0.0.0/24 is in \"direct_subnets\" too (t.conf:5): does such a peer send a "
          "header?\n"
          "t.conf:5: 10.0.0.0/24 is in \"allowed_subnets\" too (t.conf:3): does such a peer send a "
          "header?\n" },
        { "two files", DIRECT("\"lb.subnets\"", "\"lan.subnets\""),
          "lb.subnets:2: 2001:db8::/32 is in \"direct_subnets\" too (lan.subnets:3): does such a "
          "peer send a header?\n"
          "lan.subnets:3: 2001:db8::/32 is in \"allowed_subnets\" too (lb.subnets:2): does such a "
          "peer send a header?\n" },
        { "a file and an array, written differently",
          DIRECT("\"lb.subnets\"", "[ \"::ffff:192.0.2.1\" ]"),
          "lb.subnets:1: 192.0.2.1/32 is in \"direct_subnets\" too (t.conf:3): does such a peer "
          "send a header?\n"
          "t.conf:3: 192.0.2.1/32 is in \"allowed_subnets\" too (lb.subnets:1): does such a peer "
          "send a header?\n" },
        { "once for all listeners that share both",
          "defaults: {\nallowed_subnets = [ \"10.0.0.7\" ];\ndirect_subnets = [ \"10.0.0.7\" ]; "
          "};\n"
          "listeners = ( { name = \"a\"; listen = \"0.0.0.0:1\"; target_v4 = \"127.0.0.1:2\" } );",
          "t.conf:2: 10.0.0.7/32 is in \"direct_subnets\" too (t.conf:3): does such a peer send a "
          "header?\n"
          "t.conf:3: 10.0.0.7/32 is in \"allowed_subnets\" too (t.conf:2): does such a peer send a "
          "header?\n" },
    };

    (void)state;
    write_file("lb.subnets", "192.0.2.1\n2001:db8::/32\n");
    write_file("lan.subnets", "\n10.0.0.0/8\n2001:db8::/32\n");
    CHECK_MISTAKES(cases);
}

static void behind_twenty_subnets_in_both_the_rest_is_counted(void **state)
{
    char text[4096] = "";

    (void)state;
    for (unsigned i = 0; i < 30; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "10.0.0.%u\n", i);
    write_file("lb.subnets", text);
    assert_null(load_text(DIRECT("\"lb.subnets\"", "\"lb.subnets\""), &reported));
    assert_non_null(strstr(reported.lines, "lb.subnets:20: "));
    assert_null(strstr(reported.lines, "lb.subnets:21: "));
    assert_non_null(strstr(reported.lines, "t.conf:3: and 10 more subnets are in both "
                                           "\"allowed_subnets\" and \"direct_subnets\"\n"));
}

static void its_other_mistakes_are_those_of_allowed_subnets(void **state)
{
    static const struct mistake_case cases[] = {
        { "a bad length", DIRECT("[ \"10.0.0.7\" ]", "[ \"10.0.0.0/33\" ]"),
          "t.conf:3: \"10.0.0.0/33\": prefix length is not a number from 0 to 32\n" },
        { "a bad line", DIRECT("[ \"10.0.0.7\" ]", "\"bad.subnets\""),
          "bad.subnets:2: \"foo\": not an IPv4 or IPv6 address\n" },
        { "no such file", DIRECT("[ \"10.0.0.7\" ]", "\"none\""),
          "t.conf:3: cannot read none: No such file or directory\n" },
        { "empty", DIRECT("[ \"10.0.0.7\" ]", "\"\""),
          "t.conf:3: \"direct_subnets\" must be the path of a file, not empty\n" },
        { "a number", DIRECT("[ \"10.0.0.7\" ]", "7"),
          "t.conf:3: \"direct_subnets\" must be the path of a file or an array of subnets, not a "
          "number\n" },
        { "it does not replace allowed_subnets",
          "listeners = ( { name = \"a\"; listen = \"0.0.0.0:1\"; target_v4 = \"127.0.0.1:2\";\n"
          "direct_subnets = [ \"10.0.0.0/8\" ] } );",
          "t.conf:1: this listener needs the key \"allowed_subnets\"\n" },
    };

    (void)state;
    write_file("bad.subnets", "10.0.0.0/8\nfoo\n");
    CHECK_MISTAKES(cases);
}

static void a_direct_subnet_that_takes_everybody_is_warned_of(void **state)
{
    struct config *config =
        load_text(DIRECT("[ \"10.0.0.7\" ]", "[ \"0.0.0.0/0\",\n\"10.1.0.0/8\" ]"), &reported);

    (void)state;
    assert_string_equal(reported.lines,
                        "W t.conf:3: \"0.0.0.0/0\" lets every IPv4 address connect without a "
                        "header\n"
                        "W t.conf:4: \"10.1.0.0/8\" has host bits set: taken as 10.0.0.0/8\n");
    assert_true(is_direct(config, "198.51.100.1"));
    assert_false(is_direct(config, "10.0.0.7"));
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_two_prefixes_the_longer_one_decides),
        cmocka_unit_test(it_may_be_a_file_or_stand_in_defaults),
        cmocka_unit_test(without_it_or_with_nothing_in_it_nobody_is_direct),
        cmocka_unit_test(the_same_subnet_in_both_is_reported_at_both_places),
        cmocka_unit_test(behind_twenty_subnets_in_both_the_rest_is_counted),
        cmocka_unit_test(its_other_mistakes_are_those_of_allowed_subnets),
        cmocka_unit_test(a_direct_subnet_that_takes_everybody_is_warned_of),
    };

    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
