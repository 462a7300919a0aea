/* SPDX-License-Identifier: BSD-2-Clause */
#include "scan.h"

#include <stdlib.h>
#include <string.h>

enum {
    INCLUDE_NESTING_MAX = 10,
    INCLUDES_MAX = 256,
    KEYS_MAX = 64, /* in one group; the longest that means anything has less than half of it */
};

unsigned scan_line(const struct scan *scan)
{
    return scan->source->line + scan->n_newlines;
}

static void append(struct scan *scan, const char *bytes, size_t n)
{
    struct source *source = scan->source;
    size_t room = source->room;
    char *grown;

    if (scan->has_failed)
        return;
    while (room < source->len + n + 1)
        room = room == 0 ? 4096 : room * 2;
    if (room != source->room) {
        grown = realloc(source->text, room);
        if (grown == NULL) {
            SCAN_FAIL(scan, scan_line(scan), "out of memory");
            return;
        }
        source->text = grown;
        source->room = room;
    }
    memcpy(source->text + source->len, bytes, n);
    source->len += n;
    source->text[source->len] = '\0';
}

static void write_newlines(struct scan *scan)
{
    for (; scan->n_newlines > 0; scan->n_newlines--) {
        append(scan, "\n", 1);
        scan->source->line++;
    }
}

/* Blanks between tokens are written anew; newlines inside of a token (a string) are its own. */
static void write_token(struct scan *scan, const char *token, size_t n)
{
    write_newlines(scan);
    append(scan, token, n);
    append(scan, " ", 1);
    scan->last = *token;
    scan->is_at_line_start = false;
}

/*
 * libconfig reads one token behind an array's string before it notes the string's line, so
 * that token overtakes the newlines between the two.
 */
static void write_punctuation(struct scan *scan, const char *token)
{
    bool overtakes = scan->last == '"' && scan->brackets[scan->depth].opener == '[' &&
                     (*token == ',' || *token == ']');

    if (!overtakes) {
        write_token(scan, token, 1);
        return;
    }
    append(scan, token, 1);
    scan->last = *token;
    scan->is_at_line_start = false;
}

static const char *scan_comment(struct scan *scan, const char *at, const char *end)
{
    unsigned line = scan_line(scan);
    bool is_block = at[0] == '/' && at[1] == '*';

    if (!is_block) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        return newline != NULL ? newline : end;
    }
    for (at += 2; at < end; at++) {
        if (at[0] == '*' && at[1] == '/')
            return at + 2;
        scan->n_newlines += *at == '\n';
    }
    SCAN_FAIL(scan, line, "this comment has no end");
    return end;
}

/* returns: behind the closing quote, NULL where there is none. */
static const char *end_of_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '\0'; at++) {
        if (*at == '"')
            return at + 1;
        if (*at == '\\' && (at[1] == '"' || at[1] == '\\'))
            at++;
    }
    return NULL;
}

/* A string that its grammar does not expect is memory that libconfig never frees. */
static bool may_be_string(const struct scan *scan)
{
    char opener = scan->brackets[scan->depth].opener;

    if (scan->last == '=' || scan->last == ':' || scan->last == '"')
        return true;
    return (opener == '(' || opener == '[') && strchr(",([", scan->last) != NULL;
}

static const char *scan_string(struct scan *scan, const char *at, const char *end)
{
    const char *behind = end_of_string(at, end);

    if (behind == NULL) {
        SCAN_FAIL(scan, scan_line(scan), "this string has no end, or a NUL byte in it");
        return end;
    }
    if (!may_be_string(scan)) {
        SCAN_FAIL(scan, scan_line(scan), "a string can't stand here");
        return end;
    }
    write_token(scan, at, (size_t)(behind - at));
    for (; at < behind; at++)
        scan->source->line += *at == '\n';
    return behind;
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

    while (is_name(*at))
        at++;
    write_token(scan, start, (size_t)(at - start));
    return at;
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
    write_newlines(scan);
    append(scan, start, (size_t)(at - start));
    while (is_whole && *at == 'L')
        at++;
    write_token(scan, "L", is_whole ? 1 : 0);
    return at;
}

static void open_bracket(struct scan *scan, const char *at)
{
    if (scan->depth == SCAN_NESTING_MAX) {
        SCAN_FAIL(scan, scan_line(scan), "brackets are nested more than %d deep", SCAN_NESTING_MAX);
        return;
    }
    scan->depth++;
    scan->brackets[scan->depth] = (struct scan_bracket){ .opener = *at, .line = scan_line(scan) };
    write_punctuation(scan, at);
}

static void close_bracket(struct scan *scan, const char *at)
{
    const struct scan_bracket *bracket = &scan->brackets[scan->depth];
    char opener = *at == ')' ? '(' : *at == ']' ? '[' : '{';
    struct source_place place;

    if (scan->depth == 0) {
        SCAN_FAIL(scan, scan_line(scan), "\"%c\" closes nothing", *at);
        return;
    }
    if (bracket->opener != opener) {
        place = source_place(scan->source, bracket->line);
        SCAN_FAIL(scan, scan_line(scan), "\"%c\" can't close the \"%c\" of %s:%u", *at,
                  bracket->opener, place.file, place.line);
        return;
    }
    write_punctuation(scan, at);
    scan->depth--;
}

static void scan_equals(struct scan *scan, const char *at)
{
    if (++scan->brackets[scan->depth].n_keys > KEYS_MAX)
        SCAN_FAIL(scan, scan_line(scan), "more than %d keys in one group", KEYS_MAX);
    write_punctuation(scan, at);
}

/* at is behind the opening quote. returns: the path, to be freed. */
static char *include_path(const char *at, const char *end)
{
    char *path = malloc((size_t)(end - at) + 1);
    char *last = path;

    if (path == NULL)
        return NULL;
    for (; at < end; at++) {
        if (*at == '\\' && at + 1 < end)
            at++;
        *last++ = *at;
    }
    *last = '\0';
    return path;
}

static const char *scan_include(struct scan *scan, const char *at, const char *end)
{
    static const char directive[] = "@include";
    const char *quote = at + sizeof(directive) - 1;
    const char *behind = NULL;
    char *written;

    if (scan->is_at_line_start && strncmp(at, directive, sizeof(directive) - 1) == 0) {
        quote += strspn(quote, " \t");
        behind = *quote == '"' ? end_of_string(quote, end) : NULL;
    }
    if (behind == NULL) {
        SCAN_FAIL(scan, scan_line(scan), "a line that starts with @ must be: @include \"FILE\"");
        return end;
    }
    if (scan->include_depth == INCLUDE_NESTING_MAX || scan->source->n_included == INCLUDES_MAX) {
        SCAN_FAIL(scan, scan_line(scan),
                  "too many @include files, or files that include themselves");
        return end;
    }
    written = include_path(quote + 1, behind - 1);
    if (written == NULL)
        SCAN_FAIL(scan, scan_line(scan), "out of memory");
    else
        source_include(scan, written);
    free(written);
    return behind;
}

static const char *scan_other(struct scan *scan, const char *at)
{
    unsigned char c = (unsigned char)*at;

    if (c > 0x20 && c < 0x7f)
        SCAN_FAIL(scan, scan_line(scan), "unexpected \"%c\"", c);
    else
        SCAN_FAIL(scan, scan_line(scan), "unexpected byte 0x%02x", c);
    return at + 1;
}

static const char *scan_punctuation(struct scan *scan, const char *at)
{
    switch (*at) {
    case '{':
    case '[':
    case '(':
        open_bracket(scan, at);
        break;
    case '}':
    case ']':
    case ')':
        close_bracket(scan, at);
        break;
    case '=':
    case ':':
        scan_equals(scan, at);
        break;
    case ',':
    case ';':
        write_punctuation(scan, at);
        break;
    default:
        return scan_other(scan, at);
    }
    return at + 1;
}

static const char *scan_next(struct scan *scan, const char *at, const char *end)
{
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
        return scan_include(scan, at, end);
    if (is_letter(*at) || *at == '*')
        return scan_name(scan, at);
    if (is_digit(*at) || *at == '.' ||
        ((*at == '+' || *at == '-') && (is_digit(at[1]) || at[1] == '.')))
        return scan_number(scan, at);
    return scan_punctuation(scan, at);
}

void scan_text(struct scan *scan, const char *at, const char *end)
{
    scan->is_at_line_start = true;
    while (at < end && !scan->has_failed)
        at = scan_next(scan, at, end);
}

void scan_finish(struct scan *scan)
{
    if (!scan->has_failed && scan->depth > 0)
        SCAN_FAIL(scan, scan->brackets[scan->depth].line, "this \"%c\" is never closed",
                  scan->brackets[scan->depth].opener);
    /* No newline behind the last token: what is cut off there is told at a line of the file. */
    append(scan, "", 0);
}
