/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * target_choice: which target a session goes to, and from which address. TCP and UDP ask here, and
 * nothing else in a worker knows about families or ports. Pure.
 */
#ifndef MMPROXY_WORKER_TARGET_CHOICE_H
#define MMPROXY_WORKER_TARGET_CHOICE_H

#include <stdbool.h>

#include "mmproxy/base/addr.h"
#include "mmproxy/config/config.h"
#include "mmproxy/worker/reason.h"

/* The known facts about the client. */
struct target_facts {
    struct addr client; /* unmapped; the peer's own address where no header names another */
    bool is_named;      /* a header names it */
    uint16_t port;      /* ... and the port that it connected to; else 0 */
};

struct target_choice {
    struct addr target;
    struct addr source; /* of the target's family: the client, or what it is mapped to; its port */
};

/* The address that a client of this listener comes from at its target, with the client's port. */
struct addr target_source(const struct listener_config *listener, const struct addr *client);

/*
 * The port that the client's target is to be reached at. local and returns: as for target_choose.
 */
enum reason target_choose_port(const struct listener_config *listener, const struct addr *local,
                               const struct target_facts *facts, uint16_t *out);

/*
 * local: the address and port of the listener that the connection or datagram came to.
 * returns: REASON_NONE with *out; else why there is no target, and *out is all zero.
 */
enum reason target_choose(const struct listener_config *listener, const struct addr *local,
                          const struct target_facts *facts, struct target_choice *out);

#endif
