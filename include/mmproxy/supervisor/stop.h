/* SPDX-License-Identifier: BSD-2-Clause */
/* stop: how generations end, and the service with them. */
#ifndef MMPROXY_SUPERVISOR_STOP_H
#define MMPROXY_SUPERVISOR_STOP_H

#include "mmproxy/supervisor/state.h"

void stop_init(struct supervisor *supervisor);

/* SIGTERM: no more connections; sessions get drain_timeout. A second call ends them at once. */
void stop_begin(struct supervisor *supervisor);

/* A new binary serves: drain without a limit of time, and end. SIGTERM sets the limit. */
void stop_hand_over(struct supervisor *supervisor);

/* Has a generation drain, and tells of it from time to time while it does. */
void stop_drain(struct supervisor *supervisor, struct generation *generation);

/* The last worker of a draining or killed generation has exited. */
void stop_generation_gone(struct generation *generation);

#endif
