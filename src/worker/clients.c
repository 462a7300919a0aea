/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/clients.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/*
 * An entry is one word, so that other workers read it in one piece: a fingerprint of listener and
 * client, and a count below it. 0 = never used. When a count comes down to 0 the fingerprint
 * stays, since a search for another client may lead over it, until it is the last of its run.
 */
enum {
    COUNT_BITS = 24,
    TABLE_SIZE = 1 << CLIENTS_BITS, /* a quarter of it stays 0: that is where a search ends */
};

#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)

uint64_t clients_hash(const struct hash_secret *secret, unsigned listener,
                      const struct addr *client)
{
    return hash_host(secret, client, listener) | 1;
}

/* In the bits above the count; never 0. */
static uint64_t fingerprint_of(uint64_t hash)
{
    return hash << COUNT_BITS;
}

/* Where the search begins. */
static size_t start_of(uint64_t hash)
{
    return (size_t)(hash >> (64 - CLIENTS_BITS));
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
 * returns: the client's entry; TABLE_SIZE where it has none, and then *vacant (which may be NULL)
 * is where it can have one: an entry with a count of 0, else the 0 at the end; TABLE_SIZE where
 * there is no room. A hijacked worker may leave no 0 in its table: the search ends all the same.
 */
static size_t find(const struct clients *clients, uint64_t hash, size_t *vacant)
{
    size_t room = TABLE_SIZE;
    size_t i = start_of(hash);

    for (size_t steps = 0; steps < TABLE_SIZE; steps++, i = after(i)) {
        uint64_t entry = atomic_load(&clients->entries[i]);
        if (entry != 0 && (entry & ~COUNT_MASK) == fingerprint_of(hash))
            return i;
        if (count_of(entry) == 0 && room == TABLE_SIZE)
            room = i;
        if (entry == 0)
            break;
    }
    if (vacant)
        *vacant = room;
    return TABLE_SIZE;
}

uint64_t clients_sessions(const struct clients *clients, uint64_t hash)
{
    if (atomic_load(&clients->n_used) == 0)
        return 0;
    size_t found = find(clients, hash, NULL);
    return found < TABLE_SIZE ? count_of(atomic_load(&clients->entries[found])) : 0;
}

int clients_begin(struct clients *clients, uint64_t hash)
{
    size_t vacant;
    size_t i = find(clients, hash, &vacant);
    uint64_t entry = fingerprint_of(hash);

    if (i < TABLE_SIZE) {
        entry = atomic_load(&clients->entries[i]);
    } else if (vacant < TABLE_SIZE) {
        i = vacant;
        bool is_new = atomic_load(&clients->entries[i]) == 0;
        uint32_t n_used = atomic_load(&clients->n_used);
        if (is_new && n_used >= CLIENTS_MAX)
            return -ENOSPC;
        atomic_store(&clients->n_used, n_used + is_new);
    }
    if (i == TABLE_SIZE || count_of(entry) == COUNT_MASK)
        return -ENOSPC;
    atomic_store(&clients->entries[i], entry + 1);
    return 0;
}

/* Where the entry is the last of its run: it, and those before it with a count of 0, become 0. */
static void trim(struct clients *clients, size_t last)
{
    uint32_t n_used = atomic_load(&clients->n_used);

    if (atomic_load(&clients->entries[after(last)]) != 0)
        return;
    for (size_t i = last; n_used > 0; i = before(i), n_used--) {
        uint64_t entry = atomic_load(&clients->entries[i]);
        if (entry == 0 || count_of(entry) > 0)
            break;
        atomic_store(&clients->entries[i], 0);
    }
    atomic_store(&clients->n_used, n_used);
}

void clients_end(struct clients *clients, uint64_t hash)
{
    size_t i = find(clients, hash, NULL);
    uint64_t entry = i < TABLE_SIZE ? atomic_load(&clients->entries[i]) : 0;

    if (count_of(entry) == 0)
        return;
    atomic_store(&clients->entries[i], entry - 1);
    if (count_of(entry) == 1)
        trim(clients, i);
}
