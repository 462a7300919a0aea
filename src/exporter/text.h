/* SPDX-License-Identifier: BSD-2-Clause */
/* text: a text that is put together piece by piece in a buffer that is not its own. */
#ifndef EXPORTER_TEXT_H
#define EXPORTER_TEXT_H

#include <stddef.h>

struct text {
    char *out;
    size_t size;
    size_t used; /* without the NUL; never above size - 1 */
};

/* Text without room is left out: callers have room for all that they write. */
void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
