/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The manual and the completion have every option and every key that the code has, with its
 * default and range, and none besides.
 */
#include <ctype.h>
#include <regex.h>

#include "config_check.h"
#include "mmproxy/config/cmdline.h"

static char *read_source(const char *name)
{
    char path[PATH_MAX + 64];
    char *text = calloc(1, 64 * 1024);
    FILE *file;

    snprintf(path, sizeof(path), "%s/../../%s", started_in, name);
    file = fopen(path, "re");
    assert_non_null(text);
    assert_non_null(file);
    assert_in_range(fread(text, 1, 64 * 1024 - 1, file), 1, 64 * 1024 - 2);
    fclose(file);
    return text;
}

/* Does word stand in text, with nothing around it that belongs to a longer word? */
static bool has_word(const char *text, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = text; (at = strstr(at, word)) != NULL; at++) {
        bool starts = at == text || (!isalnum((unsigned char)at[-1]) && at[-1] != '_');
        char after = at[len];

        if (starts && !isalnum((unsigned char)after) && after != '_' && after != '-')
            return true;
    }
    return false;
}

static void check_word(const char *text, const char *word, const char *owner)
{
    if (!has_word(text, word))
        print_error("the manual does not say %s of %s\n", word, owner);
    assert_true(has_word(text, word));
}

/* Calls visit with every match's first group, in order. */
static void for_each_match(const char *text, const char *pattern,
                           void (*visit)(const char *match, void *context), void *context)
{
    regex_t regex;
    regmatch_t groups[2];
    unsigned n = 0;

    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NEWLINE), 0);
    for (; regexec(&regex, text, 2, groups, 0) == 0; n++) {
        char match[128];

        snprintf(match, sizeof(match), "%.*s", (int)(groups[1].rm_eo - groups[1].rm_so),
                 text + groups[1].rm_so);
        visit(match, context);
        text += groups[1].rm_eo;
    }
    regfree(&regex);
    assert_true(n > 0);
}

/* ---- options -------------------------------------------------------------------------- */

static void must_be_a_word_of(const char *match, void *context)
{
    check_word(context, match, "the options");
}

/* "-x" or "--word", as the page writes it: "Fl x" or "Fl -word". */
static void must_be_an_item_of_the_page(const char *match, void *context)
{
    char item[160];

    snprintf(item, sizeof(item), "Fl %s", match[0] == '-' ? match + 1 : match);
    check_word(context, item, "the options");
}

/* Lines of the page that describe options, and nothing else of it. */
static void append_line(const char *match, void *context)
{
    strcat(context, match);
    strcat(context, "\n");
}

static char *option_items(const char *page)
{
    char *items = calloc(1, strlen(page) + 1);

    assert_non_null(items);
    for_each_match(page, "^(\\.It Fl .*)$", append_line, items);
    return items;
}

static void add_dashes(const char *match, void *context)
{
    sprintf((char *)context + strlen(context), " --%s", match);
}

static void add_letter(const char *match, void *context)
{
    sprintf((char *)context + strlen(context), " -%s", match);
}

/* All options of the table in src/config/cmdline.c, each as it is written. */
static char *options_of_the_code(void)
{
    char *source = read_source("src/config/cmdline.c");
    char *options = calloc(1, 4096);

    assert_non_null(options);
    for_each_match(source, "\\{ \"([a-z0-9-]+)\", [a-z]+_argument,", add_dashes, options);
    for_each_match(source, "_argument, NULL, '(.)' \\}", add_letter, options);
    free(source);
    strcat(options, " ");
    return options;
}

static void the_page_and_the_help_have_every_option(void **state)
{
    char *options = options_of_the_code();
    char *page = read_source("docs/man/mmproxy.8");
    char *items = option_items(page);
    char *help = strdup(cmdline_help());

    (void)state;
    for_each_match(options, " (-[^ ]+)", must_be_an_item_of_the_page, items);
    for_each_match(options, " (-[^ ]+)", must_be_a_word_of, help);
    free(help);
    free(items);
    free(page);
    free(options);
}

static void must_be_an_option(const char *match, void *context)
{
    char written[160];

    snprintf(written, sizeof(written), " -%s ",
             match[0] == '-' && match[1] == '-' ? match + 1 : match);
    if (strstr(context, written) == NULL)
        print_error("the code has no option%s\n", written);
    assert_non_null(strstr(context, written));
}

static void the_page_and_the_help_have_no_other_option(void **state)
{
    char *options = options_of_the_code();
    char *page = read_source("docs/man/mmproxy.8");
    char *items = option_items(page);

    (void)state;
    for_each_match(items, "Fl (-?[a-zA-Z0-9-]+)", must_be_an_option, options);
    for_each_match(cmdline_help(), "(--[a-z][a-z0-9-]+)", must_be_an_option, options);
    for_each_match(cmdline_help(), "^ *-([a-zA-Z0-9]),", must_be_an_option, options);
    free(items);
    free(page);
    free(options);
}

static void the_completion_has_every_option_and_no_other(void **state)
{
    char *options = options_of_the_code();
    char *completion = read_source("etc/bash-completion/mmproxy");

    (void)state;
    for_each_match(options, " (-[^ ]+)", must_be_a_word_of, completion);
    for_each_match(completion, "(--[a-z][a-z0-9-]+)", must_be_an_option, options);
    free(completion);
    free(options);
}

/* ---- keys ----------------------------------------------------------------------------- */

struct part {
    char section[16]; /* as config_key has it */
    const char *heading;
};

static struct part parts[] = {
    { "", ".Sh THE WHOLE SERVICE\n" },
    { "log", ".Sh LOG\n" },
    { "listeners", ".Sh LISTENERS\n" },
};

/* The text of one section of the page, from its heading to the next; to be freed. */
static char *part_of(const char *page, const char *section)
{
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        const char *from;
        const char *to;

        if (strcmp(parts[i].section, section) != 0)
            continue;
        from = strstr(page, parts[i].heading);
        assert_non_null(from);
        to = strstr(from + 1, "\n.Sh ");
        assert_non_null(to);
        return strndup(from, (size_t)(to - from));
    }
    fail_msg("no part of the page is for section \"%s\"", section);
    return NULL;
}

/* What the page says of a key: behind its last item line, up to the next; to be freed. */
static char *item_of(const char *part, const char *name)
{
    char start[160];
    const char *from = NULL;
    const char *to;

    snprintf(start, sizeof(start), "\n.It Ic %s No = ", name);
    for (const char *at = part; (at = strstr(at, start)) != NULL; at++)
        from = at + 1;
    if (from == NULL) {
        fail_msg("the manual has no key %s", name);
        return NULL;
    }
    to = strstr(from, "\n.It Ic ");
    return to != NULL ? strndup(from, (size_t)(to - from)) : strdup(from);
}

static void check_range(const char *item, const struct config_key *key)
{
    char word[128];

    if (strchr(key->range, '"') != NULL) {
        for (const char *at = key->range; (at = strchr(at, '"')) != NULL; at++) {
            snprintf(word, sizeof(word), "%.*s", (int)strcspn(at + 1, "\""), at + 1);
            check_word(item, word, key->name);
            at = strchr(at + 1, '"');
        }
    } else if (key->range[0] != '\0') {
        snprintf(word, sizeof(word), "%s", strrchr(key->range, ' ') + 1);
        /* INT32_MAX is no limit that anybody would look up. */
        if (strcmp(word, "2147483647") != 0)
            check_word(item, word, key->name);
    }
}

static void the_page_has_every_key_with_its_default_and_range(void **state)
{
    char *page = read_source("docs/man/mmproxy.conf.5");
    struct config_key key;
    size_t n = 0;

    (void)state;
    for (; config_key(n, &key); n++) {
        char *part = part_of(page, key.section);
        char *item = item_of(part, key.name);

        if (key.fallback != NULL)
            check_word(item, key.fallback, key.name);
        check_range(item, &key);
        free(item);
        free(part);
    }
    assert_true(n > 20);
    free(page);
}

static void must_be_a_key_of(const char *match, void *context)
{
    struct config_key key;

    for (size_t i = 0; config_key(i, &key); i++) {
        if (strcmp(key.name, match) == 0 && strcmp(key.section, context) == 0)
            return;
    }
    fail_msg("section \"%s\" has no key %s", (const char *)context, match);
}

static void the_page_has_no_other_key(void **state)
{
    char *page = read_source("docs/man/mmproxy.conf.5");

    (void)state;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char *part = part_of(page, parts[i].section);

        for_each_match(part, "^\\.It Ic ([a-z0-9_]+) No = ", must_be_a_key_of, parts[i].section);
        free(part);
    }
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_and_the_help_have_every_option),
        cmocka_unit_test(the_page_and_the_help_have_no_other_option),
        cmocka_unit_test(the_completion_has_every_option_and_no_other),
        cmocka_unit_test(the_page_has_every_key_with_its_default_and_range),
        cmocka_unit_test(the_page_has_no_other_key),
    };

    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
