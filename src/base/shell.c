/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/base/shell.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

/* Characters without a meaning to a shell, wherever they stand in an argument. */
static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                            "0123456789@%_+:,./-=";

const char *shell_quote(const char *word, char *out, size_t size)
{
    size_t len = strlen(word);
    char *end = out;

    assert(size >= SHELL_QUOTED_MAX(len));
    if (len > 0 && strspn(word, plain) == len)
        return memcpy(out, word, len + 1);
    *end++ = '\'';
    for (size_t i = 0; i < len; i++) {
        if (word[i] == '\'')
            end = stpcpy(end, "'\\'"); /* ends the quotes; what follows begins them again */
        *end++ = word[i];
    }
    *end++ = '\'';
    *end = '\0';
    return out;
}

static const char special[] = "$`\\;&|<>()";

/* Quotes in pairs may stay. An odd one, or a text that is cut, would draw the next line in. */
static bool has_pairs(const char *text, size_t size)
{
    size_t n_quotes = 0;
    size_t needed = 2;

    for (const char *at = text; *at != '\0'; at++) {
        n_quotes += *at == '"';
        needed += strchr(special, *at) ? 2 : 1;
    }
    return n_quotes % 2 == 0 && needed < size && !strchr(text, '\'');
}

const char *shell_harmless(const char *text, char *out, size_t size)
{
    bool keeps_quotes = has_pairs(text, size);
    size_t n = 0;

    assert(size > 0);
    for (; *text != '\0' && n + 2 < size; text++) {
        bool is_control = (unsigned char)*text < ' ' || *text == '\x7f';
        bool is_quote = *text == '"' || *text == '\'';

        if (!is_control && (strchr(special, *text) || (is_quote && !keeps_quotes)))
            out[n++] = '\\';
        out[n++] = is_control ? '?' : *text;
    }
    out[n] = '\0';
    return out;
}
