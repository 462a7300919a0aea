/* SPDX-License-Identifier: BSD-2-Clause */
/* Words that are quoted are read by the real shell again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "mmproxy/base/shell.h"

enum { WORD_MAX = 64 };

static void read_back(const char *word)
{
    char quoted[SHELL_QUOTED_MAX(WORD_MAX)];
    char command[sizeof quoted + 16];
    char back[sizeof quoted] = "";

    (void)snprintf(command, sizeof command, "printf %%s %s",
                   shell_quote(word, quoted, sizeof quoted));
    FILE *shell = popen(command, "r");
    assert_non_null(shell);
    (void)!fread(back, 1, sizeof back - 1, shell);
    assert_int_equal(pclose(shell), 0);
    assert_string_equal(back, word);
}

static void a_shell_reads_every_word_as_it_was(void **state)
{
    static const char *const words[] = { "",      "e;id;$(id)", "'",         "''a'",   "a b",
                                         "`id`",  "\"x\"",      "back\\",    "*",      "[a]",
                                         "~",     "#x",         "{a,b}",     "!x",     "\x1b[2J",
                                         "\xffz", "a\nb",       "&& reboot", "<x>y|z", "a'$(id)'" };
    char byte[2] = "";

    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        read_back(words[i]);
    for (int c = 1; c < 256; c++) {
        byte[0] = (char)c;
        /* The shell's own printf takes it for an option. */
        if (c != '-')
            read_back(byte);
    }
}

static void what_means_nothing_to_a_shell_stays_as_it_is(void **state)
{
    static const char *const words[] = { "eth0", "net.ipv4.conf.eth0/100.route_localnet",
                                         "veth1a2b@if3", "tailscale_0" };
    char quoted[SHELL_QUOTED_MAX(WORD_MAX)];

    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        assert_string_equal(shell_quote(words[i], quoted, sizeof quoted), words[i]);
}

/* Each is given to a real shell, behind a command that does nothing, with a line behind it. */
static void a_text_in_a_line_is_not_run(void **state)
{
    static const char *const texts[] = { "$(echo run)",
                                         "`echo run`",
                                         "a; echo run",
                                         "x | echo run",
                                         "x && echo run",
                                         "x > /dev/stdout",
                                         "\"; echo run; \"",
                                         "it's",
                                         "'",
                                         "\"",
                                         "' $(echo run) \"",
                                         "\\",
                                         "\n echo run",
                                         "\"\\\"; echo run; \"",
                                         "\" ' $(echo run) ' \"" };
    char out[128];
    char command[sizeof out + 32];
    char printed[64];

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        (void)snprintf(command, sizeof command, ": %s.\necho end",
                       shell_harmless(texts[i], out, sizeof out));
        FILE *shell = popen(command, "r");
        assert_non_null(shell);
        printed[fread(printed, 1, sizeof printed - 1, shell)] = '\0';
        assert_int_equal(pclose(shell), 0);
        assert_string_equal(printed, "end\n");
    }
    assert_string_equal(
        shell_harmless("iif \"lo\" ip saddr != { 10.0.0.0/8 } drop", out, sizeof out),
        "iif \"lo\" ip saddr != { 10.0.0.0/8 } drop");
    assert_string_equal(shell_harmless("a;;;", out, 5), "a\\;"); /* cut, but not between the two */
    assert_string_equal(shell_harmless("\"a b c\"", out, 7), "\\\"a b"); /* nor within quotes */
}

static void the_longest_word_has_room(void **state)
{
    char word[WORD_MAX + 1];
    char quoted[SHELL_QUOTED_MAX(WORD_MAX)];

    (void)state;
    memset(word, '\'', WORD_MAX);
    word[WORD_MAX] = '\0';
    assert_int_equal(strlen(shell_quote(word, quoted, sizeof quoted)), sizeof quoted - 1);
    read_back(word);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shell_reads_every_word_as_it_was),
        cmocka_unit_test(what_means_nothing_to_a_shell_stays_as_it_is),
        cmocka_unit_test(a_text_in_a_line_is_not_run),
        cmocka_unit_test(the_longest_word_has_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
