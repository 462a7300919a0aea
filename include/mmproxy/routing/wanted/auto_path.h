/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * auto_path: what return path auto is for each target. It depends on the addresses of the host,
 * or of the network namespace that the targets are in, so it is found whenever a configuration is
 * loaded, and again when these addresses change.
 */
#ifndef MMPROXY_ROUTING_WANTED_AUTO_PATH_H
#define MMPROXY_ROUTING_WANTED_AUTO_PATH_H

#include <stdbool.h>

#include "mmproxy/config/config.h"
#include "mmproxy/net/locals.h"

/*
 * What auto is for one target. is_own: its address is one of this host's. has_own_other: the
 * listener's other target is too, and not on loopback.
 */
enum return_path auto_path_of(enum protocol protocol, const struct addr *target, bool is_own,
                              bool has_own_other);

/* Why it is that, for a report: "it is on loopback"; static. */
const char *auto_path_why(enum return_path path, const struct addr *target);

/* Finds it for both targets of a listener. locals: NULL: no address is known but loopback. */
void auto_path_find(struct listener_config *listener, const struct locals *locals);

#endif
