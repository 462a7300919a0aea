/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state RESET: the session has failed and the peer has been reset. The target is reset when it
 * is sure to believe it, see sock_takes_reset: bytes that are still on their way to it get there
 * first. A target that takes too long is reset all the same.
 */
#include "mmproxy/net/sock.h"
#include "mmproxy/worker/stream/session.h"

enum { CHECKS = 20 };

enum session_state reset_run(struct session *session, unsigned ready)
{
    if (ready & (READY_STOP | READY_CLOSE | READY_ERROR) || sock_takes_reset(session->target_fd))
        return SESSION_CLOSED;
    return session->reset_checks++ < CHECKS ? SESSION_RESET : SESSION_CLOSED;
}
