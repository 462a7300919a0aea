/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/clients.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "mmproxy/base/shared.h"

/*
 * An entry is one word, so that other workers read it in one piece: a fingerprint of listener and
 * client, and a count below it. 0 = never used. Where a count has come down to 0 the fingerprint
 * stays, since the way to others may lead over it, until it is the last of its run.
 *
 * Entries are found by a hash with a secret in it: a stranger who could choose where they lie
 * could make all ways long.
 */
enum {
    COUNT_BITS = 24,
    TABLE_BITS = 16,
    TABLE_SIZE = 1 << TABLE_BITS, /* a quarter of it stays 0: that is where a search ends */
};

#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)

/* Only its worker writes it, which the others' memory protection sees to: see clients_own. */
struct table {
    _Alignas(4096) _Atomic uint32_t n_used; /* entries that are not 0 */
    _Atomic uint64_t entries[TABLE_SIZE];
};

/* What the supervisor alone writes, on a page of its own. */
struct head {
    _Alignas(4096) _Atomic uint32_t n_tables; /* in which there may be something */
};

struct shared {
    struct head head;
    struct table tables[];
};

struct clients {
    struct shared *shared;
    unsigned max_tables;
    uint64_t secret[3];
};

struct key {
    size_t place;         /* where the search begins */
    uint64_t fingerprint; /* in the bits above the count; never 0 */
};

/* Every bit of the word changes about half of the bits of what comes out. */
static uint64_t mix(uint64_t word)
{
    word = (word ^ word >> 32) * UINT64_C(0xd6e8feb86659fd93);
    word = (word ^ word >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return word ^ word >> 32;
}

static struct key key_of(const struct clients *clients, unsigned listener,
                         const struct addr *client)
{
    uint64_t words[2] = { UINT64_MAX, 0 }; /* no IPv6 client begins like this: it is multicast */
    const uint64_t *secret = clients->secret;

    if (addr_family(client) == AF_INET6)
        memcpy(words, addr_bytes(client), sizeof words);
    else
        memcpy(&words[1], addr_bytes(client), 4);
    uint64_t hash = mix(words[0] ^ secret[0]);
    hash = mix(hash + (words[1] ^ secret[1]));
    hash = mix(hash + (listener ^ secret[2]));
    return (struct key){ .place = (size_t)(hash >> (64 - TABLE_BITS)),
                         .fingerprint = (hash | 1) << COUNT_BITS };
}

static size_t after(size_t i)
{
    return (i + 1) % TABLE_SIZE;
}

static size_t before(size_t i)
{
    return (i + TABLE_SIZE - 1) % TABLE_SIZE;
}

static uint64_t count_of(uint64_t entry)
{
    return entry & COUNT_MASK;
}

/*
 * returns: the key's entry; TABLE_SIZE where it has none, and then *place (which may be NULL) is
 * where it can have one: an entry that nobody counts in any more, else the 0 at the end. A worker
 * that somebody has taken over may leave no 0 in its table: nobody relies on one.
 */
static size_t find(const struct table *table, struct key key, size_t *place)
{
    size_t vacant = TABLE_SIZE;
    size_t i = key.place;

    for (size_t steps = 0; steps < TABLE_SIZE; steps++, i = after(i)) {
        uint64_t entry = atomic_load(&table->entries[i]);
        if (entry != 0 && (entry & ~COUNT_MASK) == key.fingerprint)
            return i;
        if (count_of(entry) == 0 && vacant == TABLE_SIZE)
            vacant = i;
        if (entry == 0)
            break;
    }
    if (place)
        *place = vacant;
    return TABLE_SIZE;
}

static uint64_t sessions_of(const struct clients *clients, struct key key)
{
    uint32_t n_tables = atomic_load(&clients->shared->head.n_tables);
    uint64_t sessions = 0;

    for (uint32_t i = 0; i < n_tables && i < clients->max_tables; i++) {
        const struct table *table = &clients->shared->tables[i];
        if (atomic_load(&table->n_used) == 0)
            continue; /* looking would take memory for what is not there */
        size_t place = find(table, key, NULL);
        if (place < TABLE_SIZE)
            sessions += count_of(atomic_load(&table->entries[place]));
    }
    return sessions;
}

static int count(struct table *table, struct key key)
{
    size_t vacant;
    size_t place = find(table, key, &vacant);
    uint64_t entry = key.fingerprint;

    if (place < TABLE_SIZE) {
        entry = atomic_load(&table->entries[place]);
    } else if (vacant < TABLE_SIZE) {
        place = vacant;
        bool is_new = atomic_load(&table->entries[place]) == 0;
        uint32_t n_used = atomic_load(&table->n_used);
        if (is_new && n_used >= CLIENTS_MAX)
            return -ENOSPC;
        atomic_store(&table->n_used, n_used + is_new);
    }
    if (place == TABLE_SIZE || count_of(entry) == COUNT_MASK)
        return -ENOSPC;
    atomic_store(&table->entries[place], entry + 1);
    return 0;
}

/* Behind the entry its run ends: it, and those before it that nobody counts in, become 0. */
static void trim(struct table *table, size_t place)
{
    uint32_t n_used = atomic_load(&table->n_used);

    if (atomic_load(&table->entries[after(place)]) != 0)
        return;
    for (size_t i = place; n_used > 0; i = before(i), n_used--) {
        uint64_t entry = atomic_load(&table->entries[i]);
        if (entry == 0 || count_of(entry) > 0)
            break;
        atomic_store(&table->entries[i], 0);
    }
    atomic_store(&table->n_used, n_used);
}

static void uncount(struct table *table, struct key key)
{
    size_t place = find(table, key, NULL);
    uint64_t entry = place < TABLE_SIZE ? atomic_load(&table->entries[place]) : 0;
    if (count_of(entry) == 0)
        return;
    atomic_store(&table->entries[place], entry - 1);
    if (count_of(entry) == 1)
        trim(table, place);
}

static size_t size_of(unsigned workers)
{
    return sizeof(struct shared) + workers * sizeof(struct table);
}

struct clients *clients_new(unsigned workers)
{
    struct clients *clients = malloc(sizeof *clients);
    if (!clients)
        return NULL;

    clients->shared = shared_new(size_of(workers));
    if (!clients->shared) {
        free(clients);
        return NULL;
    }
    clients->max_tables = workers;
    if (getrandom(clients->secret, sizeof clients->secret, 0) < (ssize_t)sizeof clients->secret) {
        clients_free(clients);
        return NULL;
    }
    return clients;
}

void clients_free(struct clients *clients)
{
    if (!clients)
        return;
    shared_free(clients->shared, size_of(clients->max_tables));
    free(clients);
}

/* Counted first and compared then: who looks later sees it, so there are never more than max. */
int clients_begin(struct clients *clients, unsigned worker, unsigned listener,
                  const struct addr *client, unsigned max)
{
    struct table *own = &clients->shared->tables[worker];
    struct key key = key_of(clients, listener, client);

    int err = count(own, key);
    if (err < 0)
        return err;
    if (sessions_of(clients, key) <= max)
        return 0;
    uncount(own, key);
    return -EDQUOT;
}

void clients_end(struct clients *clients, unsigned worker, unsigned listener,
                 const struct addr *client)
{
    uncount(&clients->shared->tables[worker], key_of(clients, listener, client));
}

int clients_own(struct clients *clients, unsigned worker)
{
    struct table *own = &clients->shared->tables[worker];

    return shared_own(clients->shared, size_of(clients->max_tables), own, sizeof *own);
}

void clients_forget(struct clients *clients, unsigned worker)
{
    shared_clear(&clients->shared->tables[worker], sizeof(struct table));
}

void clients_look_at(struct clients *clients, unsigned n_workers)
{
    atomic_store(&clients->shared->head.n_tables, n_workers);
}
