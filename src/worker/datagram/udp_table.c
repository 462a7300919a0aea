/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/datagram/udp_table.h"

#include <assert.h>
#include <stdlib.h>

#include "mmproxy/base/hash.h"

/*
 * A fixed number of buckets: descriptors limit the sessions of a process, so that is known, and no
 * datagram ever waits for a table to grow.
 */
enum { PER_BUCKET = 4, BUCKETS_MIN = 64, BUCKETS_MAX = 1 << 20 };

SLIST_HEAD(bucket, udp_table_entry);

struct udp_table {
    struct hash_secret secret;
    size_t n;
    size_t n_buckets;
    struct bucket buckets[];
};

struct udp_table *udp_table_new(unsigned n_max)
{
    size_t n_buckets = BUCKETS_MIN;

    while (n_buckets < BUCKETS_MAX && n_buckets * PER_BUCKET < n_max)
        n_buckets *= 2;
    /* All zero: empty lists. */
    struct udp_table *table = calloc(1, sizeof *table + n_buckets * sizeof table->buckets[0]);
    if (!table)
        return NULL;
    table->n_buckets = n_buckets;
    if (hash_secret_make(&table->secret) < 0) {
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

static size_t place_of(const struct udp_table *table, const struct addr *key, uint16_t port)
{
    uint64_t number = (uint64_t)addr_port(key) << 48 | (uint64_t)port << 32;

    return hash_host(&table->secret, key, number) % table->n_buckets;
}

struct udp_table_entry *udp_table_find(const struct udp_table *table,
                                       const struct receiver *receiver, const struct addr *key,
                                       uint16_t port)
{
    struct udp_table_entry *each = NULL;

    while ((each = udp_table_next(table, each, key, port)))
        if (each->receiver == receiver)
            return each;
    return NULL;
}

struct udp_table_entry *udp_table_next(const struct udp_table *table,
                                       const struct udp_table_entry *before, const struct addr *key,
                                       uint16_t port)
{
    struct udp_table_entry *each = before
                                       ? SLIST_NEXT(before, next)
                                       : SLIST_FIRST(&table->buckets[place_of(table, key, port)]);

    while (each && (each->port != port || !addr_equal(each->key, key)))
        each = SLIST_NEXT(each, next);
    return each;
}

static struct bucket *bucket_of(struct udp_table *table, const struct udp_table_entry *entry)
{
    return &table->buckets[place_of(table, entry->key, entry->port)];
}

void udp_table_add(struct udp_table *table, struct udp_table_entry *entry)
{
    SLIST_INSERT_HEAD(bucket_of(table, entry), entry, next);
    table->n++;
}

void udp_table_remove(struct udp_table *table, struct udp_table_entry *entry)
{
    SLIST_REMOVE(bucket_of(table, entry), entry, udp_table_entry, next);
    table->n--;
}
