/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * udp_answers: what came from a service goes to the peer that the client's latest datagram came
 * from, and leaves from the address that this was sent to.
 *
 * Of sockets with one address and port the kernel gives an answer to the latest. So it may be for
 * another session of the same client: at another port of the service or another listener, or by
 * another peer (first), whose session may be another worker's.
 */
#ifndef MMPROXY_WORKER_DATAGRAM_UDP_ANSWERS_H
#define MMPROXY_WORKER_DATAGRAM_UDP_ANSWERS_H

#include "mmproxy/worker/datagram/udp_session.h"

/* n datagrams that were received on this session's socket; they are in the receiver's room. */
void udp_answers_pass_on(struct udp_session *session, unsigned n);

#endif
