/* SPDX-License-Identifier: BSD-2-Clause */
/* udp_table: a worker's UDP sessions by the address and port that they are found by. */
#ifndef MMPROXY_WORKER_DATAGRAM_UDP_TABLE_H
#define MMPROXY_WORKER_DATAGRAM_UDP_TABLE_H

#include "mmproxy/worker/datagram/udp_session.h"

struct udp_table;

/* returns: NULL when memory or randomness is short. It must be empty when it is freed. */
struct udp_table *udp_table_new(void);
void udp_table_free(struct udp_table *table);

/* The receiver's session that is found by key, or NULL. */
struct udp_session *udp_table_find(const struct udp_table *table, const struct receiver *receiver,
                                   const struct addr *key);

/* A session is in the table once, and its key does not change meanwhile. */
void udp_table_add(struct udp_table *table, struct udp_session *session);
void udp_table_remove(struct udp_table *table, struct udp_session *session);

#endif
