/* SPDX-License-Identifier: BSD-2-Clause */
#include "mistakes.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* After so many, the rest is only counted. */
enum { MISTAKES_MAX = 1000 };

struct mistake {
    char *text; /* NULL: no memory was left for it */
    size_t sequence;
    unsigned line;
    bool is_error;
};

static struct mistake *push(struct mistakes *mistakes, bool is_error, unsigned line)
{
    struct mistake *grown;
    size_t room;

    if (is_error)
        mistakes->n_errors++;
    if (mistakes->n_items >= MISTAKES_MAX)
        return NULL;
    if (mistakes->n_items == mistakes->room) {
        room = mistakes->room == 0 ? 16 : mistakes->room * 2;
        grown = reallocarray(mistakes->items, room, sizeof *grown);
        if (!grown)
            return NULL;
        mistakes->items = grown;
        mistakes->room = room;
    }
    grown = &mistakes->items[mistakes->n_items];
    *grown = (struct mistake){ .sequence = mistakes->n_items, .line = line, .is_error = is_error };
    mistakes->n_items++;
    return grown;
}

static void add_with_place(struct mistakes *mistakes, bool is_error, unsigned line,
                           const char *format, va_list args) __attribute__((format(printf, 4, 0)));

static void add_with_place(struct mistakes *mistakes, bool is_error, unsigned line,
                           const char *format, va_list args)
{
    struct mistake *mistake = push(mistakes, is_error, line);
    struct place place;
    char *text;

    if (!mistake || vasprintf(&text, format, args) < 0)
        return;
    mistake->text = text;
    if (!mistakes->places)
        return;
    place = places_find(mistakes->places, line);
    if (asprintf(&mistake->text, "%s:%u: %s", place.file, place.line, text) < 0)
        mistake->text = NULL;
    free(text);
}

void mistakes_error(struct mistakes *mistakes, unsigned line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_with_place(mistakes, true, line, format, args);
    va_end(args);
}

void mistakes_warn(struct mistakes *mistakes, unsigned line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_with_place(mistakes, false, line, format, args);
    va_end(args);
}

void mistakes_add(struct mistakes *mistakes, bool is_error, unsigned line, const char *format, ...)
{
    struct mistake *mistake = push(mistakes, is_error, line);
    va_list args;

    if (!mistake)
        return;
    va_start(args, format);
    if (vasprintf(&mistake->text, format, args) < 0)
        mistake->text = NULL;
    va_end(args);
}

static int by_line(const void *a, const void *b)
{
    const struct mistake *left = a;
    const struct mistake *right = b;

    if (left->line != right->line)
        return left->line < right->line ? -1 : 1;
    return (left->sequence > right->sequence) - (left->sequence < right->sequence);
}

/* Values are quoted as they were written, and what was written may hold a newline. */
static char *escape(const char *text)
{
    char *escaped = malloc(strlen(text) * 4 + 1);
    char *end = escaped;

    if (!escaped)
        return NULL;
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x20 || c == 0x7f)
            end += sprintf(end, "\\x%02x", c);
        else
            *end++ = *text;
    }
    *end = '\0';
    return escaped;
}

static void tell(const struct config_sink *sink, bool is_error, const char *text)
{
    char *escaped = text ? escape(text) : NULL;

    sink->report(sink->context, is_error, escaped ? escaped : "out of memory");
    free(escaped);
}

void mistakes_flush(struct mistakes *mistakes, const struct config_sink *sink)
{
    size_t n_told = 0;
    char *more;

    if (mistakes->n_items > 0)
        qsort(mistakes->items, mistakes->n_items, sizeof *mistakes->items, by_line);
    for (size_t i = 0; i < mistakes->n_items; i++) {
        tell(sink, mistakes->items[i].is_error, mistakes->items[i].text);
        n_told += mistakes->items[i].is_error;
        free(mistakes->items[i].text);
    }
    if (mistakes->n_errors > n_told) {
        if (asprintf(&more, "and %zu more mistakes", mistakes->n_errors - n_told) < 0)
            more = NULL;
        tell(sink, true, more);
        free(more);
    }
    free(mistakes->items);
    mistakes->items = NULL;
    mistakes->n_items = 0;
    mistakes->room = 0;
}
