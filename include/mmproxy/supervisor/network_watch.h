/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * network_watch: notices when the networks of targets are no longer what a configuration was loaded
 * for: a network namespace appears, vanishes or is another one, its loopback comes up, an address
 * comes or goes.
 */
#ifndef MMPROXY_SUPERVISOR_NETWORK_WATCH_H
#define MMPROXY_SUPERVISOR_NETWORK_WATCH_H

#include "mmproxy/supervisor/state.h"

void network_watch_init(struct supervisor *supervisor);

/*
 * A load has ended: reports ON_NETWORK from now on when what serves was loaded for another network.
 * is_good: else that waits a little, since the same load would fail again.
 */
void network_watch_load_ended(struct supervisor *supervisor, bool is_good);

/* For the end. */
void network_watch_close(struct supervisor *supervisor);

#endif
