/* SPDX-License-Identifier: BSD-2-Clause */
/* targets: what the checks have found out about each target. A value, without I/O. */
#ifndef MMPROXY_SUPERVISOR_TARGETS_H
#define MMPROXY_SUPERVISOR_TARGETS_H

#include <stdbool.h>
#include <stddef.h>

#include "mmproxy/config/config.h"

/* Two listeners that share target and return path share one of these. */
struct target_state {
    struct addr target;
    uint32_t mark;
    uint32_t table;
    uint64_t namespace_id;
    enum return_path return_path;
    bool holds;      /* every check of it */
    bool is_reached; /* by a connection from a client's address */
    bool answers;    /* a connection of this host's own */
};

struct targets {
    struct target_state *items; /* owned */
    size_t n;
};

struct target_state target_state(const struct listener_config *listener, const struct addr *target);

/* returns: NULL where it has not been checked. */
const struct target_state *targets_find(const struct targets *targets,
                                        const struct listener_config *listener,
                                        const struct addr *target);

/* returns: the known state of the same target, to be replaced; or NULL. */
struct target_state *targets_get(const struct targets *targets, const struct target_state *state);

/* How one is looked for: targets_get, or something faster. */
typedef struct target_state *targets_look(const struct targets *targets,
                                          const struct target_state *state);

/*
 * Of the ports of the listener's target that were tried: all must hold, one is enough to reach it.
 * returns: out; NULL where one has not been checked.
 */
struct target_state *targets_judge(const struct targets *targets, targets_look *look,
                                   const struct listener_config *listener, sa_family_t family,
                                   struct target_state *out);

/* Adds the state of a target that is not known yet. returns: 0 or -ENOMEM. */
int targets_add(struct targets *targets, const struct target_state *state);

void targets_clear(struct targets *targets);

size_t targets_failing(const struct targets *targets);

/* The ports of a listener with close_when_down: has the check of no target reached it? */
bool targets_are_down(const struct targets *targets, const struct listener_config *listener);

#endif
