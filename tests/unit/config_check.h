/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config_check: a temporary folder to write configurations into, and a sink that remembers
 * what was reported. Tests run inside of that folder, so messages have short paths.
 */
#ifndef TESTS_CONFIG_CHECK_H
#define TESTS_CONFIG_CHECK_H

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* After those that it needs. */
#include <cmocka.h>

#include "mmproxy/config/config.h"
#include "patience.h"

static char folder[] = "/tmp/mmproxy-test-XXXXXX";
static char started_in[PATH_MAX];

static inline int enter_folder(void **state)
{
    (void)state;
    assert_non_null(getcwd(started_in, sizeof(started_in)));
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    return 0;
}

static inline int remove_one(const char *path, const struct stat *status, int type,
                             struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline int leave_folder(void **state)
{
    (void)state;
    assert_int_equal(chdir("/"), 0);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void write_bytes(const char *path, const char *bytes, size_t len)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static inline void write_file(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

/* Every line is followed by a newline; warnings start with "W ". */
struct reported {
    char lines[64 * 1024];
    size_t len;
};

static inline void remember(void *context, bool is_error, const char *line)
{
    struct reported *reported = context;
    int n = snprintf(reported->lines + reported->len, sizeof(reported->lines) - reported->len,
                     "%s%s\n", is_error ? "" : "W ", line);

    assert_in_range(n, 1, sizeof(reported->lines) - reported->len - 1);
    reported->len += (size_t)n;
}

static inline void forget(struct reported *reported)
{
    reported->len = 0;
    reported->lines[0] = '\0';
}

static inline struct config *load(const char *path, struct reported *reported)
{
    struct config_sink sink = { .report = remember, .context = reported };

    forget(reported);
    return config_load(path, &sink);
}

static inline struct config *load_text(const char *text, struct reported *reported)
{
    write_file("t.conf", text);
    return load("t.conf", reported);
}

/* A configuration that must load without a word. */
static inline struct config *load_good(const char *text)
{
    static struct reported reported;
    struct config *config = load_text(text, &reported);

    assert_string_equal(reported.lines, "");
    assert_non_null(config);
    return config;
}

/* piece n times, and tail; to be freed. */
static inline char *repeat(const char *piece, size_t n, const char *tail)
{
    size_t len = strlen(piece);
    char *text = malloc(len * n + strlen(tail) + 1);

    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        memcpy(text + i * len, piece, len);
    memcpy(text + len * n, tail, strlen(tail) + 1);
    return text;
}

/* A listener that needs nothing more. EXTRA goes inside of it, behind the other keys. */
#define LISTENER(NAME, LISTEN, TARGET, EXTRA)   \
    "{ name = \"" NAME "\"; listen = \"" LISTEN \
    "\"; allowed_subnets = \"a.subnets\"; target_v4 = \"" TARGET "\"; " EXTRA " }"
#define ONE(EXTRA) "listeners = (\n" LISTENER("ssh", "0.0.0.0:2222", "127.0.0.1:22", EXTRA) ");\n"

/* Files with mistakes, and every line that is to be reported. */
struct mistake_case {
    const char *name;
    const char *text;
    const char *expected;
};

static inline void check_mistakes(const struct mistake_case *cases, size_t n)
{
    static struct reported reported;

    for (size_t i = 0; i < n; i++) {
        struct config *config = load_text(cases[i].text, &reported);

        if (config != NULL)
            print_error("accepted: %s\n", cases[i].name);
        assert_null(config);
        if (strcmp(reported.lines, cases[i].expected) != 0)
            print_error("wrong lines: %s\n", cases[i].name);
        assert_string_equal(reported.lines, cases[i].expected);
    }
}

#define CHECK_MISTAKES(cases) check_mistakes(cases, sizeof(cases) / sizeof((cases)[0]))

#endif
