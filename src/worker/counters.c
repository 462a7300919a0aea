/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/counters.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/base/shared.h"

/* The first pages, which the supervisor alone writes. */
struct head {
    _Atomic uint32_t n_workers; /* those in use have numbers below that */
};

/* A name that is claimed; also a node of the tree, which is why the name comes first. */
struct claim {
    char name[LISTENER_NAME_MAX + 1];
    unsigned listener;
    unsigned n;
};

struct counters {
    struct head *head; /* the shared mapping begins with it */
    size_t head_size;
    size_t worker_size;
    struct hash_secret secret;
    unsigned max_workers;
    unsigned max_listeners;
    /* What the supervisor alone knows. */
    void *names;           /* a tree of claims, for tsearch(3) */
    struct claim **claims; /* the same by number; NULL = free */
    unsigned first_free;   /* no number below it is free */
    bool *is_worker;       /* by number */
};

static size_t size_of(const struct counters *counters)
{
    return counters->head_size + counters->max_workers * counters->worker_size;
}

static int allocate(struct counters *counters)
{
    counters->head_size = shared_whole_pages(sizeof(struct head));
    counters->worker_size =
        shared_whole_pages(sizeof(struct counters_worker) +
                           counters->max_listeners * sizeof(struct counters_listener));
    counters->head = shared_new(size_of(counters));
    counters->claims = calloc(counters->max_listeners, sizeof(struct claim *));
    counters->is_worker = calloc(counters->max_workers, sizeof *counters->is_worker);
    if (!counters->head || !counters->claims || !counters->is_worker)
        return -ENOMEM;
    return hash_secret_make(&counters->secret);
}

struct counters *counters_new(unsigned workers, unsigned listeners)
{
    struct counters *counters = calloc(1, sizeof *counters);
    if (!counters)
        return NULL;

    counters->max_workers = workers;
    counters->max_listeners = listeners;
    if (allocate(counters) < 0) {
        counters_free(counters);
        return NULL;
    }
    return counters;
}

static void leave_alone(void *node)
{
    (void)node; /* freed by number */
}

void counters_free(struct counters *counters)
{
    if (!counters)
        return;
    tdestroy(counters->names, leave_alone);
    for (size_t i = 0; counters->claims && i < counters->max_listeners; i++)
        free(counters->claims[i]);
    free(counters->claims);
    free(counters->is_worker);
    shared_free(counters->head, size_of(counters));
    free(counters);
}

const char *counters_strerror(int error)
{
    return error == ENOSPC
               ? "generations that still have sessions leave no room for so many more workers or "
                 "listeners"
               : strerror(error);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static unsigned first_free(const struct counters *counters, unsigned from)
{
    while (from < counters->max_listeners && counters->claims[from])
        from++;
    return from;
}

static int add_name(struct counters *counters, const char *name)
{
    unsigned listener = first_free(counters, counters->first_free);
    if (listener == counters->max_listeners)
        return -ENOSPC;

    struct claim *claim = calloc(1, sizeof *claim);
    if (!claim)
        return -ENOMEM;
    strncpy(claim->name, name, sizeof claim->name - 1);
    claim->listener = listener;
    claim->n = 1;
    if (!tsearch(claim, &counters->names, by_name)) {
        free(claim);
        return -ENOMEM;
    }
    counters->claims[listener] = claim;
    counters->first_free = listener + 1;
    return (int)listener;
}

int counters_claim_listener(struct counters *counters, const char *name)
{
    struct claim **found = tfind(name, &counters->names, by_name);

    if (!found)
        return add_name(counters, name);
    (*found)->n++;
    return (int)(*found)->listener;
}

void counters_release_listener(struct counters *counters, unsigned listener)
{
    struct claim *claim = counters->claims[listener];

    if (--claim->n > 0)
        return;
    tdelete(claim, &counters->names, by_name);
    counters->claims[listener] = NULL;
    if (listener < counters->first_free)
        counters->first_free = listener;
    free(claim);
}

static void note_workers(struct counters *counters)
{
    unsigned n = counters->max_workers;

    while (n > 0 && !counters->is_worker[n - 1])
        n--;
    atomic_store(&counters->head->n_workers, n);
}

int counters_claim_worker(struct counters *counters)
{
    for (unsigned i = 0; i < counters->max_workers; i++) {
        if (counters->is_worker[i])
            continue;
        counters->is_worker[i] = true;
        note_workers(counters);
        return (int)i;
    }
    return -ENOSPC;
}

void counters_release_worker(struct counters *counters, unsigned worker)
{
    shared_clear(counters_worker(counters, worker), counters->worker_size);
    counters->is_worker[worker] = false;
    note_workers(counters);
}

int counters_own(struct counters *counters, unsigned worker)
{
    return shared_own(counters->head, size_of(counters), counters_worker(counters, worker),
                      counters->worker_size);
}

struct counters_worker *counters_worker(const struct counters *counters, unsigned worker)
{
    uint8_t *first = (uint8_t *)counters->head + counters->head_size;

    return (struct counters_worker *)(void *)(first + worker * counters->worker_size);
}

uint64_t counters_sessions(const struct counters *counters, unsigned listener)
{
    uint32_t n = atomic_load(&counters->head->n_workers);
    uint64_t sessions = 0;

    for (uint32_t i = 0; i < n; i++)
        sessions += atomic_load(&counters_worker(counters, i)->listeners[listener].sessions);
    return sessions;
}

uint64_t counters_pending(const struct counters *counters, unsigned listener)
{
    uint32_t n = atomic_load(&counters->head->n_workers);
    uint64_t pending = 0;

    for (uint32_t i = 0; i < n; i++)
        pending += atomic_load(&counters_worker(counters, i)->listeners[listener].pending);
    return pending;
}

static uint64_t oldest(const struct counters *counters, unsigned worker, unsigned listener)
{
    return atomic_load(&counters_worker(counters, worker)->listeners[listener].oldest_pending_us);
}

/* Of two that are equally old, the one of the worker with the lower number is the oldest. */
bool counters_has_oldest(const struct counters *counters, unsigned worker, unsigned listener)
{
    uint32_t n = atomic_load(&counters->head->n_workers);
    uint64_t own = oldest(counters, worker, listener);

    for (uint32_t i = 0; i < n; i++) {
        uint64_t other = oldest(counters, i, listener);
        if (other != 0 && (other < own || (other == own && i < worker)))
            return false;
    }
    return own != 0;
}

uint64_t counters_client(const struct counters *counters, unsigned listener,
                         const struct addr *client)
{
    return clients_hash(&counters->secret, listener, client);
}

uint64_t counters_client_sessions(const struct counters *counters, uint64_t client)
{
    uint32_t n = atomic_load(&counters->head->n_workers);
    uint64_t sessions = 0;

    for (uint32_t i = 0; i < n; i++)
        sessions += clients_sessions(&counters_worker(counters, i)->clients, client);
    return sessions;
}
