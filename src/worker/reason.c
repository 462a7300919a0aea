/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/reason.h"

#include <errno.h>

static const struct {
    const char *word;
    enum reason_kind kind;
} table[REASONS] = {
    [REASON_NOT_ALLOWED] = { "not_allowed", REASON_KIND_NOT_ALLOWED },
    [REASON_MAX_SESSIONS] = { "max_sessions", REASON_KIND_REFUSED },
    [REASON_MAX_PENDING] = { "max_pending", REASON_KIND_REFUSED },
    [REASON_MAX_SESSIONS_PER_CLIENT] = { "max_sessions_per_client", REASON_KIND_REFUSED },
    [REASON_TOO_MANY_CLIENTS] = { "too_many_clients", REASON_KIND_REFUSED },
    [REASON_LOCAL_CLIENT] = { "local_client", REASON_KIND_REFUSED },
    [REASON_IMPOSSIBLE_CLIENT] = { "impossible_client", REASON_KIND_REFUSED },
    [REASON_NEIGHBOUR_CLIENT] = { "neighbour_client", REASON_KIND_REFUSED },
    [REASON_NO_TARGET] = { "no_target", REASON_KIND_REFUSED },
    [REASON_WRONG_ENDPOINT] = { "wrong_endpoint", REASON_KIND_REFUSED },
    [REASON_WRONG_PORT] = { "wrong_port", REASON_KIND_REFUSED },
    [REASON_NO_CLIENT] = { "no_client", REASON_KIND_REFUSED },
    [REASON_BAD_HEADER] = { "bad_header", REASON_KIND_BAD_HEADER },
    [REASON_TIMEOUT] = { "timeout", REASON_KIND_BAD_HEADER },
    [REASON_PEER_LOST] = { "peer_lost", REASON_KIND_REFUSED },
    [REASON_NO_RESOURCES] = { "no_resources", REASON_KIND_REFUSED },
    [REASON_TARGET_REFUSED] = { "target_refused", REASON_KIND_CONNECT_FAILED },
    [REASON_TARGET_TIMEOUT] = { "target_timeout", REASON_KIND_CONNECT_FAILED },
    [REASON_TARGET_UNREACHABLE] = { "target_unreachable", REASON_KIND_CONNECT_FAILED },
    [REASON_TARGET_FAILED] = { "target_failed", REASON_KIND_CONNECT_FAILED },
};

const char *reason_word(enum reason reason)
{
    return table[reason].word;
}

enum reason_kind reason_kind(enum reason reason)
{
    return table[reason].kind;
}

enum reason reason_of_connect_error(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return REASON_TARGET_REFUSED;
    case ETIMEDOUT:
        return REASON_TARGET_TIMEOUT;
    case EHOSTUNREACH:
    case ENETUNREACH:
        return REASON_TARGET_UNREACHABLE;
    default:
        return REASON_TARGET_FAILED;
    }
}
