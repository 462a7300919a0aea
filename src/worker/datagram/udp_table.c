/* SPDX-License-Identifier: BSD-2-Clause */
#include <assert.h>
#include <stdlib.h>

#include "mmproxy/base/hash.h"
#include "mmproxy/worker/datagram/udp_table.h"

/*
 * A fixed number of buckets: descriptors limit the sessions of a process, so the lists stay short,
 * and no datagram ever waits for a table to grow. Memory is taken only for buckets in use.
 */
enum { N_BUCKETS = 1 << 16 };

LIST_HEAD(bucket, udp_session);

struct udp_table {
    struct hash_secret secret;
    size_t n;
    struct bucket buckets[N_BUCKETS];
};

struct udp_table *udp_table_new(void)
{
    struct udp_table *table = calloc(1, sizeof *table); /* all zero: empty lists */

    if (table && hash_secret_make(&table->secret) < 0) {
        free(table);
        return NULL;
    }
    return table;
}

void udp_table_free(struct udp_table *table)
{
    assert(!table || table->n == 0);
    free(table);
}

static size_t place_of(const struct udp_table *table, const struct receiver *receiver,
                       const struct addr *key)
{
    uint64_t number = (uint64_t)(uintptr_t)receiver ^ (uint64_t)addr_port(key) << 48;
    uint64_t hash = hash_host(&table->secret, key, number);

    return hash % N_BUCKETS;
}

struct udp_session *udp_table_find(const struct udp_table *table, const struct receiver *receiver,
                                   const struct addr *key)
{
    struct udp_session *each;

    LIST_FOREACH (each, &table->buckets[place_of(table, receiver, key)], bucket)
        if (each->receiver == receiver && addr_equal(udp_session_key(each), key))
            return each;
    return NULL;
}

void udp_table_add(struct udp_table *table, struct udp_session *session)
{
    size_t place = place_of(table, session->receiver, udp_session_key(session));

    LIST_INSERT_HEAD(&table->buckets[place], session, bucket);
    table->n++;
}

void udp_table_remove(struct udp_table *table, struct udp_session *session)
{
    LIST_REMOVE(session, bucket);
    table->n--;
}
