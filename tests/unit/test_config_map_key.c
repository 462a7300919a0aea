/* SPDX-License-Identifier: BSD-2-Clause */
/* map_key: a file that nobody else can read, made once, and not lost while mmproxy runs. */
#include <fcntl.h>

#include "config_check.h"

static const char key_bytes[] = "0123456789abcdef0123456789abcdef"
                                "0123456789abcdef0123456789abcdef";

static struct reported reported;
static char path[64];

static struct config *load_with(const char *file)
{
    char text[512];

    snprintf(text, sizeof text,
             "listeners = ( { name = \"a\"; listen = \"192.0.2.1:1\";\n"
             "allowed_subnets = \"a.subnets\"; target_v4 = \"127.0.0.1:1\";\n"
             "map_v6 = \"240.0.0.0/4\"; map_key = \"%s\"; } );",
             file);
    return load_text(text, &reported);
}

static bool complete(struct config *config, const struct config *in_use)
{
    const struct config_sink sink = { .report = remember, .context = &reported };

    forget(&reported);
    return config_complete_map_keys(config, in_use, &sink);
}

static void write_key_file(size_t len)
{
    write_bytes(path, key_bytes, len);
    assert_int_equal(chmod(path, 0600), 0);
}

static int forget_files(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/map.key", folder);
    (void)unlink(path);
    (void)rmdir(path);
    (void)unlink("other.key");
    forget(&reported);
    return 0;
}

static void assert_refused(const char *reason)
{
    char expected[512];

    assert_null(load_with(path));
    snprintf(expected, sizeof expected, "t.conf:3: \"map_key\" is \"%s\": %s\n", path, reason);
    assert_string_equal(reported.lines, expected);
}

static void reading_makes_no_key_and_a_start_does(void **state)
{
    char inside[80];
    struct stat status;
    struct config *config;
    struct config *again;

    (void)state;
    snprintf(inside, sizeof inside, "%s/state/map.key", folder);
    config = load_with(inside);
    assert_string_equal(reported.lines, "");
    assert_false(config->listeners[0].has_map_secret);
    assert_int_equal(access(inside, F_OK), -1);
    assert_true(complete(config, NULL));
    assert_string_equal(reported.lines, "");
    assert_true(config->listeners[0].has_map_secret);
    assert_int_equal(stat(inside, &status), 0);
    assert_int_equal(status.st_size, 32);
    assert_int_equal(status.st_mode & 07777, 0600);
    again = load_with(inside);
    assert_true(config_equal(config, again));
    config_free(again);
    config_free(config);
}

static void another_length_is_a_mistake(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 64; len += 31) {
        write_key_file(len);
        assert_refused("it must be a file of 32 bytes");
    }
}

static void a_key_that_others_can_read_is_refused_with_the_command(void **state)
{
    static const mode_t modes[] = { 0644, 0640, 0620, 0604, 0601, 0777 };
    char reason[256];

    (void)state;
    write_key_file(32);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        snprintf(reason, sizeof reason, "its mode is %04o, so that others can use it: chmod 600 %s",
                 (unsigned)modes[i], path);
        assert_refused(reason);
    }
    assert_int_equal(chmod(path, 0400), 0);
    config_free(load_with(path));
    assert_string_equal(reported.lines, "");
}

static void a_key_of_another_user_is_refused_with_the_command(void **state)
{
    char reason[256];

    (void)state;
    if (geteuid() != 0)
        return; /* only root gives files away; the suite runs as root, too */
    write_key_file(32);
    assert_int_equal(chown(path, 65534, 65534), 0);
    snprintf(reason, sizeof reason,
             "it belongs to user 65534, not to the user that mmproxy runs as: chown 0 %s", path);
    assert_refused(reason);
}

static void what_is_no_file_does_not_hang_a_start(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused("it must be a file of 32 bytes");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_refused("it must be a file of 32 bytes");
}

static void of_a_symbolic_link_the_file_behind_it_counts(void **state)
{
    struct config *config;

    (void)state;
    assert_int_equal(symlink("other.key", path), 0);
    write_bytes("other.key", key_bytes, 32);
    assert_int_equal(chmod("other.key", 0644), 0);
    assert_null(load_with(path));
    assert_non_null(strstr(reported.lines, "its mode is 0644"));
    assert_int_equal(chmod("other.key", 0600), 0);
    config_free(load_with(path));
    assert_string_equal(reported.lines, "");

    assert_int_equal(unlink("other.key"), 0);
    config = load_with(path);
    assert_false(complete(config, NULL));
    assert_non_null(
        strstr(reported.lines, "it is a symbolic link that leads nowhere, or is gone again"));
    config_free(config);
}

static void a_key_that_was_deleted_is_written_back(void **state)
{
    struct config *in_use;
    struct config *config;
    char bytes[33];
    char expected[512];

    (void)state;
    write_key_file(32);
    in_use = load_with(path);
    assert_int_equal(unlink(path), 0);
    config = load_with(path);
    assert_true(complete(config, in_use));
    snprintf(
        expected, sizeof expected,
        "W t.conf:1: \"map_key\" is \"%s\": it was deleted; the key in use has been written back\n",
        path);
    assert_string_equal(reported.lines, expected);
    assert_true(config_equal(config, in_use));
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, sizeof bytes, file), 32);
    fclose(file);
    assert_memory_equal(bytes, key_bytes, 32);
    /* Before another binary takes over, which only knows the file. */
    assert_int_equal(unlink(path), 0);
    assert_true(complete(in_use, in_use));
    assert_int_equal(access(path, F_OK), 0);
    config_free(config);
    config_free(in_use);
}

static void a_key_that_can_t_be_written_back_is_still_used(void **state)
{
    struct config *in_use;
    struct config *config;

    (void)state;
    write_key_file(32);
    in_use = load_with(path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("nowhere/other.key", path), 0);
    config = load_with(path);
    assert_true(complete(config, in_use));
    assert_non_null(
        strstr(reported.lines, "it is gone, and mapped addresses will change at the next start: "));
    assert_true(config_equal(config, in_use));
    config_free(config);
    config_free(in_use);
}

static void a_new_key_in_the_file_is_a_new_key(void **state)
{
    struct config *in_use;
    struct config *config;

    (void)state;
    write_key_file(32);
    in_use = load_with(path);
    write_bytes(path, key_bytes + 1, 32);
    config = load_with(path);
    assert_true(complete(config, in_use));
    assert_string_equal(reported.lines, "");
    assert_false(config_equal(config, in_use));
    config_free(config);
    config_free(in_use);
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
        cmocka_unit_test_setup(reading_makes_no_key_and_a_start_does, forget_files),
        cmocka_unit_test_setup(another_length_is_a_mistake, forget_files),
        cmocka_unit_test_setup(a_key_that_others_can_read_is_refused_with_the_command,
                               forget_files),
        cmocka_unit_test_setup(a_key_of_another_user_is_refused_with_the_command, forget_files),
        cmocka_unit_test_setup(what_is_no_file_does_not_hang_a_start, forget_files),
        cmocka_unit_test_setup(of_a_symbolic_link_the_file_behind_it_counts, forget_files),
        cmocka_unit_test_setup(a_key_that_was_deleted_is_written_back, forget_files),
        cmocka_unit_test_setup(a_key_that_can_t_be_written_back_is_still_used, forget_files),
        cmocka_unit_test_setup(a_new_key_in_the_file_is_a_new_key, forget_files),
    };

    return cmocka_run_group_tests(tests, enter, leave_folder);
}
