/* SPDX-License-Identifier: BSD-2-Clause */
/* spoof: a TCP connection to the target from an address that is not this host's. */
#ifndef MMPROXY_NET_SPOOF_H
#define MMPROXY_NET_SPOOF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "mmproxy/base/addr.h"

struct spoof {
    struct addr source; /* the client; same family as target */
    struct addr target;
    uint32_t mark;      /* SO_MARK: what the return path's rules look at; 0 = none */
    bool preserve_port; /* use the source's port if the kernel will have it */
    bool is_shared;     /* UDP: other clients may have this source address */
    bool avoids_pacing; /* no network is between it and the target, see congestion.h */
    bool sends_at_once; /* the caller has bytes for spoof_send: the handshake's last
                           acknowledgement may go with them */
};

/*
 * Starts the connection. Where the kernel refuses the client's port it is asked for another
 * one, so this alone never fails a session.
 * returns: a non-blocking descriptor (caller owns it) whose connection is up or on its way;
 * *connected tells which; it may already be up where sends_at_once is set. Or -errno: EPERM (a
 * capability is missing), ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS,
 * ENOMEM, ...
 */
int spoof_connect(const struct spoof *spoof, bool *connected);

/*
 * To be called when the descriptor became writable.
 * returns: 0 connected, -EALREADY not yet, else -errno of the failed connection.
 */
int spoof_finish(int fd, const struct addr *target);

/*
 * Sends the first bytes on a connection that may still be on its way, so that no call is needed
 * to ask whether it is up.
 * returns: how many bytes were taken: it is connected. -EAGAIN: not yet, to be asked by
 * spoof_finish. Else -errno of the failed connection.
 */
ssize_t spoof_send(int fd, const uint8_t *bytes, size_t len);

/* May this process spoof at all? returns: 0, or -errno: EPERM (CAP_NET_RAW is missing), ... */
int spoof_probe(uint32_t mark);

#endif
