/* SPDX-License-Identifier: BSD-2-Clause */
/* cmdline_check: command lines as one writes them. */
#ifndef TESTS_CMDLINE_CHECK_H
#define TESTS_CMDLINE_CHECK_H

#include "config_check.h"
#include "mmproxy/config/cmdline.h"

enum { WORDS_MAX = 32 };

static struct reported reported;
static const struct config_sink sink = { .report = remember, .context = &reported };

/* The words of a command line, cut at blanks. They live until the next call. */
static inline int parse(struct cmdline *out, const char *line)
{
    static char text[1024];
    static char *argv[WORDS_MAX];
    int argc = 0;
    char *save;

    snprintf(text, sizeof(text), "mmproxy %s", line);
    for (char *word = strtok_r(text, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        assert_in_range(argc, 0, WORDS_MAX - 2);
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    forget(&reported);
    return cmdline_parse(out, argc, argv, &sink);
}

#endif
