/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/counters.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "counters_internal.h"
#include "mmproxy/base/clock.h"
#include "mmproxy/base/shared.h"

static size_t size_of(const struct counters *counters)
{
    return counters->head_size + counters->max_workers * counters->worker_size;
}

/* For a later version, which may have other counters. */
static void describe(struct counters *counters)
{
    struct counters_head *head = counters->head;

    head->magic = COUNTERS_MAGIC;
    head->head_size = counters->head_size;
    head->worker_size = counters->worker_size;
    head->max_workers = counters->max_workers;
    head->max_listeners = counters->max_listeners;
    head->begins_at = (uint32_t)(counters->head_size - counters->begins_size);
    head->totals_at = sizeof *head;
    head->total_size = sizeof(struct counters_total);
    head->listeners_at = sizeof(struct counters_worker);
    head->listener_size = sizeof(struct counters_listener);
    head->counts_at = offsetof(struct counters_listener, counts);
    head->n_counts = COUNTS;
    head->clients_at = offsetof(struct counters_worker, clients);
    head->clients_form = CLIENTS_FORM;
    for (unsigned i = 0; i < COUNTS; i++)
        counters_name(i, head->names[i]);
}

static int allocate(struct counters *counters)
{
    counters->begins_size = shared_whole_pages(counters->max_workers * sizeof(uint64_t));
    counters->head_size =
        shared_whole_pages(sizeof(struct counters_head) +
                           counters->max_listeners * sizeof(struct counters_total)) +
        counters->begins_size;
    counters->worker_size =
        shared_whole_pages(sizeof(struct counters_worker) +
                           counters->max_listeners * sizeof(struct counters_listener));
    counters->head = shared_new_file(size_of(counters), &counters->fd);
    counters->claims = calloc(counters->max_listeners, sizeof(struct claim *));
    counters->is_worker = calloc(counters->max_workers, sizeof *counters->is_worker);
    if (!counters->head || !counters->claims || !counters->is_worker)
        return -ENOMEM;
    describe(counters);
    int err = counters_view_open(&counters->own, counters->head, size_of(counters));
    return err < 0 ? err : hash_secret_make(&counters->head->secret);
}

struct counters *counters_new(unsigned workers, unsigned listeners)
{
    struct counters *counters = calloc(1, sizeof *counters);
    if (!counters)
        return NULL;

    counters->fd = -1;
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
    for (unsigned i = 0; i < counters->n_earlier; i++)
        counters_view_close(&counters->earlier[i]);
    tdestroy(counters->names, leave_alone);
    for (size_t i = 0; counters->claims && i < counters->max_listeners; i++)
        free(counters->claims[i]);
    free(counters->claims);
    free(counters->is_worker);
    shared_free(counters->head, size_of(counters));
    counters_leave(counters);
    free(counters);
}

int counters_fd(const struct counters *counters)
{
    return counters->fd;
}

void counters_leave(struct counters *counters)
{
    if (counters->fd >= 0)
        close(counters->fd);
    counters->fd = -1;
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

/* A number without a name; else a number whose name is unused, and whose totals are lost. */
static unsigned free_number(struct counters *counters)
{
    struct claim *claim;
    unsigned i = counters->first_free;

    while (i < counters->max_listeners && counters->claims[i])
        i++;
    counters->first_free = i;
    if (i < counters->max_listeners)
        return i;
    for (i = 0; i < counters->max_listeners && counters->claims[i]->n > 0; i++)
        ;
    if (i == counters->max_listeners)
        return i;
    claim = counters->claims[i];
    tdelete(claim, &counters->names, by_name);
    counters->claims[i] = NULL;
    free(claim);
    return i;
}

/* A name that is new here, with totals of zero. */
static int add_name(struct counters *counters, const char *name)
{
    unsigned listener = free_number(counters);
    if (listener == counters->max_listeners)
        return -ENOSPC;

    struct claim *claim = calloc(1, sizeof *claim);
    if (!claim)
        return -ENOMEM;
    strncpy(claim->name, name, sizeof claim->name - 1);
    claim->listener = listener;
    if (!tsearch(claim, &counters->names, by_name)) {
        free(claim);
        return -ENOMEM;
    }
    counters->claims[listener] = claim;
    counters_total_begin(&counters->own, listener, claim->name);
    return (int)listener;
}

/* The number that has the name, claimed or not. */
static int find_or_add(struct counters *counters, const char *name)
{
    struct claim **found = tfind(name, &counters->names, by_name);

    return found ? (int)(*found)->listener : add_name(counters, name);
}

int counters_claim_listener(struct counters *counters, const char *name)
{
    int listener = find_or_add(counters, name);

    if (listener >= 0)
        counters->claims[listener]->n++;
    return listener;
}

void counters_release_listener(struct counters *counters, unsigned listener)
{
    counters->claims[listener]->n--; /* its totals stay */
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
        atomic_store(counters_view_began(&counters->own, i), clock_now_us());
        note_workers(counters);
        return (int)i;
    }
    return -ENOSPC;
}

void counters_release_worker(struct counters *counters, unsigned worker)
{
    counters_change(counters->head);
    counters_fold_worker(&counters->own, worker);
    shared_clear(counters_worker(counters, worker), counters->worker_size);
    counters_change(counters->head);
    counters->is_worker[worker] = false;
    note_workers(counters);
}

int counters_adopt(struct counters *counters, int fd)
{
    if (counters->n_earlier == COUNTERS_EARLIER_MAX)
        return -ENOSPC;
    int err = counters_view_map(&counters->earlier[counters->n_earlier], fd);
    if (err < 0)
        return err;
    atomic_store(&counters->head->is_earlier[counters->n_earlier], true);
    return (int)counters->n_earlier++;
}

void counters_end_earlier(struct counters *counters, unsigned earlier)
{
    counters->has_ended[earlier] = true;
}

/* Names that are not claimed here count as well: a listener of that name may come back. */
static void take_ended(struct counters *counters, unsigned earlier)
{
    struct counters_view *view = &counters->earlier[earlier];

    counters_change(counters->head);
    for (size_t i = 0; i < view->n_names; i++) {
        int listener = find_or_add(counters, view->names[i].name);
        if (listener >= 0)
            counters_fold_view(&counters->own, (unsigned)listener, view, view->names[i].number);
    }
    atomic_store(&counters->head->is_earlier[earlier], false);
    counters_change(counters->head);
}

void counters_take_ended(struct counters *counters)
{
    for (unsigned i = 0; i < counters->n_earlier; i++)
        if (counters->has_ended[i] && atomic_load(&counters->head->is_earlier[i]))
            take_ended(counters, i);
}

int counters_own(struct counters *counters, unsigned worker)
{
    return shared_own(counters->head, size_of(counters), counters_worker(counters, worker),
                      counters->worker_size);
}

int counters_own_none(struct counters *counters)
{
    return shared_own(counters->head, size_of(counters), counters->head, 0);
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

static void keep_later(uint64_t *latest, const _Atomic uint64_t *time_us)
{
    uint64_t us = atomic_load(time_us);

    if (us > *latest)
        *latest = us;
}

uint64_t counters_doubted_us(const struct counters *counters)
{
    uint32_t n = atomic_load(&counters->head->n_workers);
    uint64_t latest = 0;

    for (uint32_t i = 0; i < n; i++)
        keep_later(&latest, &counters_worker(counters, i)->doubted_us);
    return latest;
}

uint64_t counters_listener_doubted_us(const struct counters *counters, unsigned listener)
{
    uint32_t n = atomic_load(&counters->head->n_workers);
    uint64_t latest = 0;

    for (uint32_t i = 0; i < n; i++)
        keep_later(&latest, &counters_worker(counters, i)->listeners[listener].doubted_us);
    return latest;
}

static uint64_t oldest(const struct counters *counters, unsigned worker, unsigned listener)
{
    return atomic_load(&counters_worker(counters, worker)->listeners[listener].oldest_pending_us);
}

void counters_note_descriptor(struct counters *counters, unsigned worker, int fd)
{
    atomic_store_explicit(&counters_worker(counters, worker)->descriptors, (uint32_t)fd + 1,
                          memory_order_relaxed);
}

uint32_t counters_descriptors(const struct counters *counters)
{
    uint32_t n = atomic_load(&counters->head->n_workers);
    uint32_t most = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t own = atomic_load(&counters_worker(counters, i)->descriptors);
        most = own > most ? own : most;
    }
    return most;
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
    return clients_hash(&counters->head->secret, listener, client);
}

uint64_t counters_client_sessions(const struct counters *counters, uint64_t client)
{
    uint32_t n = atomic_load(&counters->head->n_workers);
    uint64_t sessions = 0;

    for (uint32_t i = 0; i < n; i++)
        sessions += clients_sessions(&counters_worker(counters, i)->clients, client);
    return sessions;
}

/* Of two that are equally old, the one of the worker with the lower number is the first. */
bool counters_has_silent_longest(const struct counters *counters, unsigned worker,
                                 unsigned listener)
{
    uint32_t n = atomic_load(&counters->head->n_workers);
    uint64_t own =
        atomic_load(&counters_worker(counters, worker)->listeners[listener].silent_longest_us);

    for (uint32_t i = 0; i < n; i++) {
        uint64_t other =
            atomic_load(&counters_worker(counters, i)->listeners[listener].silent_longest_us);
        if (other != 0 && (other < own || (other == own && i < worker)))
            return false;
    }
    return own != 0;
}
