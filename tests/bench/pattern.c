/* SPDX-License-Identifier: BSD-2-Clause */
#include "pattern.h"

#include <string.h>

/* A prime: no power of two that a buffer may be lost or repeated by looks the same. */
enum { PERIOD = 131071, PROBE = 64, PROBE_EVERY = 1024 };

static uint8_t bytes_of_stream[PERIOD + PATTERN_RUN];

void pattern_open(void)
{
    uint64_t x = 0x9e3779b97f4a7c15u; /* xorshift64 needs any seed but 0 */

    for (size_t i = 0; i < PERIOD; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes_of_stream[i] = (uint8_t)(x >> 32);
    }
    for (size_t i = PERIOD; i < sizeof bytes_of_stream; i++)
        bytes_of_stream[i] = bytes_of_stream[i - PERIOD];
}

const uint8_t *pattern_at(uint64_t position)
{
    return bytes_of_stream + position % PERIOD;
}

bool pattern_matches(uint64_t position, const uint8_t *bytes, size_t len, bool every_byte)
{
    const uint8_t *wanted = pattern_at(position);

    if (every_byte || len <= PROBE)
        return memcmp(bytes, wanted, len) == 0;
    for (size_t at = 0; at + PROBE <= len; at += PROBE_EVERY) {
        if (memcmp(bytes + at, wanted + at, PROBE) != 0)
            return false;
    }
    return memcmp(bytes + len - PROBE, wanted + len - PROBE, PROBE) == 0;
}
