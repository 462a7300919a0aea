/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include "mmproxy/worker/reason.h"

static void every_reason_has_one_word_of_its_own(void **state)
{
    (void)state;
    for (int i = REASON_NONE + 1; i < REASONS; i++) {
        const char *word = reason_word((enum reason)i);
        assert_non_null(word);
        assert_true(word[0] != '\0');
        assert_int_equal(strspn(word, "abcdefghijklmnopqrstuvwxyz_"), strlen(word));
        for (int j = REASON_NONE + 1; j < i; j++)
            assert_string_not_equal(word, reason_word((enum reason)j));
    }
}

/* The manual lists them all. */
static void every_reason_is_in_the_documents(void **state)
{
    static char text[256 * 1024];
    char wanted[64];

    (void)state;
    FILE *file = fopen("../../docs/logging.md", "r");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    for (int i = REASON_NONE + 1; i < REASONS; i++) {
        snprintf(wanted, sizeof wanted, "\n| `%s` |", reason_word((enum reason)i));
        if (!strstr(text, wanted))
            fail_msg("docs/logging.md says nothing about %s", reason_word((enum reason)i));
    }
}

static void an_error_of_connect_has_the_reason_of_its_kind(void **state)
{
    (void)state;
    assert_int_equal(reason_of_connect_error(ECONNREFUSED), REASON_TARGET_REFUSED);
    assert_int_equal(reason_of_connect_error(ETIMEDOUT), REASON_TARGET_TIMEOUT);
    assert_int_equal(reason_of_connect_error(EHOSTUNREACH), REASON_TARGET_UNREACHABLE);
    assert_int_equal(reason_of_connect_error(ENETUNREACH), REASON_TARGET_UNREACHABLE);
    assert_int_equal(reason_of_connect_error(ENOMEM), REASON_TARGET_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reason_has_one_word_of_its_own),
        cmocka_unit_test(every_reason_is_in_the_documents),
        cmocka_unit_test(an_error_of_connect_has_the_reason_of_its_kind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
