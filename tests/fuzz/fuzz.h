/* SPDX-License-Identifier: BSD-2-Clause */
/* What every fuzz target has in common: the entry point, and a way to state a property. */
#ifndef MMPROXY_TESTS_FUZZ_H
#define MMPROXY_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Called with every input, by libFuzzer or by replay.c; a broken property aborts. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define PROPERTY(condition)                                                                \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                       \
        }                                                                                  \
    } while (0)

#endif
