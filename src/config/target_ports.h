/* SPDX-License-Identifier: BSD-2-Clause */
/* target_ports: the ports of a listener's targets, once the rest of the listener is known. */
#ifndef CONFIG_TARGET_PORTS_H
#define CONFIG_TARGET_PORTS_H

#include "kinds.h"
#include "mmproxy/config/config.h"

/*
 * Sets the first port of a target that takes its ports from elsewhere. Harmless for one that is not
 * set. returns: false with the reason, to be read behind the key's name.
 */
bool target_ports_resolve(const struct listener_config *listener, struct target_config *target,
                          char reason[KINDS_REASON_MAX]);

/* How many ports the listener listens on. */
unsigned target_ports_count_listen(const struct listener_config *listener);

#endif
