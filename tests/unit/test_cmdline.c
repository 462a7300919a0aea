/* SPDX-License-Identifier: BSD-2-Clause */
/* Which options there are, and which of them go together. */
#include "cmdline_check.h"

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
        "--return-path auto -p udp",
        "--allowed-networks f --listen 0.0.0.0:1 --listen=[::]:2 --target-v4 127.0.0.1:2 "
        "--target-v6 [::1]:2 --mark 1 --table 0x2 --force-real-client-port --quiet --verbose "
        "--do-not-sandbox --return-path=auto --protocol=udp",
        "--allowed-subnets=f --lis 0.0.0.0:1 -l[::]:2 --target-v4=127.0.0.1:2 -6[::1]:2 -m 9 -m1 "
        "-t0x2 -PqvN --ret auto -pudp",
        "--allowed f -l 0.0.0.0:1 -l [::]:2 -4 127.0.0.1:2 -6 [::1]:2 -m 1 -t 0x2 -P -q -v -N "
        "--return-path fwmark --return-path auto --prot udp",
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
        assert_string_equal(cmdline.protocol, "udp");
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
        { "-c x -p udp", EXCLUDE "--protocol" SAYS },
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
        "-p, --protocol",
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_action_has_its_option),
        cmocka_unit_test(every_option_is_kept),
        cmocka_unit_test(wrong_usage_is_one_line),
        cmocka_unit_test(the_help_fits_and_has_every_option),
    };

    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
