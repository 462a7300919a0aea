/* SPDX-License-Identifier: BSD-2-Clause */
/* Command lines: what they ask for, and what is wrong with them. */
#include "config_check.h"
#include "mmproxy/config/cmdline.h"

enum { WORDS_MAX = 32 };

static struct reported reported;
static const struct config_sink sink = { .report = remember, .context = &reported };

/* The words of a command line, cut at blanks. They live until the next call. */
static int parse(struct cmdline *out, const char *line)
{
    static char text[1024];
    static char *argv[WORDS_MAX];
    int argc = 0;
    char *save;

    snprintf(text, sizeof(text), "mmproxy %s", line);
    for (char *word = strtok_r(text, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        assert_in_range(argc, 0, WORDS_MAX - 2);
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    forget(&reported);
    return cmdline_parse(out, argc, argv, &sink);
}

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

static void each_action_has_its_option(void **state)
{
    static const struct {
        const char *line;
        enum cmdline_action action;
        enum rules_form form;
        const char *config_path;
    } cases[] = {
        { "", CMDLINE_SERVE, RULES_SHELL, "/etc/mmproxy.conf" },
        { "-c x", CMDLINE_SERVE, RULES_SHELL, "x" },
        { "-cx", CMDLINE_SERVE, RULES_SHELL, "x" },
        { "--config=x", CMDLINE_SERVE, RULES_SHELL, "x" },
        { "-c x -c y", CMDLINE_SERVE, RULES_SHELL, "y" },
        { "-n", CMDLINE_TEST_CONFIG, RULES_SHELL, "/etc/mmproxy.conf" },
        { "-nn -n", CMDLINE_TEST_CONFIG, RULES_SHELL, "/etc/mmproxy.conf" },
        { "--test-config -c x", CMDLINE_TEST_CONFIG, RULES_SHELL, "x" },
        { "--test", CMDLINE_TEST_CONFIG, RULES_SHELL, "/etc/mmproxy.conf" },
        { "--check", CMDLINE_CHECK, RULES_SHELL, "/etc/mmproxy.conf" },
        { "--rules", CMDLINE_RULES, RULES_SHELL, "/etc/mmproxy.conf" },
        { "--rules -c x", CMDLINE_RULES, RULES_SHELL, "x" },
        { "--rules=shell", CMDLINE_RULES, RULES_SHELL, "/etc/mmproxy.conf" },
        { "--rules=undo", CMDLINE_RULES, RULES_UNDO, "/etc/mmproxy.conf" },
        { "--rules=networkd", CMDLINE_RULES, RULES_NETWORKD, "/etc/mmproxy.conf" },
        { "--rules=undo --rules=interfaces", CMDLINE_RULES, RULES_INTERFACES, "/etc/mmproxy.conf" },
        { "-n -a f -l 0.0.0.0:1 -4 127.0.0.1:2", CMDLINE_TEST_CONFIG, RULES_SHELL, NULL },
        { "--check -a f -l 0.0.0.0:1 -6 [::1]:2", CMDLINE_CHECK, RULES_SHELL, NULL },
        { "--help", CMDLINE_HELP, RULES_SHELL, NULL },
        { "-h", CMDLINE_HELP, RULES_SHELL, NULL },
        { "-n --version", CMDLINE_VERSION, RULES_SHELL, NULL },
        { "--help --nonsense", CMDLINE_HELP, RULES_SHELL, NULL },
        { "--version extra", CMDLINE_VERSION, RULES_SHELL, NULL },
        { "--", CMDLINE_SERVE, RULES_SHELL, "/etc/mmproxy.conf" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cmdline cmdline;

        assert_int_equal(parse(&cmdline, cases[i].line), 0);
        assert_string_equal(reported.lines, "");
        assert_int_equal(cmdline.action, cases[i].action);
        assert_int_equal(cmdline.rules_form, cases[i].form);
        if (cases[i].config_path == NULL)
            assert_null(cmdline.config_path);
        else
            assert_string_equal(cmdline.config_path, cases[i].config_path);
        cmdline_close(&cmdline);
        cmdline_close(&cmdline);
    }
}

static void every_option_is_kept(void **state)
{
    static const char *const lines[] = {
        "-a f -l 0.0.0.0:1 -l [::]:2 -4 127.0.0.1:2 -6 [::1]:2 -m 1 -t 0x2 -P -q -v -N "
        "--return-path auto",
        "--allowed-networks f --listen 0.0.0.0:1 --listen=[::]:2 --target-v4 127.0.0.1:2 "
        "--target-v6 [::1]:2 --mark 1 --table 0x2 --force-real-client-port --quiet --verbose "
        "--do-not-sandbox --return-path=auto",
        "--allowed-subnets=f --lis 0.0.0.0:1 -l[::]:2 --target-v4=127.0.0.1:2 -6[::1]:2 -m 9 -m1 "
        "-t0x2 -PqvN --ret auto",
        "--allowed f -l 0.0.0.0:1 -l [::]:2 -4 127.0.0.1:2 -6 [::1]:2 -m 1 -t 0x2 -P -q -v -N "
        "--return-path fwmark --return-path auto",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct cmdline cmdline;

        assert_int_equal(parse(&cmdline, lines[i]), 0);
        assert_null(cmdline.config_path);
        assert_string_equal(cmdline.allowed_path, "f");
        assert_int_equal(cmdline.n_listen, 2);
        assert_string_equal(cmdline.listen[0], "0.0.0.0:1");
        assert_string_equal(cmdline.listen[1], "[::]:2");
        assert_string_equal(cmdline.target_v4, "127.0.0.1:2");
        assert_string_equal(cmdline.target_v6, "[::1]:2");
        assert_string_equal(cmdline.mark, "1");
        assert_string_equal(cmdline.table, "0x2");
        assert_string_equal(cmdline.return_path, "auto");
        assert_true(cmdline.force_real_client_port);
        assert_true(cmdline.quiet);
        assert_true(cmdline.verbose);
        assert_true(cmdline.no_sandbox);
        cmdline_close(&cmdline);
    }
}

#define EXCLUDE "mmproxy: --config and "
#define SAYS    " exclude each other: the file says it all"
#define NEEDS   " needs --allowed-networks, --listen and a target as well"

static void wrong_usage_is_one_line(void **state)
{
    static const struct {
        const char *line;
        const char *expected;
    } cases[] = {
        { "-x", "mmproxy: unknown option -x" },
        { "-qx", "mmproxy: unknown option -x" },
        { "--nonsense", "mmproxy: unknown option --nonsense" },
        { "--nonsense=5", "mmproxy: unknown option --nonsense=5" },
        { "--target 1.2.3.4:5", "mmproxy: ambiguous option --target" },
        { "--quiet=1", "mmproxy: option --quiet takes no argument" },
        { "--check=1", "mmproxy: option --check takes no argument" },
        { "-c", "mmproxy: option -c needs an argument" },
        { "--listen", "mmproxy: option --listen needs an argument" },
        { "-\r", "mmproxy: unknown option -\\x0d" },
        { "--a\nb", "mmproxy: unknown option --a\\x0ab" },
        { "extra", "mmproxy: unexpected argument \"extra\"" },
        { "-q extra -v", "mmproxy: unexpected argument \"extra\"" },
        { "-- -q", "mmproxy: unexpected argument \"-q\"" },
        { "-", "mmproxy: unexpected argument \"-\"" },
        { "--rules=foo",
          "mmproxy: --rules must be shell, undo, networkd or interfaces, not \"foo\"" },
        { "-n --check", "mmproxy: --test-config, --check and --rules exclude each other" },
        { "--rules -n", "mmproxy: --test-config, --check and --rules exclude each other" },
        { "--check --rules=undo",
          "mmproxy: --test-config, --check and --rules exclude each other" },
        { "-c x -a f", EXCLUDE "--allowed-networks" SAYS },
        { "-l 0.0.0.0:1 -c x", EXCLUDE "--listen" SAYS },
        { "-c x -4 127.0.0.1:1", EXCLUDE "--target-v4" SAYS },
        { "-c x -6 [::1]:1", EXCLUDE "--target-v6" SAYS },
        { "-c x -m 5", EXCLUDE "--mark" SAYS },
        { "-c x -t 5", EXCLUDE "--table" SAYS },
        { "-c x -P", EXCLUDE "--force-real-client-port" SAYS },
        { "-c x --return-path auto", EXCLUDE "--return-path" SAYS },
        { "-m 5", "mmproxy: --mark" NEEDS },
        { "-t 5", "mmproxy: --table" NEEDS },
        { "-P", "mmproxy: --force-real-client-port" NEEDS },
        { "--return-path auto", "mmproxy: --return-path" NEEDS },
        { "-l 0.0.0.0:1 -4 127.0.0.1:1", "mmproxy: --allowed-networks is missing" },
        { "-a f -4 127.0.0.1:1", "mmproxy: --listen is missing" },
        { "-a f -l 0.0.0.0:1", "mmproxy: --target-v4 or --target-v6 is missing" },
        { "-6 [::1]:1", "mmproxy: --allowed-networks is missing" },
    };
    char expected[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cmdline cmdline;

        assert_int_equal(parse(&cmdline, cases[i].line), -EINVAL);
        snprintf(expected, sizeof(expected), "%s (try 'mmproxy --help')\n", cases[i].expected);
        assert_string_equal(reported.lines, expected);
        cmdline_close(&cmdline);
    }
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
    assert_false(config->log_connections);
    assert_false(config->quiet);
    assert_int_equal(config->log.level, LOG_LEVEL_INFO);
    assert_int_equal(config->n_listeners, 1);
    assert_string_equal(listener->name, "");
    assert_int_equal(listener->line, 0);
    assert_int_equal(listener->n_listen, 1);
    assert_string_equal(addr_format(&listener->listen[0], text), "0.0.0.0:2222");
    assert_string_equal(addr_format(&listener->target_v4, text), "127.0.0.1:22");
    assert_string_equal(addr_format(&listener->target_v6, text), "[::1]:22");
    assert_int_equal(listener->mark, 123);
    assert_int_equal(listener->table, 100);
    assert_int_equal(listener->return_path, RETURN_PATH_CONNMARK);
    assert_false(listener->return_path_is_auto);
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
    assert_false(addr_is_set(&listener->target_v4));
    assert_int_equal(listener->mark, UINT32_MAX);
    assert_int_equal(listener->table, 16);
    assert_true(listener->preserve_client_port);
    assert_int_equal(listener->return_path, RETURN_PATH_FWMARK);
    assert_true(listener->return_path_is_auto);
    assert_true(config->quiet);
    assert_true(config->log_connections);
    assert_false(config->sandbox);
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

        assert_true(config->log_connections);
        assert_int_equal(config->log.level, cases[i].level);
        assert_int_equal(config->quiet, cases[i].quiet);
        assert_int_equal(config->sandbox, cases[i].sandbox);
        config_free(config);
    }
}

#define GOOD "-a a.subnets -l 0.0.0.0:1 -4 127.0.0.1:2 "
#define TRY  " (try 'mmproxy --help')\n"

static void wrong_values_are_told_and_tell_usage_from_configuration(void **state)
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
        { GOOD "--return-path x", 64,
          "mmproxy: --return-path must be \"auto\", \"loopback\", \"fwmark\" or \"connmark\", not "
          "\"x\"" TRY },
        { GOOD "-l 0.0.0.0", 64, "mmproxy: --listen is \"0.0.0.0\": port is missing" TRY },
        { GOOD "-l 0.0.0.0:1", 64, "mmproxy: --listen has 0.0.0.0:1 twice" TRY },
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
    assert_true(addr_is_set(&config->listeners[0].target_v4));
    assert_false(addr_is_set(&config->listeners[0].target_v6));
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
                        "W 123:1: no subnet is in this file, so nobody may connect\n");
    assert_non_null(config);
    config_free(config);
}

static void the_help_fits_and_has_every_option(void **state)
{
    static const char *const options[] = {
        "-c, --config",
        "-n, --test-config",
        "--check",
        "--rules[=FORM]",
        "-a, --allowed-networks",
        "--allowed-subnets",
        "-l, --listen",
        "-4, --target-v4",
        "-6, --target-v6",
        "-m, --mark",
        "-t, --table",
        "-P, --force-real-client-port",
        "--return-path",
        "-q, --quiet",
        "-v, --verbose",
        "-N, --do-not-sandbox",
        "-h, --help",
        "--version",
    };
    const char *help = cmdline_help();

    (void)state;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        assert_non_null(strstr(help, options[i]));
    for (const char *line = help; *line != '\0'; line += strcspn(line, "\n") + 1)
        assert_in_range(strcspn(line, "\n"), 0, 79);
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
        cmocka_unit_test(each_action_has_its_option),
        cmocka_unit_test(every_option_is_kept),
        cmocka_unit_test(wrong_usage_is_one_line),
        cmocka_unit_test(without_a_file_the_defaults_are_the_originals),
        cmocka_unit_test(options_without_a_file_reach_the_listener),
        cmocka_unit_test(with_a_file_options_go_on_top_of_it),
        cmocka_unit_test(wrong_values_are_told_and_tell_usage_from_configuration),
        cmocka_unit_test(a_dummy_of_the_wrong_family_is_ignored_with_a_warning),
        cmocka_unit_test(bad_lines_of_the_subnets_file_are_skipped_with_a_warning),
        cmocka_unit_test(the_help_fits_and_has_every_option),
    };

    return cmocka_run_group_tests(tests, enter, leave_folder);
}
