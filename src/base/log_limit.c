/* SPDX-License-Identifier: BSD-2-Clause */
/* The token bucket behind the lines that any peer can cause. */
#include <assert.h>

#include "mmproxy/base/log.h"

/*
 * Twenty lines show what a burst is made of; two a second after that are 170,000 a day, some
 * 20 MB, which any log rotation copes with however long the nuisance lasts.
 */
enum {
    LINE = 1000, /* in thousandths */
    BURST = 20 * LINE,
    PER_MS = 2, /* thousandths of a line a millisecond are lines a second */
};

bool log_limit_pass(struct log_limit *limit, uint64_t now_ms)
{
    assert(now_ms != 0);
    if (limit->updated_ms == 0) {
        limit->tokens = BURST;
    } else if (now_ms > limit->updated_ms) {
        uint64_t elapsed_ms = now_ms - limit->updated_ms;
        uint64_t missing = BURST - limit->tokens;
        limit->tokens += (uint32_t)(elapsed_ms < missing / PER_MS ? elapsed_ms * PER_MS : missing);
    }
    limit->updated_ms = now_ms;

    if (limit->tokens >= LINE) {
        limit->tokens -= LINE;
        return true;
    }
    if (limit->held_back < UINT32_MAX)
        limit->held_back++;
    return false;
}

uint32_t log_limit_take_held_back(struct log_limit *limit)
{
    uint32_t held_back = limit->held_back;
    limit->held_back = 0;
    return held_back;
}
