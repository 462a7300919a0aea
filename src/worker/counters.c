/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/counters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/base/shared.h"
#include "mmproxy/config/config.h"

struct shared {
    _Atomic uint32_t n_slots; /* those in use have numbers below that */
    _Atomic uint32_t sessions[COUNTERS_LISTENERS];
    _Atomic uint32_t pending[COUNTERS_LISTENERS];
    struct counters_worker workers[COUNTERS_WORKERS];
};

/* What the supervisor alone knows: who has which place. */
struct place {
    char name[LISTENER_NAME_MAX + 1];
    unsigned claims;
};

struct counters {
    struct shared *shared;
    struct clients *clients; /* NULL until they are asked for */
    struct place places[COUNTERS_LISTENERS];
    bool is_claimed[COUNTERS_WORKERS];
};

struct counters *counters_new(void)
{
    struct counters *counters = calloc(1, sizeof *counters);
    if (!counters)
        return NULL;

    counters->shared = shared_new(sizeof *counters->shared);
    if (!counters->shared) {
        free(counters);
        return NULL;
    }
    return counters;
}

void counters_free(struct counters *counters)
{
    if (!counters)
        return;
    shared_free(counters->shared, sizeof *counters->shared);
    clients_free(counters->clients);
    free(counters);
}

static bool is_in_use(const struct counters *counters, unsigned listener)
{
    return counters->places[listener].claims > 0 || counters_sessions(counters, listener) > 0;
}

int counters_claim_listener(struct counters *counters, const char *name)
{
    int free_place = -ENOSPC;

    for (unsigned i = 0; i < COUNTERS_LISTENERS; i++) {
        struct place *place = &counters->places[i];
        if (!is_in_use(counters, i)) {
            if (free_place < 0)
                free_place = (int)i;
        } else if (strcmp(place->name, name) == 0) {
            place->claims++;
            return (int)i;
        }
    }
    if (free_place >= 0) {
        struct place *place = &counters->places[free_place];
        strncpy(place->name, name, sizeof place->name - 1);
        place->claims = 1;
    }
    return free_place;
}

void counters_release_listener(struct counters *counters, unsigned listener)
{
    counters->places[listener].claims--;
}

/* Not below 0: a worker that somebody has taken over may have made up what it counted. */
static void take_off(_Atomic uint32_t *total, uint32_t n)
{
    uint32_t now = atomic_load(total);

    while (n > 0 && !atomic_compare_exchange_weak(total, &now, now > n ? now - n : 0))
        ;
}

/* The next one to use the slot finds zeros, whatever has been written there meanwhile. */
static void clear_slot(struct counters *counters, unsigned worker)
{
    shared_clear(&counters->shared->workers[worker], sizeof counters->shared->workers[worker]);
    if (counters->clients)
        clients_forget(counters->clients, worker);
}

static void tell_how_many(const struct counters *counters)
{
    unsigned n = COUNTERS_WORKERS;

    while (n > 0 && !counters->is_claimed[n - 1])
        n--;
    atomic_store(&counters->shared->n_slots, n);
    if (counters->clients)
        clients_look_at(counters->clients, n);
}

int counters_claim_worker(struct counters *counters)
{
    for (unsigned i = 0; i < COUNTERS_WORKERS; i++) {
        if (!counters->is_claimed[i]) {
            counters->is_claimed[i] = true;
            clear_slot(counters, i);
            tell_how_many(counters);
            return (int)i;
        }
    }
    return -ENOSPC;
}

void counters_release_worker(struct counters *counters, unsigned worker)
{
    struct shared *shared = counters->shared;
    struct counters_worker *slot = &shared->workers[worker];

    for (unsigned i = 0; i < COUNTERS_LISTENERS; i++) {
        take_off(&shared->sessions[i], atomic_load(&slot->by_listener[i]));
        take_off(&shared->pending[i], atomic_load(&slot->pending_by_listener[i]));
    }
    clear_slot(counters, worker);
    counters->is_claimed[worker] = false;
    tell_how_many(counters);
}

struct counters_worker *counters_worker(struct counters *counters, unsigned worker)
{
    return &counters->shared->workers[worker];
}

bool counters_begin_session(struct counters *counters, unsigned worker, unsigned listener,
                            unsigned max)
{
    _Atomic uint32_t *total = &counters->shared->sessions[listener];
    struct counters_worker *slot = counters_worker(counters, worker);
    uint32_t now = atomic_load(total);

    do {
        if (max > 0 && now >= max)
            return false;
    } while (!atomic_compare_exchange_weak(total, &now, now + 1));
    atomic_fetch_add(&slot->by_listener[listener], 1);
    atomic_fetch_add(&slot->sessions, 1);
    atomic_fetch_add(&counters->shared->pending[listener], 1);
    atomic_fetch_add(&slot->pending_by_listener[listener], 1);
    return true;
}

void counters_end_pending(struct counters *counters, unsigned worker, unsigned listener)
{
    struct counters_worker *slot = counters_worker(counters, worker);

    atomic_fetch_sub(&slot->pending_by_listener[listener], 1);
    take_off(&counters->shared->pending[listener], 1);
}

void counters_end_session(struct counters *counters, unsigned worker, unsigned listener)
{
    struct counters_worker *slot = counters_worker(counters, worker);

    atomic_fetch_sub(&slot->sessions, 1);
    atomic_fetch_sub(&slot->by_listener[listener], 1);
    take_off(&counters->shared->sessions[listener], 1);
}

uint32_t counters_sessions(const struct counters *counters, unsigned listener)
{
    return atomic_load(&counters->shared->sessions[listener]);
}

uint32_t counters_own_sessions(struct counters *counters, unsigned worker, unsigned listener)
{
    return atomic_load(&counters_worker(counters, worker)->by_listener[listener]);
}

uint32_t counters_pending(const struct counters *counters, unsigned listener)
{
    return atomic_load(&counters->shared->pending[listener]);
}

void counters_show_oldest(struct counters *counters, unsigned worker, unsigned listener,
                          uint64_t since_us)
{
    atomic_store(&counters_worker(counters, worker)->oldest_pending_us[listener], since_us);
}

/* Of two that are equally old it is the one with the lower number that has the oldest. */
bool counters_has_oldest(struct counters *counters, unsigned worker, unsigned listener)
{
    uint32_t n_slots = atomic_load(&counters->shared->n_slots);
    uint64_t own = atomic_load(&counters_worker(counters, worker)->oldest_pending_us[listener]);

    for (uint32_t i = 0; i < n_slots && i < COUNTERS_WORKERS; i++) {
        uint64_t other = atomic_load(&counters_worker(counters, i)->oldest_pending_us[listener]);
        if (other != 0 && (other < own || (other == own && i < worker)))
            return false;
    }
    return own != 0;
}

int counters_track_clients(struct counters *counters)
{
    if (!counters->clients)
        counters->clients = clients_new(COUNTERS_WORKERS);
    if (!counters->clients)
        return -ENOMEM;
    tell_how_many(counters);
    return 0;
}

struct clients *counters_clients(const struct counters *counters)
{
    return counters->clients;
}
