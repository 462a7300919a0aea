/* SPDX-License-Identifier: BSD-2-Clause */
#include "routing_support.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mmproxy/routing/kernel/apart.h"
#include "patience.h"

enum { LONG = 1000 * 1000, AT_ONCE_MS = 1 };

static int write_much(const void *context, FILE *out)
{
    for (int i = 0; i < LONG; i++)
        fputc(*(const char *)context, out);
    return 0;
}

static int fail_after_some_words(const void *context, FILE *out)
{
    (void)context;
    fputs("some words", out);
    return -EPERM;
}

static int die(const void *context, FILE *out)
{
    (void)context;
    (void)out;
    return raise(SIGKILL);
}

static int hang(const void *context, FILE *out)
{
    (void)context;
    (void)out;
    while (pause() < 0)
        ;
    return 0;
}

static const struct {
    apart_work *work;
    int limit_ms;
    int expected;
} works[] = {
    { write_much, SUPPORT_DEADLINE_MS, 0 },
    { fail_after_some_words, SUPPORT_DEADLINE_MS, -EPERM },
    { die, SUPPORT_DEADLINE_MS, -ECHILD },
    { hang, AT_ONCE_MS, -ETIMEDOUT },
};

static void every_end_is_reported_and_no_process_is_left(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(works); i++) {
        char *text;

        assert_int_equal(apart_run(works[i].work, "x", works[i].limit_ms, &text),
                         works[i].expected);
        assert_int_equal(text ? strspn(text, "x") : 0, works[i].expected == 0 ? LONG : 0);
        free(text);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
    }
}

/* As in a program that was started with SIGCHLD ignored. */
static void the_result_does_not_depend_on_the_end_of_the_process(void **state)
{
    char *text;

    (void)state;
    signal(SIGCHLD, SIG_IGN);
    assert_int_equal(apart_run(write_much, "y", SUPPORT_DEADLINE_MS, &text), 0);
    assert_int_equal(strspn(text, "y"), LONG);
    free(text);
    signal(SIGCHLD, SIG_DFL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_end_is_reported_and_no_process_is_left),
        cmocka_unit_test(the_result_does_not_depend_on_the_end_of_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
