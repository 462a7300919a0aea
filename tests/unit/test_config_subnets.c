/* SPDX-License-Identifier: BSD-2-Clause */
/* allowed_subnets: files and arrays of subnets. */
#include "config_check.h"

static struct reported reported;

static struct config *load_subnets(const char *bytes, size_t len)
{
    write_bytes("a.subnets", bytes, len);
    write_file("t.conf", ONE(""));
    return load("t.conf", &reported);
}

#define LOAD_SUBNETS(bytes) load_subnets(bytes, sizeof(bytes) - 1)

static bool is_allowed(const struct config *config, const char *host)
{
    struct addr addr;

    assert_null(addr_parse_host(&addr, host));
    return subnets_contain(config->listeners[0].allowed, &addr);
}

static void a_subnets_file_may_have_comments_blanks_and_dos_line_ends(void **state)
{
    struct config *config = LOAD_SUBNETS("\xef\xbb\xbf# first\r\n10.0.0.0/8\r\n\t192.0.2.1 \t\r\n\n"
                                         "; 192.0.2.2\n2001:db8::/32 # behind\n"
                                         "198.51.100.0/24;behind, directly\n"
                                         "::ffff:203.0.113.0/120");

    (void)state;
    assert_string_equal(reported.lines, "");
    assert_non_null(config);
    assert_true(is_allowed(config, "10.255.255.255"));
    assert_true(is_allowed(config, "192.0.2.1"));
    assert_false(is_allowed(config, "192.0.2.2"));
    assert_true(is_allowed(config, "2001:db8:ffff::1"));
    assert_true(is_allowed(config, "198.51.100.255"));
    assert_true(is_allowed(config, "203.0.113.77"));
    assert_int_equal(subnets_count(config->listeners[0].allowed), 5);
    config_free(config);
}

static void a_subnets_file_with_host_bits_is_masked_with_a_warning(void **state)
{
    struct config *config = LOAD_SUBNETS("10.1.2.3/8\n\n2001:db8::1/64 # x\n");

    (void)state;
    assert_string_equal(reported.lines,
                        "W a.subnets:1: \"10.1.2.3/8\" has host bits set: taken as 10.0.0.0/8\n"
                        "W a.subnets:3: \"2001:db8::1/64\" has host bits set: taken as "
                        "2001:db8::/64\n");
    assert_non_null(config);
    assert_true(is_allowed(config, "10.200.0.1"));
    config_free(config);
}

static void a_subnets_file_without_an_entry_admits_no_host(void **state)
{
    static const char *const texts[] = { "", "# nobody\n\n", "\xef\xbb\xbf" };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct config *config = load_subnets(texts[i], strlen(texts[i]));

        assert_string_equal(
            reported.lines,
            "W a.subnets:1: no subnet is in this file, so no load balancer may connect\n");
        assert_non_null(config);
        assert_int_equal(subnets_count(config->listeners[0].allowed), 0);
        config_free(config);
    }
}

static void every_bad_line_of_a_subnets_file_is_reported(void **state)
{
    char longest[400];
    char text[1024];
    int n;

    (void)state;
    assert_null(LOAD_SUBNETS("10.0.0.0/8\n10.0.0/8\n10.0.0.0/33 # c\nfoo\n10.0.0.0/8 10.1.0.0/16\n"
                             "2001:db8::/129\n10.0.0.0/\n10.0.\0.1\n300.1.1.1\n[::1]\n"));
    assert_string_equal(reported.lines,
                        "a.subnets:2: \"10.0.0/8\": not an IPv4 or IPv6 address\n"
                        "a.subnets:3: \"10.0.0.0/33\": prefix length is not a number from 0 to 32\n"
                        "a.subnets:4: \"foo\": not an IPv4 or IPv6 address\n"
                        "a.subnets:5: \"10.0.0.0/8 10.1.0.0/16\": more than one ADDR or ADDR/LEN "
                        "on the line\n"
                        "a.subnets:6: \"2001:db8::/129\": prefix length is not a number from 0 to "
                        "128\n"
                        "a.subnets:7: \"10.0.0.0/\": prefix length is not a number from 0 to 32\n"
                        "a.subnets:8: \"10.0.\": there is a NUL byte in the line\n"
                        "a.subnets:9: \"300.1.1.1\": not an IPv4 or IPv6 address\n"
                        "a.subnets:10: \"[::1]\": not an IPv4 or IPv6 address\n");

    memset(longest, '1', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    n = snprintf(text, sizeof(text), "%s\n# %s\n", longest, longest);
    assert_null(load_subnets(text, (size_t)n));
    snprintf(text, sizeof(text), "a.subnets:1: \"%.60s\": the entry is too long\n", longest);
    assert_string_equal(reported.lines, text);
}

static void behind_twenty_bad_lines_the_rest_is_counted(void **state)
{
    char *text = repeat("x\n", 50, "10.0.0.1/8\n");

    (void)state;
    assert_null(load_subnets(text, strlen(text)));
    free(text);
    assert_string_equal(strstr(reported.lines, "a.subnets:20: "),
                        "a.subnets:20: \"x\": not an IPv4 or IPv6 address\n"
                        "W a.subnets:51: \"10.0.0.1/8\" has host bits set: taken as 10.0.0.0/8\n"
                        "a.subnets:21: and 30 more bad lines from here on\n");
}

#define INLINE(ARRAY)                                                                      \
    "listeners = ( { name = \"a\"; listen = \"0.0.0.0:1\"; target_v4 = \"127.0.0.1:2\";\n" \
    "allowed_subnets = " ARRAY " } );"

static void subnets_may_stand_in_the_configuration_itself(void **state)
{
    struct config *config = load_good(
        INLINE("[ \"192.0.2.10\", # comment\n\"2001:db8::/32\", \"::ffff:10.0.0.0/104\" ]"));

    (void)state;
    assert_true(is_allowed(config, "192.0.2.10"));
    assert_false(is_allowed(config, "192.0.2.11"));
    assert_true(is_allowed(config, "2001:db8:ffff::1"));
    assert_true(is_allowed(config, "10.255.0.1"));
    config_free(config);
    /* A list is as good as an array, and defaults are shared. */
    config = load_good("defaults: { allowed_subnets = ( \"192.0.2.10\" ); };\n"
                       "listeners = ( { name = \"a\"; listen = \"0.0.0.0:1\"; target_v4 = "
                       "\"127.0.0.1:2\" }, { name = \"b\"; listen = \"0.0.0.0:3\"; target_v4 = "
                       "\"127.0.0.1:2\" }, { name = \"c\"; listen = \"0.0.0.0:4\"; target_v4 = "
                       "\"127.0.0.1:2\"; allowed_subnets = [ \"192.0.2.9\" ] } );");
    assert_int_equal(config->n_subnets, 2);
    assert_ptr_equal(config->listeners[0].allowed, config->listeners[1].allowed);
    assert_ptr_not_equal(config->listeners[0].allowed, config->listeners[2].allowed);
    config_free(config);
}

static void subnets_in_defaults_that_no_listener_has_are_checked_too(void **state)
{
    static const struct mistake_case cases[] = {
        { "an array", "defaults: {\n allowed_subnets = [ \"x\" ] };\nlisteners = ( );",
          "t.conf:2: \"x\": not an IPv4 or IPv6 address\n" },
        { "a file", "defaults: {\n allowed_subnets = \"no.subnets\" };",
          "t.conf:2: cannot read no.subnets: No such file or directory\n" },
        { "once, for all that have them",
          "defaults: {\n allowed_subnets = [ \"x\" ] };\nlisteners = ( { name = \"a\"; listen = "
          "\"0.0.0.0:1\"; target_v4 = \"127.0.0.1:2\" } );",
          "t.conf:2: \"x\": not an IPv4 or IPv6 address\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

static void mistakes_in_an_array_of_subnets_have_their_own_line(void **state)
{
    static const struct mistake_case cases[] = {
        { "each element",
          INLINE("[ \"10.0.0.0/33\",\n\n \"foo\"\n , \"10.0.0.0/8 10.1.0.0/16\",\n\"\" ]"),
          "t.conf:2: \"10.0.0.0/33\": prefix length is not a number from 0 to 32\n"
          "t.conf:4: \"foo\": not an IPv4 or IPv6 address\n"
          "t.conf:5: \"10.0.0.0/8 10.1.0.0/16\": more than one ADDR or ADDR/LEN on the line\n"
          "t.conf:6: \"\": not an IPv4 or IPv6 address\n" },
        { "a list", INLINE("( \"10.0.0.0/33\"\n,\n \"foo\"\n\n )"),
          "t.conf:2: \"10.0.0.0/33\": prefix length is not a number from 0 to 32\n"
          "t.conf:4: \"foo\": not an IPv4 or IPv6 address\n" },
        { "numbers", INLINE("[ 10,\n 11 ]"),
          "t.conf:2: a subnet must be a string \"ADDR\" or \"ADDR/LEN\", not a number\n"
          "t.conf:3: a subnet must be a string \"ADDR\" or \"ADDR/LEN\", not a number\n" },
        { "a group", INLINE("{ }"),
          "t.conf:2: \"allowed_subnets\" must be the path of a file or an array of subnets, not a "
          "group { }\n" },
    };
    struct config *config;

    (void)state;
    CHECK_MISTAKES(cases);
    config = load_text(INLINE("[ \"192.0.2.1\",\n\"192.0.2.1/24\" ]"), &reported);
    assert_string_equal(reported.lines,
                        "W t.conf:3: \"192.0.2.1/24\" has host bits set: taken as 192.0.2.0/24\n");
    assert_non_null(config);
    assert_true(is_allowed(config, "192.0.2.200"));
    config_free(config);
    config = load_text(INLINE("[ ]"), &reported);
    assert_string_equal(
        reported.lines,
        "W t.conf:2: no subnet is in this array, so no load balancer may connect\n");
    assert_non_null(config);
    assert_int_equal(subnets_count(config->listeners[0].allowed), 0);
    config_free(config);
}

static void a_subnet_that_admits_every_host_is_warned_of(void **state)
{
    struct config *config = LOAD_SUBNETS("# all\n0.0.0.0/0\n::/0 # too\n");

    (void)state;
    assert_string_equal(reported.lines,
                        "W a.subnets:2: \"0.0.0.0/0\" lets every IPv4 address connect and name any "
                        "client\n"
                        "W a.subnets:3: \"::/0\" lets every IPv6 address connect and name any "
                        "client\n");
    assert_non_null(config);
    config_free(config);
    config = load_text(INLINE("[\n \"0.0.0.0/0\" ]"), &reported);
    assert_string_equal(reported.lines,
                        "W t.conf:3: \"0.0.0.0/0\" lets every IPv4 address connect and name any "
                        "client\n");
    config_free(config);
}

static void listeners_with_one_subnets_file_share_what_it_says(void **state)
{
    struct config *config;

    (void)state;
    write_file("a.subnets", "10.0.0.1/8\n");
    write_file("c.subnets", "10.0.0.0/8\n");
    config = load_text(
        "listeners = (\n" LISTENER(
            "b", "0.0.0.0:1", "127.0.0.1:9",
            "") ",\n"
                "{ name = \"c\"; listen = \"0.0.0.0:2\"; allowed_subnets = \"c.subnets\"; "
                "target_v4 = \"127.0.0.1:9\" },\n" LISTENER("a", "0.0.0.0:3", "127.0.0.1:9",
                                                            "") ");",
        &reported);
    /* Read once, warned about once. */
    assert_string_equal(reported.lines,
                        "W a.subnets:1: \"10.0.0.1/8\" has host bits set: taken as 10.0.0.0/8\n");
    assert_non_null(config);
    assert_ptr_equal(config->listeners[0].allowed, config->listeners[2].allowed);
    assert_ptr_not_equal(config->listeners[0].allowed, config->listeners[1].allowed);
    assert_int_equal(config->n_subnets, 2);
    config_free(config);
}

static void load_many_subnets(unsigned n)
{
    FILE *file = fopen("a.subnets", "we");
    struct config *config;

    assert_non_null(file);
    for (unsigned i = 0; i < n; i++)
        fprintf(file, "%u.%u.%u.0/25\n", i % 223 + 1, i / 256 % 256, i % 256);
    fclose(file);
    config = load("t.conf", &reported);
    assert_non_null(config);
    config_free(config);
}

static void a_subnets_file_of_100000_lines_costs_no_more_than_their_number(void **state)
{
    (void)state;
    write_file("t.conf", ONE(""));
    support_assert_linear(load_many_subnets, 100000 / 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subnets_file_may_have_comments_blanks_and_dos_line_ends),
        cmocka_unit_test(a_subnets_file_with_host_bits_is_masked_with_a_warning),
        cmocka_unit_test(a_subnets_file_without_an_entry_admits_no_host),
        cmocka_unit_test(every_bad_line_of_a_subnets_file_is_reported),
        cmocka_unit_test(behind_twenty_bad_lines_the_rest_is_counted),
        cmocka_unit_test(subnets_may_stand_in_the_configuration_itself),
        cmocka_unit_test(subnets_in_defaults_that_no_listener_has_are_checked_too),
        cmocka_unit_test(mistakes_in_an_array_of_subnets_have_their_own_line),
        cmocka_unit_test(a_subnet_that_admits_every_host_is_warned_of),
        cmocka_unit_test(listeners_with_one_subnets_file_share_what_it_says),
        cmocka_unit_test(a_subnets_file_of_100000_lines_costs_no_more_than_their_number),
    };

    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
