/* SPDX-License-Identifier: BSD-2-Clause */
#include "scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

unsigned scan_line(const struct scan *scan)
{
    return scan->line + scan->n_newlines;
}

void scan_fail(struct scan *scan, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    mistakes_error(scan->grammar.mistakes, scan_line(scan), "%s", text);
    scan->has_failed = true;
}

void scan_open(struct scan *scan, struct mistakes *mistakes)
{
    *scan = (struct scan){ .grammar = { .mistakes = mistakes }, .line = 1 };
}

void scan_close(struct scan *scan)
{
    free(scan->text);
    scan->text = NULL;
}

/* ---- the text ------------------------------------------------------------------------- */

static void append(struct scan *scan, const char *bytes, size_t n)
{
    size_t room = scan->room;
    char *grown;

    if (scan->has_failed)
        return;
    while (room < scan->len + n + 1)
        room = room == 0 ? 4096 : room * 2;
    if (room != scan->room) {
        grown = realloc(scan->text, room);
        if (!grown) {
            scan_fail(scan, "out of memory");
            return;
        }
        scan->text = grown;
        scan->room = room;
    }
    memcpy(scan->text + scan->len, bytes, n);
    scan->len += n;
    scan->text[scan->len] = '\0';
}

static void write_newlines(struct scan *scan)
{
    for (; scan->n_newlines > 0; scan->n_newlines--) {
        append(scan, "\n", 1);
        scan->line++;
    }
}

void scan_write(struct scan *scan, const char *piece)
{
    scan->n_newlines++;
    write_newlines(scan);
    append(scan, piece, strlen(piece));
    scan->last = '\0';
}

/* Blanks between tokens are written anew. */
static void write_token(struct scan *scan, enum token_kind kind, const char *text, size_t n)
{
    struct token token = { .kind = kind, .line = scan_line(scan), .len = n };

    append(scan, text, n);
    if (scan->has_failed)
        return;
    token.at = scan->len - n;
    scan->grammar.text = scan->text;
    scan->has_failed = !grammar_accept(&scan->grammar, &token);
    scan->last = *text;
    scan->is_at_line_start = false;
}

static void write_word(struct scan *scan, enum token_kind kind, const char *text, size_t n)
{
    write_newlines(scan);
    write_token(scan, kind, text, n);
    append(scan, " ", 1);
}

/*
 * libconfig reads one token behind a string before it notes the string's line, so in an array or
 * a list that token overtakes the newlines between the two.
 */
static void write_punctuation(struct scan *scan, enum token_kind kind, const char *text)
{
    bool overtakes =
        scan->last == '"' && !grammar_is_in_group(&scan->grammar) && strchr(",])", *text);

    if (overtakes)
        write_token(scan, kind, text, 1);
    else
        write_word(scan, kind, text, 1);
}

void scan_begin_file(struct scan *scan)
{
    grammar_start(&scan->grammar);
    scan->last = '\0';
}

void scan_end_file(struct scan *scan)
{
    append(scan, "", 0);
    scan->grammar.text = scan->text;
    if (!scan->has_failed)
        scan->has_failed = !grammar_finish(&scan->grammar);
}

/* ---- tokens --------------------------------------------------------------------------- */

static const char *scan_comment(struct scan *scan, const char *at, const char *end)
{
    unsigned n_newlines = 0;
    bool is_block = at[0] == '/' && at[1] == '*';

    if (!is_block) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        return newline ? newline : end;
    }
    for (at += 2; at < end; at++) {
        if (at[0] == '*' && at[1] == '/') {
            scan->n_newlines += n_newlines;
            return at + 2;
        }
        n_newlines += *at == '\n';
    }
    scan_fail(scan, "this comment has no end");
    return end;
}

/* returns: at the closing quote, or where the line or the text ends without one. */
static const char *end_of_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '\0' && *at != '\n' && *at != '"'; at++) {
        if (*at == '\\' && (at[1] == '"' || at[1] == '\\'))
            at++;
    }
    return at < end ? at : end;
}

static const char *scan_string(struct scan *scan, const char *at, const char *end)
{
    const char *quote = end_of_string(at, end);
    size_t n = (size_t)(quote + 1 - at);

    if (quote < end && *quote == '\0') {
        scan_fail(scan, "there is a NUL byte in this string");
        return end;
    }
    if (*quote != '"') {
        scan_fail(scan, "this string is not closed: the quote opened here has no end in this line");
        return end;
    }
    if (!strchr(" \t\r\n\f;,}])#/\"=:", quote[1])) {
        scan_fail(scan, "a quote is missing: something stands directly behind the string %.*s",
                  n < 60 ? (int)n : 60, at);
        return end;
    }
    write_word(scan, TOKEN_STRING, at, n);
    return quote + 1;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(char c)
{
    return is_letter(c) || is_digit(c) || c == '_' || c == '-' || c == '*';
}

static const char *scan_name(struct scan *scan, const char *at)
{
    const char *start = at;
    size_t n;
    bool is_boolean;

    while (is_name(*at))
        at++;
    n = (size_t)(at - start);
    is_boolean = (n == 4 && strncasecmp(start, "true", n) == 0) ||
                 (n == 5 && strncasecmp(start, "false", n) == 0);
    write_word(scan, is_boolean ? TOKEN_SCALAR : TOKEN_NAME, start, n);
    return at;
}

/* Of what was meant as one word, as far as it is worth quoting. */
static int word_len(const char *at)
{
    size_t len = strcspn(at, " \t\r\n\f;,{}()\"#");

    return len < 60 ? (int)len : 60;
}

static const char *skip_exponent(const char *at)
{
    const char *digits = at + 1;

    if (*at != 'e' && *at != 'E')
        return at;
    if (*digits == '+' || *digits == '-')
        digits++;
    if (!is_digit(*digits))
        return at;
    while (is_digit(*digits))
        digits++;
    return digits;
}

/* A whole number gets the suffix that makes libconfig read 64 bits of it; 0x too. */
static const char *scan_number(struct scan *scan, const char *at)
{
    const char *start = at;
    bool is_whole = true;
    size_t n_digits;
    size_t n;

    if (*at == '+' || *at == '-')
        at++;
    n_digits = strspn(at, "0123456789");
    if (n_digits == 1 && *at == '0' && (at[1] == 'x' || at[1] == 'X') &&
        strspn(at + 2, "0123456789abcdefABCDEF") > 0 && at == start) {
        at += 2 + strspn(at + 2, "0123456789abcdefABCDEF");
    } else {
        at += n_digits;
        is_whole = *at != '.';
        if (!is_whole)
            at += 1 + strspn(at + 1, "0123456789");
        is_whole = is_whole && skip_exponent(at) == at;
        at = skip_exponent(at);
    }
    n = (size_t)(at - start);
    while (is_whole && *at == 'L')
        at++;
    if (*at == '.' || *at == ':' || is_name(*at)) {
        scan_fail(scan, "%.*s is no number: addresses and words stand in quotes", word_len(start),
                  start);
        return at;
    }
    write_newlines(scan);
    write_token(scan, TOKEN_SCALAR, start, n);
    append(scan, is_whole ? "L " : " ", is_whole ? 2 : 1);
    return at;
}

/* at is behind the opening quote. returns: the path, to be freed. */
static char *include_path(const char *at, const char *end)
{
    char *path = malloc((size_t)(end - at) + 1);
    char *last = path;

    if (!path)
        return NULL;
    for (; at < end; at++) {
        if (*at == '\\' && at + 1 < end)
            at++;
        *last++ = *at;
    }
    *last = '\0';
    return path;
}

static const char *scan_include(struct scan *scan, const char *at, const char *end, char **include)
{
    static const char directive[] = "@include";
    const char *quote = at + sizeof directive - 1;
    const char *behind = end;

    if (scan->is_at_line_start && strncmp(at, directive, sizeof directive - 1) == 0) {
        quote += strspn(quote, " \t");
        behind = *quote == '"' ? end_of_string(quote, end) : end;
    }
    if (*behind != '"') {
        scan_fail(scan, "a line that starts with @ must be: @include \"FILE\"");
        return end;
    }
    *include = include_path(quote + 1, behind);
    if (!*include)
        scan_fail(scan, "out of memory");
    return behind + 1;
}

static void scan_other(struct scan *scan, const char *at)
{
    unsigned char c = (unsigned char)*at;

    if (c == '\'' || strncmp(at, "\xe2\x80\x9c", 3) == 0 || strncmp(at, "\xe2\x80\x9d", 3) == 0)
        scan_fail(scan, "strings stand in plain double quotes (\"), not in other ones");
    else if (c > 0x20 && c < 0x7f)
        scan_fail(scan, "unexpected \"%c\"", c);
    else
        scan_fail(scan, "unexpected byte 0x%02x", c);
}

static const char *scan_punctuation(struct scan *scan, const char *at)
{
    static const struct {
        const char *characters;
        enum token_kind kind;
    } kinds[] = {
        { "{[(", TOKEN_OPEN }, { "}])", TOKEN_CLOSE },   { "=:", TOKEN_EQUALS },
        { ",", TOKEN_COMMA },  { ";", TOKEN_SEMICOLON },
    };

    for (size_t i = 0; *at != '\0' && i < sizeof kinds / sizeof *kinds; i++) {
        if (strchr(kinds[i].characters, *at)) {
            write_punctuation(scan, kinds[i].kind, at);
            return at + 1;
        }
    }
    scan_other(scan, at);
    return at + 1;
}

const char *scan_next(struct scan *scan, const char *at, const char *end, char **include)
{
    *include = NULL;
    if (*at == '\n') {
        scan->n_newlines++;
        scan->is_at_line_start = true;
        return at + 1;
    }
    if (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\f')
        return at + 1;
    if (*at == '#' || (*at == '/' && (at[1] == '/' || at[1] == '*')))
        return scan_comment(scan, at, end);
    if (*at == '"')
        return scan_string(scan, at, end);
    if (*at == '@')
        return scan_include(scan, at, end, include);
    if (is_letter(*at))
        return scan_name(scan, at);
    if (is_digit(*at) || *at == '.' ||
        ((*at == '+' || *at == '-') && (is_digit(at[1]) || at[1] == '.')))
        return scan_number(scan, at);
    return scan_punctuation(scan, at);
}
