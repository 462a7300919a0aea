/* SPDX-License-Identifier: BSD-2-Clause */
/* listener_state: do the ports of a listener take connections, and if not, why? */
#ifndef MMPROXY_SUPERVISOR_LISTENER_STATE_H
#define MMPROXY_SUPERVISOR_LISTENER_STATE_H

#include "mmproxy/exporter/board.h"
#include "mmproxy/supervisor/state.h"

/* Of a listener of the current configuration. */
enum board_state listener_state(const struct supervisor *supervisor,
                                const struct listener_config *listener);

#endif
