/* SPDX-License-Identifier: BSD-2-Clause */
/* What a command line's options become, and what is wrong with their values. */
#include "cmdline_check.h"

/* Parses and configures; status: that of the process would it end here. */
static struct config *configure(const char *line, int *status)
{
    struct cmdline cmdline;
    struct config *config;
    bool is_usage_error;

    *status = 64;
    if (parse(&cmdline, line) != 0)
        return NULL;
    config = cmdline_config(&cmdline, &sink, &is_usage_error);
    *status = config != NULL ? 0 : is_usage_error ? 64 : 78;
    cmdline_close(&cmdline);
    return config;
}

static struct config *configure_good(const char *line)
{
    int status;
    struct config *config = configure(line, &status);

    assert_string_equal(reported.lines, "");
    assert_non_null(config);
    assert_int_equal(status, 0);
    return config;
}

static void without_a_file_the_defaults_are_the_originals(void **state)
{
    struct config *config =
        configure_good("-a a.subnets -l 0.0.0.0:2222 -4 127.0.0.1:22 -6 [::1]:22");
    const struct listener_config *listener = &config->listeners[0];
    char text[ADDR_STRLEN];

    (void)state;
    assert_null(config->path);
    assert_true(strcmp(config->user, "_mmproxy") == 0 || strcmp(config->user, "nobody") == 0);
    assert_in_range(config->workers, 1, 16384);
    assert_int_equal(config->routing, ROUTING_MANUAL);
    assert_int_equal(config->drain_timeout_ms, 30000);
    assert_true(config->sandbox);
    assert_int_equal(config->log_connections, LOG_CONNECTIONS_NONE);
    assert_false(config->quiet);
    assert_int_equal(config->log.level, LOG_LEVEL_INFO);
    assert_int_equal(config->n_listeners, 1);
    assert_string_equal(listener->name, "");
    assert_int_equal(listener->line, 0);
    assert_int_equal(listener->n_listen, 1);
    assert_string_equal(addr_format(&listener->listen[0].addr, text), "0.0.0.0:2222");
    assert_string_equal(addr_format(&listener->target_v4.addr, text), "127.0.0.1:22");
    assert_string_equal(addr_format(&listener->target_v6.addr, text), "[::1]:22");
    assert_int_equal(listener->mark, 123);
    assert_int_equal(listener->table, 100);
    assert_int_equal(listener->return_path, RETURN_PATH_CONNMARK);
    assert_false(listener->preserve_client_port);
    assert_false(listener->allow_local_clients);
    assert_int_equal(listener->header_timeout_ms, 5000);
    assert_int_equal(listener->max_pending, 1024);
    assert_int_equal(listener->backlog, 4096);
    assert_int_equal(subnets_count(listener->allowed), 1);
    config_free(config);
}

static void options_without_a_file_reach_the_listener(void **state)
{
    struct config *config =
        configure_good("-a a.subnets -l 0.0.0.0:1 -l [::]:1 -6 [2001:db8::1]:22 -m 0xffffffff -t "
                       "0x10 -P --return-path auto -q -v -N");
    const struct listener_config *listener = &config->listeners[0];

    (void)state;
    assert_int_equal(listener->n_listen, 2);
    assert_false(addr_is_set(&listener->target_v4.addr));
    assert_int_equal(listener->mark, UINT32_MAX);
    assert_int_equal(listener->table, 16);
    assert_true(listener->preserve_client_port);
    assert_int_equal(listener->return_path, RETURN_PATH_AUTO);
    assert_true(config->quiet);
    assert_int_equal(config->log_connections, LOG_CONNECTIONS_BOTH);
    assert_false(config->sandbox);
    config_free(config);
}

static void udp_without_a_file_has_defaults_of_its_own(void **state)
{
    struct config *config = configure_good("-a a.subnets -l 0.0.0.0:5353 -4 127.0.0.1:53 -p udp");
    const struct listener_config *listener = &config->listeners[0];

    (void)state;
    assert_int_equal(listener->protocol, PROTOCOL_UDP);
    assert_int_equal(listener->udp_header, UDP_HEADER_EVERY);
    assert_int_equal(listener->idle_timeout_ms, 60 * 1000);
    assert_int_equal(listener->return_path, RETURN_PATH_AUTO);
    assert_true(listener->preserve_client_port);
    config_free(config);
}

static void with_a_file_options_go_on_top_of_it(void **state)
{
    static const struct {
        const char *line;
        enum log_level level;
        bool quiet;
        bool sandbox;
    } cases[] = {
        { "-c t.conf", LOG_LEVEL_ERROR, false, true },
        { "-c t.conf -v", LOG_LEVEL_INFO, false, true },
        { "-c t.conf -q", LOG_LEVEL_ERROR, true, true },
        { "-c t.conf -N", LOG_LEVEL_ERROR, false, false },
        { "-c debug.conf -v", LOG_LEVEL_DEBUG, false, true },
    };

    (void)state;
    write_file("t.conf", "log: { level = \"error\" };");
    write_file("debug.conf", "log: { level = \"debug\" };");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *config = configure_good(cases[i].line);

        assert_int_equal(config->log_connections, LOG_CONNECTIONS_BOTH);
        assert_int_equal(config->log.level, cases[i].level);
        assert_int_equal(config->quiet, cases[i].quiet);
        assert_int_equal(config->sandbox, cases[i].sandbox);
        config_free(config);
    }
}

#define GOOD "-a a.subnets -l 0.0.0.0:1 -4 127.0.0.1:2 "
#define TRY  " (try 'mmproxy --help')\n"

static void wrong_values_are_reported_and_tell_usage_from_configuration(void **state)
{
    static const struct {
        const char *line;
        int status;
        const char *expected;
    } cases[] = {
        { GOOD "-m 0", 64, "mmproxy: --mark must be from 1 to 4294967295, not 0" TRY },
        { GOOD "-m 0x100000000", 64,
          "mmproxy: --mark must be from 1 to 4294967295, not 0x100000000" TRY },
        { GOOD "-m 99999999999999999999", 64,
          "mmproxy: --mark must be from 1 to 4294967295, not 99999999999999999999" TRY },
        { GOOD "-m -1", 64, "mmproxy: --mark must be from 1 to 4294967295, not -1" TRY },
        { GOOD "-m 12x", 64, "mmproxy: --mark must be a whole number, not \"12x\"" TRY },
        { GOOD "-m 0x", 64, "mmproxy: --mark must be a whole number, not \"0x\"" TRY },
        { GOOD "-t 254", 64,
          "mmproxy: --table must not be 254: that is the kernel's own table \"main\"" TRY },
        { GOOD "-p sctp", 64,
          "mmproxy: --protocol must be \"tcp\" or \"udp\", not \"sctp\" (try 'mmproxy --help')\n" },
        { GOOD "--return-path x", 64,
          "mmproxy: --return-path must be \"auto\", \"loopback\", \"fwmark\", \"connmark\", "
          "\"routed\" or \"flows\", not "
          "\"x\"" TRY },
        { GOOD "-l 0.0.0.0", 64, "mmproxy: --listen is \"0.0.0.0\": port is missing" TRY },
        { GOOD "-l 0.0.0.0:1", 64, "mmproxy: --listen has 0.0.0.0:1 twice" TRY },
        { GOOD "-l 127.0.0.1:1", 64,
          "mmproxy: --listen has 127.0.0.1:1, which overlaps 0.0.0.0:1" TRY },
        { GOOD "-4 123", 64, "mmproxy: --target-v4 is \"123\": port is missing" TRY },
        { GOOD "-4 0.0.0.0:5", 64,
          "mmproxy: --target-v4 is \"0.0.0.0:5\", an unspecified address: no service can be "
          "reached "
          "there" TRY },
        { GOOD "-4 127.0.0.1:1", 64,
          "mmproxy: --target-v4 is where mmproxy listens itself: a loop" TRY },
        { GOOD "-6 [::ffff:127.0.0.1]:1", 64,
          "mmproxy: --target-v6 is the v4-mapped address \"[::ffff:127.0.0.1]:1\": write "
          "\"127.0.0.1:1\" as the IPv4 target" TRY },
        { GOOD "-m x -t y", 64,
          "mmproxy: --mark must be a whole number, not \"x\"" TRY
          "mmproxy: --table must be a whole number, not \"y\"" TRY },
        { "-a a.subnets -l 0.0.0.0:1 -4 [::1]:2 -6 127.0.0.1:2", 64,
          "W mmproxy: --target-v4 [::1]:2 is no IPv4 address and is ignored\n"
          "W mmproxy: --target-v6 127.0.0.1:2 is no IPv6 address and is ignored\n"
          "mmproxy: no target is left" TRY },
        { GOOD "-a none", 78, "cannot read none: No such file or directory\n" },
        { "-c none", 78, "none: No such file or directory\n" },
        { "-n -c bad.conf", 78, "bad.conf:1: unknown key \"x\"\n" },
    };

    (void)state;
    write_file("bad.conf", "x = 5;");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status;

        assert_null(configure(cases[i].line, &status));
        assert_string_equal(reported.lines, cases[i].expected);
        assert_int_equal(status, cases[i].status);
    }
}

static void a_dummy_of_the_wrong_family_is_ignored_with_a_warning(void **state)
{
    int status;
    struct config *config = configure(GOOD "-6 127.0.0.1:2", &status);

    (void)state;
    assert_string_equal(reported.lines,
                        "W mmproxy: --target-v6 127.0.0.1:2 is no IPv6 address and is ignored\n");
    assert_non_null(config);
    assert_true(addr_is_set(&config->listeners[0].target_v4.addr));
    assert_false(addr_is_set(&config->listeners[0].target_v6.addr));
    config_free(config);
}

static void bad_lines_of_the_subnets_file_are_skipped_with_a_warning(void **state)
{
    int status;
    struct config *config;

    (void)state;
    write_file("123", "x\n10.0.0.0/8\n10.0.0.0/99\n");
    config = configure("-a 123 -l 0.0.0.0:1 -4 127.0.0.1:2", &status);
    assert_string_equal(reported.lines,
                        "W 123:1: \"x\": not an IPv4 or IPv6 address (line skipped)\n"
                        "W 123:3: \"10.0.0.0/99\": prefix length is not a number from 0 to 32 "
                        "(line skipped)\n");
    assert_non_null(config);
    assert_int_equal(subnets_count(config->listeners[0].allowed), 1);
    config_free(config);

    write_file("123", "x\n");
    config = configure("-a 123 -l 0.0.0.0:1 -4 127.0.0.1:2", &status);
    assert_string_equal(reported.lines,
                        "W 123:1: \"x\": not an IPv4 or IPv6 address (line skipped)\n"
                        "W 123:1: no subnet is in this file, so no load balancer may connect\n");
    assert_non_null(config);
    config_free(config);
}

static int enter(void **state)
{
    enter_folder(state);
    write_file("a.subnets", "192.0.2.0/24\n");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_file_the_defaults_are_the_originals),
        cmocka_unit_test(options_without_a_file_reach_the_listener),
        cmocka_unit_test(udp_without_a_file_has_defaults_of_its_own),
        cmocka_unit_test(with_a_file_options_go_on_top_of_it),
        cmocka_unit_test(wrong_values_are_reported_and_tell_usage_from_configuration),
        cmocka_unit_test(a_dummy_of_the_wrong_family_is_ignored_with_a_warning),
        cmocka_unit_test(bad_lines_of_the_subnets_file_are_skipped_with_a_warning),
    };

    return cmocka_run_group_tests(tests, enter, leave_folder);
}
