/* SPDX-License-Identifier: BSD-2-Clause */
/* config_equal: nothing that a file can say goes unnoticed at a reload. */
#include "config_check.h"

/* Every key with a value that is not its default. */
struct setting {
    const char *section;
    const char *name;
    const char *value;
    const char *other;
};

static const struct setting settings[] = {
    { "", "user", "\"root\"", "\"nobody\"" },
    { "", "workers", "3", "4" },
    { "", "routing", "\"managed\"", "\"manual\"" },
    { "", "drain_timeout", "10", "10.5" },
    { "", "sandbox", "false", "true" },
    { "", "metrics", "\"127.0.0.1:9109\"", "\"127.0.0.1:9110\"" },
    { "", "control", "\"/run/a\"", "\"\"" },
    { "", "control_group", "\"root\"", "\"nogroup\"" },
    { "", "include_dir", "\"empty.d\"", "\"other.d\"" },
    { "log", "target", "\"syslog\"", "\"stderr\"" },
    { "log", "level", "\"debug\"", "\"notice\"" },
    { "log", "format", "\"json\"", "\"text\"" },
    { "log", "connections", "\"end\"", "\"both\"" },
    { "listeners", "name", "\"a\"", "\"b\"" },
    { "listeners", "listen", "\"0.0.0.0:1\"", "[ \"0.0.0.0:1\", \"[::]:1\" ]" },
    { "listeners", "protocol", "\"tcp\"", "\"udp\"" },
    { "listeners", "udp_header", "\"every\"", "\"spp\"" },
    { "listeners", "allowed_subnets", "\"a.subnets\"", "\"b.subnets\"" },
    { "listeners", "direct_subnets", "[ \"10.0.0.7\" ]", "[ ]" },
    { "listeners", "target_v4", "\"127.0.0.1:22\"", "\"127.0.0.1:23\"" },
    { "listeners", "target_v6", "\"[::1]:22\"", "\"[::1]:same\"" },
    { "listeners", "header_ports", "\"80,443\"", "\"80-443\"" },
    { "listeners", "map_v4", "\"64:ff9b::/96\"", "\"2001:db8::/96\"" },
    { "listeners", "map_v6", "\"240.0.0.0/4\"", "\"240.0.0.0/5\"" },
    { "listeners", "map_v6_anyway", "true", "false" },
    { "listeners", "map_key", "\"/a\"", "\"/b\"" },
    { "listeners", "netns", "\"mail\"", "\"/proc/1/ns/net\"" },
    { "listeners", "endpoints", "[ \"vpce-1\" ]", "[ \"vpce-1\", \"vpce-2\" ]" },
    { "listeners", "mark", "5", "6" },
    { "listeners", "table", "5", "6" },
    { "listeners", "return_path", "\"fwmark\"", "\"connmark\"" },
    { "listeners", "client_port", "\"any\"", "\"preserve\"" },
    { "listeners", "header_timeout", "1", "1.001" },
    { "listeners", "connect_timeout", "1", "2" },
    { "listeners", "idle_timeout", "1", "0" },
    { "listeners", "keepalive", "1", "0" },
    { "listeners", "max_sessions", "1", "2" },
    { "listeners", "max_sessions_per_client", "1", "2" },
    { "listeners", "max_pending", "1", "2" },
    { "listeners", "backlog", "1", "2" },
    { "listeners", "close_when_down", "true", "false" },
    { "listeners", "allow_local_clients", "true", "false" },
};

enum { N_SETTINGS = sizeof(settings) / sizeof(settings[0]) };

/* changed: the setting that gets its other value; N_SETTINGS: none. */
static struct config *load_settings(size_t changed)
{
    char sections[3][2048] = { "", "", "" };
    char text[8192];

    for (size_t i = 0; i < N_SETTINGS; i++) {
        size_t section = settings[i].section[0] == '\0'       ? 0
                         : strcmp(settings[i].section, "log") ? 2
                                                              : 1;
        size_t used = strlen(sections[section]);

        snprintf(sections[section] + used, sizeof(sections[section]) - used, "%s = %s;\n",
                 settings[i].name, i == changed ? settings[i].other : settings[i].value);
    }
    snprintf(text, sizeof(text), "%slog: { %s };\nlisteners = ( { %s } );\n", sections[0],
             sections[1], sections[2]);
    return load_good(text);
}

static void a_configuration_equals_itself_loaded_twice(void **state)
{
    struct config *a = load_settings(N_SETTINGS);
    struct config *b = load_settings(N_SETTINGS);

    (void)state;
    assert_true(config_equal(a, a));
    assert_true(config_equal(a, b));
    config_free(a);
    config_free(b);
}

static void every_key_counts(void **state)
{
    struct config *base = load_settings(N_SETTINGS);

    (void)state;
    for (size_t i = 0; i < N_SETTINGS; i++) {
        struct config *changed = load_settings(i);

        if (config_equal(base, changed))
            print_error("not noticed: %s\n", settings[i].name);
        assert_false(config_equal(base, changed));
        assert_false(config_equal(changed, base));
        config_free(changed);
    }
    config_free(base);
}

static void no_key_is_forgotten_here(void **state)
{
    struct config_key key;
    size_t n = 0;

    (void)state;
    for (size_t i = 0; config_key(i, &key); i++) {
        if (strcmp(key.type, "group") == 0 || strcmp(key.type, "list") == 0)
            continue;
        assert_in_range(n, 0, N_SETTINGS - 1);
        assert_string_equal(settings[n].section, key.section);
        assert_string_equal(settings[n].name, key.name);
        n++;
    }
    assert_int_equal(n, N_SETTINGS);
}

static bool are_equal(const char *left, const char *right)
{
    struct config *a = load_good(left);
    struct config *b = load_good(right);
    bool result = config_equal(a, b);

    config_free(a);
    config_free(b);
    return result;
}

static void what_means_the_same_is_equal(void **state)
{
    (void)state;
    assert_true(
        are_equal("", "\n# a comment\nlisteners = ( );\nlog: { };\ndefaults: { mark = 5 };"));
    assert_true(are_equal(ONE(""), "\n\n" ONE("mark = 0x7B; header_timeout = 5.0;")));
    assert_true(are_equal(ONE("table = 7;"), "defaults: { table = 7 };\n" ONE("")));
    assert_false(are_equal(ONE(""), ""));
    assert_false(are_equal(ONE(""), ONE("return_path = \"loopback\";")));
    assert_false(are_equal(ONE(""), ONE("target_v6 = \"[::1]:22\";")));
}

static void subnets_are_compared_by_what_they_contain(void **state)
{
    static const struct {
        const char *text;
        bool is_equal;
    } cases[] = {
        { "192.0.2.0/24\n2001:db8::/32\n", true },
        { "2001:db8::/33\n192.0.2.128/25 # c\n\n192.0.2.0/25\n2001:db8:8000::/33\n192.0.2.7\n",
          true },
        { "192.0.2.0/24\n", false },
        { "192.0.2.0/25\n2001:db8::/32\n", false },
        { "192.0.2.0/24\n2001:db8::/31\n", false },
        { "192.0.2.0/24\n2001:db8::/32\n10.0.0.0/8\n", false },
    };
    struct config *base;

    (void)state;
    write_file("a.subnets", cases[0].text);
    base = load_good(ONE(""));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *config;

        write_file("a.subnets", cases[i].text);
        config = load_good(ONE(""));
        assert_int_equal(config_equal(base, config), cases[i].is_equal);
        config_free(config);
    }
    config_free(base);
}

static int enter(void **state)
{
    enter_folder(state);
    write_file("a.subnets", "192.0.2.0/24\n");
    write_file("b.subnets", "192.0.2.0/25\n");
    assert_int_equal(mkdir("empty.d", 0700), 0);
    assert_int_equal(mkdir("other.d", 0700), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_configuration_equals_itself_loaded_twice),
        cmocka_unit_test(every_key_counts),
        cmocka_unit_test(no_key_is_forgotten_here),
        cmocka_unit_test(what_means_the_same_is_equal),
        cmocka_unit_test(subnets_are_compared_by_what_they_contain),
    };

    return cmocka_run_group_tests(tests, enter, leave_folder);
}
