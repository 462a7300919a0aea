/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * managed: routing = "managed": the return path set up, kept up and taken down again.
 *
 * For the supervisor (and for --check): it needs CAP_NET_ADMIN, and root where sysctls are to
 * be changed. It logs its changes and its failures. What several instances of mmproxy in
 * one network namespace need in common stays until the last of them is gone.
 *
 * spec: mmproxy(8), "RETURN PATH"
 */
#ifndef MMPROXY_ROUTING_MANAGED_MANAGED_H
#define MMPROXY_ROUTING_MANAGED_MANAGED_H

#include <stdbool.h>
#include <stddef.h>

#include "mmproxy/config/config.h"

struct managed;

/* Does an instance that lives manage the return path of this network namespace? */
bool managed_is_in_use(void);

/* Changes nothing yet. errors: NULL, errno tells. */
struct managed *managed_new(void);

/*
 * Makes the return path what these configurations need together; those with routing
 * "manual" need nothing. Whatever only former calls, or an instance that crashed, needed is
 * removed. To be called before workers are forked for a configuration (it and those of all
 * living generations), since each worker inherits the claim of what its sessions need; and when a
 * generation is gone.
 * returns: is everything there now? Missing pieces were logged; the service can serve without them.
 */
bool managed_apply(struct managed *managed, const struct config *const *configs, size_t n_configs);

/*
 * Removes all of it, as managed_apply without a configuration: what an instance that crashed
 * left too, so a failed start leaves nothing behind.
 */
void managed_remove(struct managed *managed);

/* For the caller's event loop: readable when managed_on_readable is to be called. Owned. */
int managed_fd(const struct managed *managed);

/*
 * Puts back what another program removed, not more often than ten times at once and once a second
 * after that, and looks after everything, sysctls too, every ten seconds. Waits for nothing.
 */
void managed_on_readable(struct managed *managed);

/*
 * Closes everything. It does not remove: what is set up then stays, as after a crash, and the
 * next instance adopts or removes it.
 */
void managed_free(struct managed *managed);

/*
 * Instead of managed_free in every forked child (managed_free would withdraw the parent's
 * claim): other instances take the return path for needed while the child lives, though the
 * parent crash.
 * returns: the one descriptor that stays open, for the child to keep; -1 where there is no claim.
 */
int managed_leave(struct managed *managed);

#endif
