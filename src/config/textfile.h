/* SPDX-License-Identifier: BSD-2-Clause */
/* textfile: one regular file read whole, with a bound on its size; never blocks on a fifo. */
#ifndef CONFIG_TEXTFILE_H
#define CONFIG_TEXTFILE_H

#include <stddef.h>

struct textfile {
    char *text; /* a NUL follows the last byte; may hold others */
    size_t len;
};

/*
 * Reads at most max bytes; a UTF-8 byte order mark at the start is left out.
 * returns: NULL, or the reason as a static string ("No such file or directory"), with
 * nothing to close.
 */
const char *textfile_open(struct textfile *out, const char *path, size_t max);
void textfile_close(struct textfile *file);

#endif
