/* SPDX-License-Identifier: BSD-2-Clause */
/* The files in etc/ do what their comments say. */
#include "config_check.h"

static struct reported reported;

/* Reads ../../etc/NAME, seen from where the tests are started. */
static char *read_shipped(const char *name)
{
    char path[PATH_MAX + 64];
    char *text = calloc(1, 64 * 1024);
    FILE *file;

    snprintf(path, sizeof(path), "%s/../../etc/%s", started_in, name);
    file = fopen(path, "re");
    assert_non_null(text);
    assert_non_null(file);
    assert_in_range(fread(text, 1, 64 * 1024 - 1, file), 1, 64 * 1024 - 2);
    fclose(file);
    return text;
}

static void install(const char *name, const char *path)
{
    char *text = read_shipped(name);

    write_file(path, text);
    free(text);
}

/* Removes the # of every line that starts with one. */
static void uncomment(char *text)
{
    char *to = text;
    bool is_line_start = true;

    for (const char *from = text; *from != '\0'; from++) {
        if (!(is_line_start && *from == '#'))
            *to++ = *from;
        is_line_start = *from == '\n';
    }
    *to = '\0';
}

static void expect_no_listener(const char *path, const char *settings)
{
    struct config *expected = load_good(settings);
    struct config *config = load(path, &reported);

    assert_string_equal(reported.lines, "");
    assert_non_null(config);
    assert_int_equal(config->n_listeners, 0);
    assert_true(config_equal(config, expected));
    config_free(config);
    config_free(expected);
}

static void the_shipped_configuration_includes_the_folder_and_has_no_listener(void **state)
{
    (void)state;
    install("mmproxy.conf", "mmproxy.conf");
    expect_no_listener("mmproxy.conf", "routing = \"managed\"; include_dir = \"mmproxy.d\";");
}

/* What its comment shows works as it is written. */
static void the_listener_in_the_shipped_configurations_comment_works(void **state)
{
    char *text = read_shipped("mmproxy.conf");
    char *first = strstr(text, "//     listeners = (");
    char *last = strstr(text, "//     );");
    struct config *config;

    (void)state;
    assert_non_null(first);
    assert_non_null(last);
    last[strlen("//     );")] = '\0';
    char *at = first;
    do
        memset(at[0] == '\n' ? at + 1 : at, ' ', 2);
    while ((at = strstr(at, "\n//")));
    write_file("mmproxy.d/ssh.conf", first);
    free(text);
    config = load("mmproxy.conf", &reported);
    assert_string_equal(reported.lines, "");
    assert_non_null(config);
    assert_int_equal(config->n_listeners, 1);
    assert_string_equal(config->listeners[0].name, "ssh");
    assert_string_equal(config->listeners[0].file, "mmproxy.d/ssh.conf");
    config_free(config);
    assert_int_equal(unlink("mmproxy.d/ssh.conf"), 0);
}

static void the_sample_asks_for_nothing(void **state)
{
    (void)state;
    install("examples/mmproxy.conf", "sample.conf");
    expect_no_listener("sample.conf", "");
}

static void drop(char *text, const char *setting)
{
    char *line = strstr(text, setting);

    assert_non_null(line);
    memset(line, ' ', strlen(setting));
}

static void its_commented_settings_are_the_defaults_and_its_example_works(void **state)
{
    char *text = read_shipped("examples/mmproxy.conf");
    struct config *defaults = load_good("");
    struct config *config;

    (void)state;
    uncomment(text);
    drop(text, "user = \"_mmproxy\";"); /* who may not exist where the test runs */
    drop(text, "include_dir = \"mmproxy.d\";");
    drop(text, "metrics = \"127.0.0.1:9109\";");
    drop(text, "control_group = \"adm\";");
    write_file("sample.conf", text);
    free(text);
    config = load("sample.conf", &reported);
    assert_string_equal(reported.lines, "");
    assert_non_null(config);
    assert_int_equal(config->n_listeners, 2);
    assert_string_equal(config->listeners[0].name, "ssh");
    assert_int_equal(config->listeners[0].n_listen, 2);
    assert_true(addr_is_set(&config->listeners[0].target_v6.addr));
    assert_int_equal(config->listeners[1].max_sessions_per_client, 20);
    config->n_listeners = 0;
    assert_true(config_equal(config, defaults));
    config->n_listeners = 2;
    config_free(config);
    config_free(defaults);
}

static void the_defaults_it_shows_are_those_of_the_tables(void **state)
{
    char *text = read_shipped("examples/mmproxy.conf");
    struct config_key key;
    char line[256];

    (void)state;
    uncomment(text);
    for (size_t i = 0; config_key(i, &key); i++) {
        bool is_string = strcmp(key.type, "string") == 0;

        if (key.fallback == NULL)
            snprintf(line, sizeof(line), "%s", key.name);
        else
            snprintf(line, sizeof(line), "%s = %s%s%s;", key.name, is_string ? "\"" : "",
                     key.fallback, is_string ? "\"" : "");
        if (strstr(text, line) == NULL)
            print_error("not in the sample: %s\n", line);
        assert_non_null(strstr(text, line));
    }
    free(text);
}

static void check_subnets(const char *path, const char *inside, const char *outside)
{
    char text[512];
    struct config *config;
    struct addr addr;

    snprintf(text, sizeof(text),
             "listeners = ( { name = \"a\"; listen = \"0.0.0.0:1\"; target_v4 = \"127.0.0.1:2\"; "
             "allowed_subnets = \"%s\" } );",
             path);
    config = load_good(text);
    assert_null(addr_parse_host(&addr, inside));
    assert_true(subnets_contain(config->listeners[0].allowed, &addr));
    assert_null(addr_parse_host(&addr, outside));
    assert_false(subnets_contain(config->listeners[0].allowed, &addr));
    config_free(config);
}

static void the_shipped_subnets_files_load_without_a_word(void **state)
{
    (void)state;
    check_subnets("mmproxy/example.subnets", "192.0.2.10", "192.0.2.11");
    check_subnets("mmproxy/example.subnets", "2001:db8::10", "2001:db8::11");
    check_subnets("mmproxy/cloudflare.subnets", "172.68.136.1", "172.72.0.1");
    check_subnets("mmproxy/cloudflare.subnets", "2606:4700::1", "2606:4701::1");
}

static int enter(void **state)
{
    enter_folder(state);
    assert_int_equal(mkdir("mmproxy", 0700), 0);
    assert_int_equal(mkdir("mmproxy.d", 0700), 0);
    install("example.subnets", "mmproxy/example.subnets");
    install("cloudflare.subnets", "mmproxy/cloudflare.subnets");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_configuration_includes_the_folder_and_has_no_listener),
        cmocka_unit_test(the_listener_in_the_shipped_configurations_comment_works),
        cmocka_unit_test(the_sample_asks_for_nothing),
        cmocka_unit_test(its_commented_settings_are_the_defaults_and_its_example_works),
        cmocka_unit_test(the_defaults_it_shows_are_those_of_the_tables),
        cmocka_unit_test(the_shipped_subnets_files_load_without_a_word),
    };

    return cmocka_run_group_tests(tests, enter, leave_folder);
}
