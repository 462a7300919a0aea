/* SPDX-License-Identifier: BSD-2-Clause */
/* What good configuration files become. */
#include <sched.h>

#include "config_check.h"

static void check_addr(const struct addr *addr, const char *expected)
{
    char text[ADDR_STRLEN];

    assert_string_equal(addr_format(addr, text), expected);
}

static void an_empty_file_is_the_defaults(void **state)
{
    struct config *config = load_good("");
    cpu_set_t cpus;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
    assert_string_equal(config->path, "t.conf");
    assert_true(strcmp(config->user, "_mmproxy") == 0 || strcmp(config->user, "nobody") == 0);
    assert_int_equal(config->workers, CPU_COUNT(&cpus));
    assert_int_equal(config->routing, ROUTING_MANUAL);
    assert_int_equal(config->drain_timeout_ms, 30000);
    assert_true(config->sandbox);
    assert_int_equal(config->log_connections, LOG_CONNECTIONS_BOTH);
    assert_false(config->quiet);
    assert_int_equal(config->log.target, LOG_TARGET_AUTO);
    assert_int_equal(config->log.level, LOG_LEVEL_INFO);
    assert_int_equal(config->log.format, LOG_FORMAT_TEXT);
    assert_int_equal(config->n_listeners, 0);
    config_free(config);
    config_free(NULL);
}

static void a_listener_with_the_least_has_the_documented_defaults(void **state)
{
    struct config *config = load_good("\n" ONE(""));
    const struct listener_config *listener = &config->listeners[0];

    (void)state;
    assert_int_equal(config->n_listeners, 1);
    assert_string_equal(listener->name, "ssh");
    assert_int_equal(listener->line, 3);
    assert_int_equal(listener->n_listen, 1);
    check_addr(&listener->listen[0].addr, "0.0.0.0:2222");
    check_addr(&listener->target_v4.addr, "127.0.0.1:22");
    assert_false(addr_is_set(&listener->target_v6.addr));
    assert_ptr_equal(listener_config_target(listener, AF_INET), &listener->target_v4.addr);
    assert_null(listener_config_target(listener, AF_INET6));
    assert_null(listener_config_target(listener, AF_UNSPEC));
    assert_int_equal(subnets_count(listener->allowed), 1);
    assert_int_equal(listener->mark, 123);
    assert_int_equal(listener->table, 100);
    assert_int_equal(listener->return_path, RETURN_PATH_AUTO);
    assert_true(listener->preserve_client_port);
    assert_false(listener->allow_local_clients);
    assert_int_equal(listener->header_timeout_ms, 5000);
    assert_int_equal(listener->connect_timeout_ms, 5000);
    assert_int_equal(listener->idle_timeout_ms, 0);
    assert_int_equal(listener->keepalive_s, 60);
    assert_int_equal(listener->max_sessions, 0);
    assert_int_equal(listener->max_sessions_per_client, 0);
    assert_int_equal(listener->max_pending, 1024);
    assert_int_equal(listener->backlog, 4096);
    config_free(config);
}

static void every_key_is_read(void **state)
{
    struct config *config = load_good("user = \"root\";\nworkers = 3;\nrouting = \"managed\";\n"
                                      "drain_timeout = 0;\nsandbox = false;\n"
                                      "log: { target = \"syslog\"; level = \"debug\"; format = "
                                      "\"json\"; };\n"
                                      "listeners = ( { name = \"a.B_c-9\";\n"
                                      "listen = [ \"0.0.0.0:1\", \"[::]:65535\" ];\n"
                                      "allowed_subnets = \"a.subnets\";\n"
                                      "target_v4 = \"192.0.2.1:22\"; target_v6 = \"[::1]:23\";\n"
                                      "mark = 0x12345678; table = 4294967295;\n"
                                      "return_path = \"connmark\"; client_port = \"any\";\n"
                                      "header_timeout = 1.5; connect_timeout = 0.001;\n"
                                      "idle_timeout = 2592000; keepalive = 32767;\n"
                                      "max_sessions = 2147483647L; max_sessions_per_client = 7;\n"
                                      "max_pending = 1; backlog = 1048576;\n"
                                      "allow_local_clients = TRUE; } );\n");
    const struct listener_config *listener = &config->listeners[0];

    (void)state;
    assert_string_equal(config->user, "root");
    assert_int_equal(config->workers, 3);
    assert_int_equal(config->routing, ROUTING_MANAGED);
    assert_int_equal(config->drain_timeout_ms, 0);
    assert_false(config->sandbox);
    assert_int_equal(config->log.target, LOG_TARGET_SYSLOG);
    assert_int_equal(config->log.level, LOG_LEVEL_DEBUG);
    assert_int_equal(config->log.format, LOG_FORMAT_JSON);
    assert_string_equal(listener->name, "a.B_c-9");
    assert_int_equal(listener->n_listen, 2);
    check_addr(&listener->listen[0].addr, "0.0.0.0:1");
    check_addr(&listener->listen[1].addr, "[::]:65535");
    check_addr(listener_config_target(listener, AF_INET), "192.0.2.1:22");
    check_addr(listener_config_target(listener, AF_INET6), "[::1]:23");
    assert_int_equal(listener->mark, 0x12345678);
    assert_int_equal(listener->table, UINT32_MAX);
    assert_int_equal(listener->return_path, RETURN_PATH_CONNMARK);
    assert_false(listener->preserve_client_port);
    assert_int_equal(listener->header_timeout_ms, 1500);
    assert_int_equal(listener->connect_timeout_ms, 1);
    assert_int_equal(listener->idle_timeout_ms, 2592000000u);
    assert_int_equal(listener->keepalive_s, 32767);
    assert_int_equal(listener->max_sessions, INT32_MAX);
    assert_int_equal(listener->max_sessions_per_client, 7);
    assert_int_equal(listener->max_pending, 1);
    assert_int_equal(listener->backlog, 1 << 20);
    assert_true(listener->allow_local_clients);
    config_free(config);
}

static void every_word_of_a_key_is_known(void **state)
{
    static const struct {
        const char *text;
        enum log_target target;
        enum log_level level;
    } cases[] = {
        { "log: { target = \"auto\"; level = \"error\" }", LOG_TARGET_AUTO, LOG_LEVEL_ERROR },
        { "log: { target = \"stderr\"; level = \"warning\" }", LOG_TARGET_STDERR,
          LOG_LEVEL_WARNING },
        { "log: { target = \"syslog\"; level = \"notice\" }", LOG_TARGET_SYSLOG, LOG_LEVEL_NOTICE },
        { "log: { target = \"journal\"; level = \"info\" }", LOG_TARGET_JOURNAL, LOG_LEVEL_INFO },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *config = load_good(cases[i].text);

        assert_int_equal(config->log.target, cases[i].target);
        assert_int_equal(config->log.level, cases[i].level);
        config_free(config);
    }
}

static void numbers_are_decimal_or_hex_of_up_to_32_bits(void **state)
{
    static const struct {
        const char *written;
        uint32_t mark;
    } cases[] = {
        { "1", 1 },
        { "0x7b", 123 },
        { "0X7B", 123 },
        { "007", 7 },
        { "+5", 5 },
        { "2147483648", 2147483648u },
        { "4294967295", UINT32_MAX },
        { "0x80000000", 0x80000000u },
        { "0xffffffff", UINT32_MAX },
        { "0xFFFFFFFFL", UINT32_MAX },
        { "123L", 123 },
        { "123LL", 123 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        struct config *config;

        snprintf(text, sizeof(text), ONE("mark = %s;"), cases[i].written);
        config = load_good(text);
        assert_int_equal(config->listeners[0].mark, cases[i].mark);
        config_free(config);
    }
}

static void timeouts_take_whole_numbers_and_fractions(void **state)
{
    static const struct {
        const char *written;
        unsigned ms;
    } cases[] = {
        { "1", 1000 },     { "1.0", 1000 },   { ".25", 250 },     { "2.", 2000 },
        { "1e1", 10000 },  { "0.001", 1 },    { "1.0006", 1001 }, { "86400", 86400000 },
        { "0x10", 16000 }, { "2.5e-1", 250 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        struct config *config;

        snprintf(text, sizeof(text), ONE("header_timeout = %s;"), cases[i].written);
        config = load_good(text);
        assert_int_equal(config->listeners[0].header_timeout_ms, cases[i].ms);
        config_free(config);
    }
}

static void defaults_go_to_every_listener_and_a_listeners_own_value_goes_first(void **state)
{
    struct config *config =
        load_good("listeners = ( { name = \"a\"; listen = \"0.0.0.0:1\"; },\n"
                  "{ name = \"b\"; listen = \"0.0.0.0:2\"; mark = 9; table = 8; client_port = "
                  "\"preserve\"; target_v6 = \"[2001:db8::1]:6\"; } );\n"
                  "defaults: { mark = 5; header_timeout = 2; allowed_subnets = \"a.subnets\"; "
                  "target_v4 = \"127.0.0.1:25\"; client_port = \"any\"; backlog = 10; };\n");
    const struct listener_config *a = &config->listeners[0];
    const struct listener_config *b = &config->listeners[1];

    (void)state;
    assert_int_equal(a->mark, 5);
    assert_int_equal(a->table, 100);
    assert_int_equal(a->header_timeout_ms, 2000);
    assert_int_equal(a->backlog, 10);
    assert_false(a->preserve_client_port);
    assert_int_equal(a->return_path, RETURN_PATH_AUTO);
    assert_int_equal(b->mark, 9);
    assert_int_equal(b->table, 8);
    assert_true(b->preserve_client_port);
    check_addr(&b->target_v4.addr, "127.0.0.1:25");
    check_addr(&b->target_v6.addr, "[2001:db8::1]:6");
    assert_int_equal(b->return_path, RETURN_PATH_AUTO);
    assert_ptr_equal(a->allowed, b->allowed);
    assert_int_equal(config->n_subnets, 1);
    config_free(config);
}

static void comments_and_white_space_may_be_anywhere(void **state)
{
    struct config *config = load_good("# one\n// two\n/* three\n = ( */ workers /**/ = // four\r\n"
                                      "\t2 # five = \"\n; /* six */ user=\"ro\" /* } */\n\"ot\""
                                      "  // the last line has no newline: \"");

    (void)state;
    assert_int_equal(config->workers, 2);
    assert_string_equal(config->user, "root");
    config_free(config);
}

static void a_byte_order_mark_is_left_out(void **state)
{
    struct config *config = load_good("\xef\xbb\xbfworkers = 2;");

    (void)state;
    assert_int_equal(config->workers, 2);
    config_free(config);
}

static void ports_addresses_and_tables_that_only_look_alike_are_fine(void **state)
{
    struct config *config =
        load_good("listeners = (\n" LISTENER("a", "0.0.0.0:22", "127.0.0.1:2", "") ",\n"
                  /* [::] takes IPv6 alone. */
                  LISTENER("b", "127.0.0.1:24", "127.0.0.1:2", "") ",\n" LISTENER(
                      "c", "[::]:22", "127.0.0.1:2", "mark = 5; table = 100;") ",\n"
                  /* Not on loopback: nobody but the host knows whether that is itself. */
                  LISTENER("d", "0.0.0.0:23", "10.0.0.1:23", "mark = 6; table = 101;") " );");

    (void)state;
    assert_int_equal(config->n_listeners, 4);
    config_free(config);
}

static void the_list_of_keys_is_complete(void **state)
{
    static const struct config_key expected[] = {
        { "", "user", "string", "_mmproxy", "" },
        { "", "workers", "whole number", "0", "from 0 to 1024" },
        { "", "routing", "string", "manual", "\"manual\" or \"managed\"" },
        { "", "drain_timeout", "seconds", "30", "0 or from 0.001 to 2592000" },
        { "", "sandbox", "boolean", "true", "" },
        { "", "metrics", "string", NULL, "" },
        { "", "control", "string", "/run/mmproxy/control.sock", "" },
        { "", "control_group", "string", NULL, "" },
        { "", "log", "group", NULL, "" },
        { "", "include_dir", "string", NULL, "" },
        { "", "defaults", "group", NULL, "" },
        { "", "listeners", "list", NULL, "" },
        { "log", "target", "string", "auto", "\"auto\", \"stderr\", \"syslog\" or \"journal\"" },
        { "log", "level", "string", "info",
          "\"error\", \"warning\", \"notice\", \"info\" or \"debug\"" },
        { "log", "format", "string", "text", "\"text\" or \"json\"" },
        { "log", "connections", "string", "both", "\"both\", \"end\" or \"none\"" },
        { "listeners", "name", "string", NULL, "" },
        { "listeners", "listen", "string or array", NULL, "" },
        { "listeners", "protocol", "string", "tcp", "\"tcp\" or \"udp\"" },
        { "listeners", "udp_header", "string", "every", "\"every\", \"first\" or \"spp\"" },
        { "listeners", "allowed_subnets", "string or array", NULL, "" },
        { "listeners", "direct_subnets", "string or array", NULL, "" },
        { "listeners", "target_v4", "string", NULL, "" },
        { "listeners", "target_v6", "string", NULL, "" },
        { "listeners", "header_ports", "string", NULL, "" },
        { "listeners", "map_v4", "string", NULL, "" },
        { "listeners", "map_v6", "string", NULL, "" },
        { "listeners", "map_v6_anyway", "boolean", "false", "" },
        { "listeners", "map_key", "string", CONFIG_DEFAULT_MAP_KEY, "" },
        { "listeners", "netns", "string", NULL, "" },
        { "listeners", "endpoints", "array", NULL, "" },
        { "listeners", "mark", "whole number", "123", "from 1 to 4294967295" },
        { "listeners", "table", "whole number", "100", "from 1 to 4294967295" },
        { "listeners", "return_path", "string", "auto",
          "\"auto\", \"loopback\", \"fwmark\", \"connmark\", \"routed\" or \"flows\"" },
        { "listeners", "client_port", "string", "preserve", "\"preserve\" or \"any\"" },
        { "listeners", "header_timeout", "seconds", "5", "from 0.001 to 86400" },
        { "listeners", "connect_timeout", "seconds", "5", "from 0.001 to 86400" },
        { "listeners", "idle_timeout", "seconds", "0", "0 or from 0.001 to 2592000" },
        { "listeners", "keepalive", "whole number", "60", "from 0 to 32767" },
        { "listeners", "max_sessions", "whole number", "0", "from 0 to 2147483647" },
        { "listeners", "max_sessions_per_client", "whole number", "0", "from 0 to 2147483647" },
        { "listeners", "max_pending", "whole number", "1024", "from 1 to 1048576" },
        { "listeners", "backlog", "whole number", "4096", "from 1 to 1048576" },
        { "listeners", "close_when_down", "boolean", "false", "" },
        { "listeners", "allow_local_clients", "boolean", "false", "" },
    };
    struct config_key key;
    size_t n = 0;

    (void)state;
    for (; config_key(n, &key); n++) {
        assert_in_range(n, 0, sizeof(expected) / sizeof(expected[0]) - 1);
        assert_string_equal(key.section, expected[n].section);
        assert_string_equal(key.name, expected[n].name);
        assert_string_equal(key.type, expected[n].type);
        assert_string_equal(key.fallback ? key.fallback : "-",
                            expected[n].fallback ? expected[n].fallback : "-");
        assert_string_equal(key.range, expected[n].range);
    }
    assert_int_equal(n, sizeof(expected) / sizeof(expected[0]));
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
        cmocka_unit_test(an_empty_file_is_the_defaults),
        cmocka_unit_test(a_listener_with_the_least_has_the_documented_defaults),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(every_word_of_a_key_is_known),
        cmocka_unit_test(numbers_are_decimal_or_hex_of_up_to_32_bits),
        cmocka_unit_test(timeouts_take_whole_numbers_and_fractions),
        cmocka_unit_test(defaults_go_to_every_listener_and_a_listeners_own_value_goes_first),
        cmocka_unit_test(comments_and_white_space_may_be_anywhere),
        cmocka_unit_test(a_byte_order_mark_is_left_out),
        cmocka_unit_test(ports_addresses_and_tables_that_only_look_alike_are_fine),
        cmocka_unit_test(the_list_of_keys_is_complete),
    };

    return cmocka_run_group_tests(tests, enter, leave_folder);
}
