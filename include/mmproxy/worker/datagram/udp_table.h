/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * udp_table: a worker's UDP sessions by the address and port that they are found by. It knows a
 * session by its entry only.
 */
#ifndef MMPROXY_WORKER_DATAGRAM_UDP_TABLE_H
#define MMPROXY_WORKER_DATAGRAM_UDP_TABLE_H

#include <sys/queue.h>

#include "mmproxy/base/addr.h"

struct receiver;
struct udp_table;

struct udp_table_entry {
    SLIST_ENTRY(udp_table_entry) next;
    struct receiver *receiver; /* it is found for this one alone */
    const struct addr *key;    /* does not change while it is in the table */
    uint16_t port;             /* nor does this; 0 where the key says it all */
};

/*
 * n_max: how many entries there may be. returns: NULL when memory or randomness is short. It must
 * be empty when it is freed.
 */
struct udp_table *udp_table_new(unsigned n_max);
void udp_table_free(struct udp_table *table);

/* The receiver's entry with this key and port, or NULL. */
struct udp_table_entry *udp_table_find(const struct udp_table *table,
                                       const struct receiver *receiver, const struct addr *key,
                                       uint16_t port);

/* Whichever receiver's: the entry behind the one before, or the first (NULL). returns: NULL: none.
 */
struct udp_table_entry *udp_table_next(const struct udp_table *table,
                                       const struct udp_table_entry *before, const struct addr *key,
                                       uint16_t port);

/* An entry is in the table once. */
void udp_table_add(struct udp_table *table, struct udp_table_entry *entry);
void udp_table_remove(struct udp_table *table, struct udp_table_entry *entry);

#endif
