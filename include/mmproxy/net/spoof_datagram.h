/* SPDX-License-Identifier: BSD-2-Clause */
/* spoof_datagram: UDP to the target from an address that is not this host's. */
#ifndef MMPROXY_NET_SPOOF_DATAGRAM_H
#define MMPROXY_NET_SPOOF_DATAGRAM_H

#include "mmproxy/net/spoof.h"

/*
 * A UDP socket that is bound to the source, with the same fallback for its port; avoids_pacing and
 * sends_at_once do not matter. Several may have one source: the latest gets what comes for it.
 * is_connected: to the target; else spoof_datagram_error reports errors.
 * returns: a non-blocking descriptor (caller owns it) or -errno.
 */
int spoof_datagram(const struct spoof *spoof, bool is_connected);

/*
 * Of a UDP socket that is not connected: the next error that a datagram of its met on the way.
 * returns: the errno, or 0 where there is none.
 */
int spoof_datagram_error(int fd);

#endif
