/* SPDX-License-Identifier: BSD-2-Clause */
/* shell: words of commands that are printed to be pasted into a shell. */
#ifndef MMPROXY_BASE_SHELL_H
#define MMPROXY_BASE_SHELL_H

#include <stddef.h>

/* The room that a word of n bytes needs at the most, quoted, with its NUL. */
#define SHELL_QUOTED_MAX(n) (4 * (n) + 3)

/*
 * A word as sh(1) reads it: as it is where nothing in it means anything to a shell, else in
 * single quotes. A name that the kernel takes for an interface may be "e;id;$(id)".
 * size: at least SHELL_QUOTED_MAX of the word's length. returns: out.
 */
const char *shell_quote(const char *word, char *out, size_t size);

/*
 * For a text that others wrote, in a line that may be pasted into a shell along with commands: the
 * shell runs nothing of it. A text that is too long is cut. returns: out.
 */
const char *shell_harmless(const char *text, char *out, size_t size);

#endif
