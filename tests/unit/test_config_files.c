/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that can't be read, files that include others, and very big ones. */
#include "config_check.h"

static struct reported reported;

static void expect_failure(const char *path, const char *expected)
{
    assert_null(load(path, &reported));
    assert_string_equal(reported.lines, expected);
}

static void what_is_no_file_is_refused_without_hanging(void **state)
{
    (void)state;
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_int_equal(mkdir("folder", 0700), 0);
    alarm(SUPPORT_HUNG_S);
    expect_failure("none.conf", "none.conf: No such file or directory\n");
    expect_failure("", ": No such file or directory\n");
    expect_failure("folder", "folder: Is a directory\n");
    expect_failure("fifo", "fifo: not a regular file\n");
    expect_failure("/dev/zero", "/dev/zero: not a regular file\n");
    write_file("t.conf", "@include \"folder\"\n");
    expect_failure("t.conf", "t.conf:1: cannot read folder: Is a directory\n");
    write_file("t.conf", "\n@include \"fifo\"\n");
    expect_failure("t.conf", "t.conf:2: cannot read fifo: not a regular file\n");
    write_file("t.conf", "@include \"/dev/zero\"\n");
    expect_failure("t.conf", "t.conf:1: cannot read /dev/zero: not a regular file\n");
    write_file("t.conf", "listeners = (" LISTENER("a", "0.0.0.0:1", "127.0.0.1:2",
                                                  "\n"
                                                  "allowed_subnet = 1;") ");");
    assert_int_equal(symlink("fifo", "a.subnets"), 0);
    expect_failure("t.conf", "t.conf:1: cannot read a.subnets: not a regular file\n"
                             "t.conf:2: unknown key \"allowed_subnet\" (did you mean "
                             "\"allowed_subnets\"?)\n");
    assert_int_equal(unlink("a.subnets"), 0);
    alarm(0);
}

static void binary_files_and_huge_ones_are_refused(void **state)
{
    FILE *file;

    (void)state;
    write_bytes("t.conf", "workers = 1;\0\n", 14);
    expect_failure("t.conf", "t.conf:1: unexpected byte 0x00\n");
    write_bytes("t.conf", "user = \"ro\0ot\";\n", 16);
    expect_failure("t.conf", "t.conf:1: there is a NUL byte in this string\n");
    write_bytes("t.conf",
                "\x7f"
                "ELF\2\1\1",
                7);
    expect_failure("t.conf", "t.conf:1: unexpected byte 0x7f\n");
    file = fopen("t.conf", "we");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), 100 * 1024 * 1024), 0);
    fclose(file);
    expect_failure("t.conf", "t.conf: File too large\n");
    assert_int_equal(unlink("t.conf"), 0);
}

static void expect_repeated(const char *piece, size_t n, const char *tail, const char *expected)
{
    char *text = repeat(piece, n, tail);

    write_file("t.conf", text);
    free(text);
    expect_failure("t.conf", expected);
}

static void files_made_to_hurt_libconfig_are_refused_quickly(void **state)
{
    (void)state;
    expect_repeated("a = (", 1, "((((((((((((((((((((((((((((((((((((((((",
                    "t.conf:1: brackets are nested more than 32 deep\n");
    expect_repeated("a:{", 1000000, "", "t.conf:1: brackets are nested more than 32 deep\n");
    expect_repeated("a=1;\n", 1000000, "", "t.conf:2: \"a\" is there twice (t.conf:1)\n");
}

static void a_group_has_a_bounded_number_of_keys(void **state)
{
    char text[4096];
    size_t used = 0;

    (void)state;
    for (int i = 1; i <= 65; i++)
        used += (size_t)sprintf(text + used, "a%d = 1;\n", i);
    write_file("t.conf", text);
    expect_failure("t.conf", "t.conf:65: more than 64 keys in one group\n");
}

static void relative_paths_start_at_the_configuration_files_folder(void **state)
{
    struct config *config;

    (void)state;
    assert_int_equal(mkdir("etc", 0700), 0);
    assert_int_equal(mkdir("etc/sub", 0700), 0);
    write_file("etc/m.conf", "listeners = (\n@include \"sub/a.inc\"\n );");
    /* An included file's paths too are relative to the configuration file. */
    write_file("etc/sub/a.inc", LISTENER("a", "0.0.0.0:1", "127.0.0.1:2", "") "\n");
    write_file("etc/a.subnets", "10.0.0.0/8\n");
    config = load("etc/m.conf", &reported);
    assert_string_equal(reported.lines, "");
    assert_non_null(config);
    assert_string_equal(config->path, "etc/m.conf");
    assert_int_equal(config->n_listeners, 1);
    assert_int_equal(config->listeners[0].line, 1);
    config_free(config);

    write_file("etc/a.subnets", "10.0.0.0/8\n10.0.0.0/33\n");
    expect_failure("etc/m.conf", "etc/a.subnets:2: \"10.0.0.0/33\": prefix length is not a number "
                                 "from 0 to 32\n");
    assert_int_equal(unlink("etc/a.subnets"), 0);
    expect_failure("etc/m.conf",
                   "etc/sub/a.inc:1: cannot read etc/a.subnets: No such file or directory\n");
}

static void absolute_paths_are_taken_as_they_are(void **state)
{
    char text[512];
    struct config *config;

    (void)state;
    write_file("b.subnets", "10.0.0.0/8\n");
    snprintf(text, sizeof(text), "defaults: { allowed_subnets = \"%s/b.subnets\" };\n", folder);
    write_file("b.inc", text);
    snprintf(text, sizeof(text),
             "@include \"%s/b.inc\"\nlisteners = ( { name = \"a\"; listen = \"0.0.0.0:1\"; "
             "target_v4 = \"127.0.0.1:2\" } );",
             folder);
    write_file("etc/m.conf", text);
    config = load("etc/m.conf", &reported);
    assert_string_equal(reported.lines, "");
    assert_non_null(config);
    config_free(config);
}

static void mistakes_in_included_files_name_them(void **state)
{
    (void)state;
    write_file("t.conf", "workers = 0;\n  @include \"a.inc\" wrokers = 1;\nsandbx = true;\n"
                         "@include\t\"b.inc\"\nuser = 5;\n");
    write_file("a.inc", "\nlog: {\n levl = 1;\n};\n@include \"b\\\"2.inc\"");
    write_file("b\"2.inc", "routng = 1;");
    write_file("b.inc", "");
    expect_failure("t.conf", "a.inc:3: unknown key \"levl\" (did you mean \"level\"?)\n"
                             "b\"2.inc:1: unknown key \"routng\" (did you mean \"routing\"?)\n"
                             "t.conf:2: unknown key \"wrokers\" (did you mean \"workers\"?)\n"
                             "t.conf:3: unknown key \"sandbx\" (did you mean \"sandbox\"?)\n"
                             "t.conf:5: \"user\" must be the name of a user, not a number\n");
    write_file("b.inc", "\n\ndrain_timeout 5;");
    expect_failure("t.conf", "b.inc:3: \"=\" is missing behind \"drain_timeout\"\n");
    write_file("b.inc", "\nsandbox = ( {\n");
    expect_failure("t.conf", "b.inc:2: this \"{\" is never closed\n");
}

static void includes_have_an_end(void **state)
{
    (void)state;
    write_file("t.conf", "@include \"t.conf\"\n");
    expect_failure("t.conf",
                   "t.conf:1: too many @include files, or files that include themselves\n");
    write_file("t.conf", "\n@include \"none\"\n");
    expect_failure("t.conf", "t.conf:2: cannot read none: No such file or directory\n");
}

#define INCLUDING(EXTRA) "include_dir = \"m.d\";\n" EXTRA

static void make_folder(void)
{
    write_file("a.subnets", "10.0.0.0/8\n");
    assert_int_equal(mkdir("m.d", 0700), 0);
    write_file("m.d/b.conf", "\nlisteners = (" LISTENER("b", "0.0.0.0:2", "127.0.0.1:9", "") ");");
    write_file("m.d/a.conf",
               "listeners = (" LISTENER("a1", "0.0.0.0:3", "127.0.0.1:9", "") ",\n" LISTENER(
                   "a2", "0.0.0.0:4", "127.0.0.1:9", "mark = 7;") ");\n");
    write_file("m.d/.hidden.conf", "nonsense");
    write_file("m.d/a.conf~", "nonsense");
    write_file("m.d/a.config", "nonsense");
    write_file("m.d/.conf", "nonsense");
    write_file("m.d/0.conf", "");
}

static int clear_folder(void **state)
{
    (void)state;
    return nftw("m.d", remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void a_folders_files_add_their_listeners_in_the_order_of_names(void **state)
{
    static const char *const names[] = { "main", "a1", "a2", "b" };
    struct config *config;

    (void)state;
    make_folder();
    config = load_good("defaults: { backlog = 5; table = 100; };\n" INCLUDING(
        "listeners = (" LISTENER("main", "0.0.0.0:1", "127.0.0.1:9", "") ");"));
    assert_int_equal(config->n_listeners, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(config->listeners[i].name, names[i]);
        assert_int_equal(config->listeners[i].backlog, 5);
        assert_ptr_equal(config->listeners[i].allowed, config->listeners[0].allowed);
    }
    assert_string_equal(config->listeners[0].file, "t.conf");
    assert_string_equal(config->listeners[2].file, "m.d/a.conf");
    assert_int_equal(config->listeners[2].line, 2);
    assert_string_equal(config->listeners[3].file, "m.d/b.conf");
    assert_int_equal(config->listeners[3].line, 2);
    config_free(config);
    config = load_good(INCLUDING(""));
    assert_int_equal(config->n_listeners, 3);
    config_free(config);
}

static void mistakes_in_a_folders_files_name_them(void **state)
{
    static const struct mistake_case cases[] = {
        { "collisions name both places",
          INCLUDING("listeners = (\n" LISTENER("b", "127.0.0.1:3", "127.0.0.1:9", "") ");"),
          "m.d/a.conf:1: \"listen\" has 0.0.0.0:3, which overlaps 127.0.0.1:3 (t.conf:3)\n"
          "m.d/b.conf:2: name \"b\" is already taken (t.conf:3)\n" },
    };

    (void)state;
    make_folder();
    CHECK_MISTAKES(cases);
    write_file("m.d/b.conf", "workers = 1;\nlisteners = (\n { traget_v4 = 1 } );\ndefaults: { };\n"
                             "level = 5;\nlistner = 1;\n");
    expect_failure("t.conf",
                   "m.d/a.conf:1: \"listen\" has 0.0.0.0:3, which overlaps 127.0.0.1:3 (t.conf:3)\n"
                   "m.d/b.conf:1: unknown key \"workers\" here (it belongs in the main file)\n"
                   "m.d/b.conf:3: unknown key \"traget_v4\" (did you mean \"target_v4\"?)\n"
                   "m.d/b.conf:3: this listener needs the key \"name\"\n"
                   "m.d/b.conf:3: this listener needs the key \"listen\"\n"
                   "m.d/b.conf:3: this listener needs the key \"allowed_subnets\"\n"
                   "m.d/b.conf:3: this listener needs a target: the key \"target_v4\" or "
                   "\"target_v6\"\n"
                   "m.d/b.conf:4: unknown key \"defaults\" here (it belongs in the main file)\n"
                   "m.d/b.conf:5: unknown key \"level\" here (it belongs in \"log\")\n"
                   "m.d/b.conf:6: unknown key \"listner\" (did you mean \"listeners\"?)\n");
    /* A bracket of one file can't close another's. */
    write_file("m.d/a.conf", "listeners = (\n");
    expect_failure("t.conf", "m.d/a.conf:1: this \"(\" is never closed\n");
    write_file("m.d/a.conf", "\n} );\n");
    expect_failure("t.conf", "m.d/a.conf:2: \"}\" closes nothing\n");
    write_file("m.d/a.conf", "listeners = ( { name = \"a\n");
    expect_failure("t.conf", "m.d/a.conf:1: this string is not closed: the quote opened here has "
                             "no end in this line\n");
}

static void what_a_folder_can_be_instead_of_readable(void **state)
{
    struct config *config;

    (void)state;
    write_file("t.conf", INCLUDING(""));
    config = load("t.conf", &reported);
    assert_string_equal(reported.lines, "W t.conf:1: there is no m.d: nothing is included\n");
    assert_non_null(config);
    config_free(config);
    write_file("m.d", "");
    expect_failure("t.conf", "t.conf:1: cannot read m.d: Not a directory\n");
    assert_int_equal(unlink("m.d"), 0);
    make_folder();
    assert_int_equal(mkdir("m.d/c.conf", 0700), 0);
    expect_failure("t.conf", "t.conf:1: cannot read m.d/c.conf: Is a directory\n");
    assert_int_equal(rmdir("m.d/c.conf"), 0);
    assert_int_equal(symlink("nowhere", "m.d/c.conf"), 0);
    expect_failure("t.conf", "t.conf:1: cannot read m.d/c.conf: No such file or directory\n");
    write_file("t.conf", "\ninclude_dir = 5;\n");
    expect_failure("t.conf", "t.conf:2: \"include_dir\" must be a path, not a number\n");
    write_file("t.conf", "\ninclude_dir = \"\";\n");
    expect_failure("t.conf", "t.conf:2: \"include_dir\" must be a path, not empty\n");
    write_file("t.conf", "\"*\" = 5;\n* = 5;\n");
    expect_failure("t.conf", "t.conf:1: a string can't stand here: a key is missing in front of "
                             "it, or the key is in quotes\n");
    write_file("t.conf", "\n* = 5;\n");
    expect_failure("t.conf", "t.conf:2: unexpected \"*\"\n");
}

/* n listeners in the main file and as many in another. */
static void write_listeners(unsigned n)
{
    for (unsigned file = 0; file < 2; file++) {
        FILE *out = fopen(file == 0 ? "t.conf" : "m.d/a.conf", "we");

        assert_non_null(out);
        fputs(file == 0 ? "include_dir = \"m.d\";\nlisteners = (" : "listeners = (", out);
        for (unsigned i = 0; i < n; i++)
            fprintf(out,
                    "%s{ name = \"n%u-%u\"; listen = \"127.0.%u.%u:%u\"; allowed_subnets = "
                    "\"a.subnets\"; target_v4 = \"127.0.0.1:22\"; }\n",
                    i == 0 ? "" : ",", file, i, i / 250, i % 250 + 1, 1000 + file);
        fputs(");", out);
        fclose(out);
    }
}

static void there_may_be_ten_thousand_listeners_in_all_files_together(void **state)
{
    struct config *config;

    (void)state;
    make_folder();
    assert_int_equal(unlink("m.d/b.conf"), 0);
    write_listeners(5000);
    config = load("t.conf", &reported);
    assert_string_equal(reported.lines, "");
    assert_non_null(config);
    assert_int_equal(config->n_listeners, CONFIG_LISTENERS_MAX);
    config_free(config);
    write_listeners(5001);
    expect_failure("t.conf", "m.d/a.conf:1: there may be at most 10000 listeners, not 10002\n");
}

static void load_listeners(unsigned n)
{
    FILE *file = fopen("t.conf", "we");
    struct config *config;

    assert_non_null(file);
    fputs("listeners = (", file);
    for (unsigned i = 0; i < n; i++)
        fprintf(file,
                "%s{ name = \"n%u\"; listen = [ \"0.0.0.0:%u\", \"[::]:%u\" ]; allowed_subnets = "
                "\"%sa.subnets\"; target_v4 = \"127.0.0.1:22\"; mark = %u; table = %u; }\n",
                i == 0 ? "" : ",", i, 10000 + i, 10000 + i, i % 2 == 0 ? "./" : "", 1000 + i,
                1000 + i);
    fputs(");", file);
    fclose(file);
    config = load("t.conf", &reported);
    assert_string_equal(reported.lines, "");
    assert_non_null(config);
    assert_int_equal(config->n_listeners, n);
    assert_int_equal(config->n_subnets, 2);
    config_free(config);
}

static void two_thousand_listeners_cost_no_more_than_their_number(void **state)
{
    (void)state;
    write_file("a.subnets", "10.0.0.0/8\n");
    support_assert_linear(load_listeners, 2000 / 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_file_is_refused_without_hanging),
        cmocka_unit_test(binary_files_and_huge_ones_are_refused),
        cmocka_unit_test(files_made_to_hurt_libconfig_are_refused_quickly),
        cmocka_unit_test(a_group_has_a_bounded_number_of_keys),
        cmocka_unit_test(relative_paths_start_at_the_configuration_files_folder),
        cmocka_unit_test(absolute_paths_are_taken_as_they_are),
        cmocka_unit_test(mistakes_in_included_files_name_them),
        cmocka_unit_test(includes_have_an_end),
        cmocka_unit_test_teardown(a_folders_files_add_their_listeners_in_the_order_of_names,
                                  clear_folder),
        cmocka_unit_test_teardown(mistakes_in_a_folders_files_name_them, clear_folder),
        cmocka_unit_test_teardown(what_a_folder_can_be_instead_of_readable, clear_folder),
        cmocka_unit_test_teardown(there_may_be_ten_thousand_listeners_in_all_files_together,
                                  clear_folder),
        cmocka_unit_test(two_thousand_listeners_cost_no_more_than_their_number),
    };

    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
