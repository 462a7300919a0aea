/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/base/shell.h"

#include <assert.h>
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
