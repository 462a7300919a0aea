/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pattern: the bytes that streams are made of. The byte at a position of a stream is known to
 * both ends, so a receiver notices what was lost, repeated, swapped or changed.
 */
#ifndef BENCH_PATTERN_H
#define BENCH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PATTERN_RUN = 256 * 1024 }; /* bytes that can be had at once */

/* To be called once, before anything else here. */
void pattern_open(void);

/* The PATTERN_RUN bytes of a stream from that position on. */
const uint8_t *pattern_at(uint64_t position);

/*
 * Are these the bytes of a stream from that position on? len: at most PATTERN_RUN.
 * every_byte: compare them all; else 64 in each 1024, and the last 64, which notices
 * everything but a byte changed in between.
 */
bool pattern_matches(uint64_t position, const uint8_t *bytes, size_t len, bool every_byte);

#endif
