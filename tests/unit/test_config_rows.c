/* SPDX-License-Identifier: BSD-2-Clause */
/* Every key of the tables: values that are taken, at the edges too, and one that is refused. */
#include "config_check.h"

enum { GOOD_MAX = 4 };

struct row {
    const char *section;
    const char *name;
    const char *good[GOOD_MAX]; /* NULL behind the last one */
    const char *bad;
    const char *reason; /* behind "t.conf:5: " */
};

#define TARGET_V4 "\"target_v4\" is \"127.0.0.1:0\": port is not a number from 1 to 65535"
#define TARGET_V6 "\"target_v6\" must be an IPv6 address, not \"127.0.0.1:22\""

static const struct row rows[] = {
    { "",
      "user",
      { "\"root\"" },
      "\"no-such-user\"",
      "\"user\" is \"no-such-user\", but there is no such user" },
    { "", "workers", { "0", "1", "1024" }, "1025", "\"workers\" must be from 0 to 1024, not 1025" },
    { "",
      "routing",
      { "\"manual\"", "\"managed\"" },
      "\"auto\"",
      "\"routing\" must be \"manual\" or \"managed\", not \"auto\"" },
    { "",
      "drain_timeout",
      { "0", "0.001", "2592000" },
      "2592000.1",
      "\"drain_timeout\" must be 0 or from 0.001 to 2592000 seconds, not 2.592e+06" },
    { "", "sandbox", { "true", "false" }, "1", "\"sandbox\" must be true or false, not a number" },
    { "",
      "metrics",
      { "\"127.0.0.1:9109\"", "\"[::1]:9109\"" },
      "9109",
      "\"metrics\" must be a string \"ADDR:PORT\", not a number" },
    { "",
      "control",
      { "\"/run/a.sock\"", "\"\"" },
      "\"a.sock\"",
      "\"control\" is \"a.sock\": it must be an absolute path" },
    { "",
      "control_group",
      { "\"root\"" },
      "\"no-such-group\"",
      "\"control_group\" is \"no-such-group\", but there is no such group" },
    { "", "include_dir", { "\"empty.d\"" }, "\"\"", "\"include_dir\" must be a path, not empty" },
    { "log",
      "target",
      { "\"auto\"", "\"stderr\"", "\"syslog\"", "\"journal\"" },
      "\"file\"",
      "\"target\" must be \"auto\", \"stderr\", \"syslog\" or \"journal\", not \"file\"" },
    { "log",
      "level",
      { "\"error\"", "\"warning\"", "\"notice\"", "\"debug\"" },
      "\"\"",
      "\"level\" must be \"error\", \"warning\", \"notice\", \"info\" or \"debug\", not \"\"" },
    { "log",
      "format",
      { "\"text\"", "\"json\"" },
      "true",
      "\"format\" must be \"text\" or \"json\", not a boolean" },
    { "log",
      "connections",
      { "\"both\"", "\"end\"", "\"none\"" },
      "\"begin\"",
      "\"connections\" must be \"both\", \"end\" or \"none\", not \"begin\"" },
    { "listeners",
      "name",
      { "\"a\"", "\"A-Z_0.9\"" },
      "\"a b\"",
      "\"name\" must be 1 to 63 characters of A-Z a-z 0-9 _ . -, not \"a b\"" },
    { "listeners",
      "listen",
      { "\"0.0.0.0:1\"", "[ \"[::]:65535\", \"0.0.0.0:65535\" ]", "\"192.0.2.1:1-65535\"",
        "\"[::1]:65535-65535\"" },
      "\"0.0.0.0:0\"",
      "\"listen\" is \"0.0.0.0:0\": port is not a number from 1 to 65535" },
    { "listeners",
      "protocol",
      { "\"tcp\"", "\"udp\"" },
      "\"sctp\"",
      "\"protocol\" must be \"tcp\" or \"udp\", not \"sctp\"" },
    { "listeners",
      "udp_header",
      { "\"every\"", "\"first\"", "\"spp\"" },
      "\"none\"",
      "\"udp_header\" must be \"every\", \"first\" or \"spp\", not \"none\"" },
    { "listeners",
      "allowed_subnets",
      { "\"a.subnets\"", "[ \"192.0.2.10\", \"2001:db8::/32\" ]", "( \"192.0.2.10\" )" },
      "[ \"192.0.2.0/33\" ]",
      "\"192.0.2.0/33\": prefix length is not a number from 0 to 32" },
    { "listeners",
      "direct_subnets",
      { "[ ]", "[ \"192.0.2.10\", \"2001:db8::/32\" ]", "( \"192.0.2.10\" )" },
      "[ \"192.0.2.0/33\" ]",
      "\"192.0.2.0/33\": prefix length is not a number from 0 to 32" },
    { "listeners",
      "target_v4",
      { "\"127.0.0.1:1\"", "\"192.0.2.1:65535\"", "\"192.0.2.1:same\"", "\"127.0.0.1:7-7\"" },
      "\"127.0.0.1:0\"",
      TARGET_V4 },
    { "listeners",
      "target_v6",
      { "\"[::1]:1\"", "\"[2001:db8::1]:65535\"", "\"[::1]:same\"", "\"[::1]:65535-65535\"" },
      "\"127.0.0.1:22\"",
      TARGET_V6 },
    { "listeners",
      "header_ports",
      { "\"1\"", "\"65535\"", "\"8000-8099,9000\"", "\" 9000 , 1-65535\"" },
      "\"8099-8000\"",
      "\"header_ports\" is \"8099-8000\": the range of ports ends before it begins" },
    { "listeners",
      "map_v4",
      { "\"64:ff9b::/96\"", "\"2001:db8:ffff:ffff:ff:ffff::/96\"" },
      "\"64:ff9b::/64\"",
      "\"map_v4\" must be a prefix of 96 bits, not \"64:ff9b::/64\"" },
    { "listeners",
      "map_v6",
      { "\"240.0.0.0/4\"", "\"198.18.0.0/15\"", "\"192.0.2.77\"" },
      "\"10.1.0.0/16\"",
      "\"map_v6\" is 10.1.0.0/16, which overlaps private space (10.0.0.0/8): map_v6_anyway = true "
      "allows it" },
    { "listeners",
      "map_v6_anyway",
      { "true", "false" },
      "1",
      "\"map_v6_anyway\" must be true or false, not a number" },
    { "listeners",
      "map_key",
      { "\"/nowhere/map.key\"" },
      "\"map.key\"",
      "\"map_key\" is \"map.key\": it must be an absolute path" },
    { "listeners",
      "netns",
      { "\"mail\"", "\"/proc/1/ns/net\"" },
      "\"a/b\"",
      "\"netns\" must be a name in /run/netns or an absolute path, not \"a/b\"" },
    { "listeners",
      "endpoints",
      { "[ \"vpce-1\" ]", "( \"vpce-1\", \"vpce-08d2bf15fac5001c9\" )" },
      "[ \"a b\" ]",
      "an endpoint must be 1 to 64 characters of A-Z a-z 0-9 _ . -, not \"a b\"" },
    { "listeners",
      "mark",
      { "1", "0x7b", "4294967295" },
      "4294967296",
      "\"mark\" must be from 1 to 4294967295, not 4294967296" },
    { "listeners",
      "table",
      { "1", "252", "256", "0xffffffff" },
      "254",
      "\"table\" must not be 254: that is the kernel's own table \"main\"" },
    { "listeners",
      "return_path",
      { "\"auto\"", "\"loopback\"", "\"fwmark\"", "\"routed\"" },
      "\"none\"",
      "\"return_path\" must be \"auto\", \"loopback\", \"fwmark\", \"connmark\", \"routed\" or "
      "\"flows\", not "
      "\"none\"" },
    { "listeners",
      "client_port",
      { "\"preserve\"", "\"any\"" },
      "51234",
      "\"client_port\" must be \"preserve\" or \"any\", not a number" },
    { "listeners",
      "header_timeout",
      { "0.001", "5", "86400" },
      "0",
      "\"header_timeout\" must be from 0.001 to 86400 seconds, not 0" },
    { "listeners",
      "connect_timeout",
      { "0.001", "5", "86400" },
      "86401",
      "\"connect_timeout\" must be from 0.001 to 86400 seconds, not 86401" },
    { "listeners",
      "idle_timeout",
      { "0", "0.001", "2592000" },
      "-1",
      "\"idle_timeout\" must be 0 or from 0.001 to 2592000 seconds, not -1" },
    { "listeners",
      "keepalive",
      { "0", "1", "32767" },
      "32768",
      "\"keepalive\" must be from 0 to 32767, not 32768" },
    { "listeners",
      "max_sessions",
      { "0", "1", "2147483647" },
      "2147483648",
      "\"max_sessions\" must be from 0 to 2147483647, not 2147483648" },
    { "listeners",
      "max_sessions_per_client",
      { "0", "1", "2147483647" },
      "1.5",
      "\"max_sessions_per_client\" must be a whole number, not 1.5" },
    { "listeners",
      "max_pending",
      { "1", "1048576" },
      "1048577",
      "\"max_pending\" must be from 1 to 1048576, not 1048577" },
    { "listeners",
      "backlog",
      { "1", "1048576" },
      "0",
      "\"backlog\" must be from 1 to 1048576, not 0" },
    { "listeners",
      "close_when_down",
      { "true", "false" },
      "1",
      "\"close_when_down\" must be true or false, not a number" },
    { "listeners",
      "allow_local_clients",
      { "true", "false" },
      "\"yes\"",
      "\"allow_local_clients\" must be true or false, not a string" },
};

enum { N_ROWS = sizeof rows / sizeof rows[0] };

static struct reported reported;

/* What a listener needs, but for the key that is tried, in the lines 1 to 4; that is in line 5. */
static void write_row(const struct row *row, const char *value)
{
    static const char *const needed[][2] = {
        { "name", "\"a\"" },
        { "listen", "\"0.0.0.0:2222\"" },
        { "allowed_subnets", "\"a.subnets\"" },
        { "target_v4", "\"127.0.0.1:22\"" },
    };
    FILE *file = fopen("t.conf", "we");
    bool is_listener = strcmp(row->section, "listeners") == 0;

    assert_non_null(file);
    fputs(is_listener ? "listeners = ( {" : strcmp(row->section, "log") == 0 ? "log: {" : "", file);
    for (size_t i = 0; i < 4; i++) {
        if (is_listener && strcmp(row->name, needed[i][0]) != 0)
            fprintf(file, "%s = %s;", needed[i][0], needed[i][1]);
        fputs("\n", file);
    }
    fprintf(file, "%s = %s;\n%s", row->name, value,
            is_listener                        ? "} );\n"
            : strcmp(row->section, "log") == 0 ? "};\n"
                                               : "");
    fclose(file);
}

static void every_key_takes_values_up_to_its_edges(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++) {
        for (size_t j = 0; j < GOOD_MAX && rows[i].good[j]; j++) {
            struct config *config;

            write_row(&rows[i], rows[i].good[j]);
            config = load("t.conf", &reported);
            if (!config)
                print_error("refused: %s = %s\n", rows[i].name, rows[i].good[j]);
            assert_non_null(config);
            assert_string_equal(reported.lines, "");
            config_free(config);
        }
    }
}

static void every_key_refuses_what_is_beyond_and_says_where(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++) {
        char expected[256];

        write_row(&rows[i], rows[i].bad);
        snprintf(expected, sizeof expected, "t.conf:5: %s\n", rows[i].reason);
        assert_null(load("t.conf", &reported));
        assert_string_equal(reported.lines, expected);
    }
}

static void no_key_is_forgotten_here(void **state)
{
    struct config_key key;
    size_t n = 0;

    (void)state;
    for (size_t i = 0; config_key(i, &key); i++) {
        if (strcmp(key.type, "group") == 0 || strcmp(key.type, "list") == 0)
            continue;
        assert_in_range(n, 0, N_ROWS - 1);
        assert_string_equal(rows[n].section, key.section);
        assert_string_equal(rows[n].name, key.name);
        n++;
    }
    assert_int_equal(n, N_ROWS);
}

static int enter(void **state)
{
    enter_folder(state);
    write_file("a.subnets", "192.0.2.0/24\n");
    assert_int_equal(mkdir("empty.d", 0700), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_takes_values_up_to_its_edges),
        cmocka_unit_test(every_key_refuses_what_is_beyond_and_says_where),
        cmocka_unit_test(no_key_is_forgotten_here),
    };

    return cmocka_run_group_tests(tests, enter, leave_folder);
}
