/* SPDX-License-Identifier: BSD-2-Clause */
/* The sums: what workers and earlier processes have counted, whatever version they are. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "counters_internal.h"
#include "mmproxy/base/clock.h"

enum {
    TRIES_MAX = 10000, /* to read while nothing is moved; a supervisor may die in between */
    /* The most that one worker counts in a microsecond: far above what any machine does. */
    EVENTS_PER_US = 4,
    BYTES_PER_US = 64 * 1024,
    CONNECT_US_PER_US = 1024 * 1024, /* so many connections may wait at once */
    FIRST_US = 1000 * 1000,          /* clocks are not that exact */
};

#define SUM_MAX ((uint64_t)INT64_MAX) /* where a sum stops */

static const uint64_t buckets_us[COUNTERS_BUCKETS] = {
    100,    250,    500,    1000,    2500,    5000,    10000,    25000,      50000,
    100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, UINT64_MAX,
};

uint64_t counters_bucket_us(unsigned bucket)
{
    return buckets_us[bucket];
}

void counters_add_connect(struct counters_listener *own, uint64_t us)
{
    unsigned bucket = 0;

    while (us > buckets_us[bucket])
        bucket++;
    counters_add(own, COUNT_SERVED, 1);
    counters_add(own, COUNT_CONNECT_US, us);
    counters_add(own, COUNT_CONNECTS + bucket, 1);
}

void counters_name(unsigned count, char out[COUNTERS_NAME_MAX])
{
    static const char *const words[COUNT_CONNECTS] = {
        [COUNT_ACCEPTED] = "accepted",           [COUNT_SERVED] = "served",
        [COUNT_HEALTH_CHECKS] = "health_checks", [COUNT_BYTES_IN] = "bytes_in",
        [COUNT_BYTES_OUT] = "bytes_out",         [COUNT_CONNECT_US] = "connect_us",
    };

    if (count < COUNT_CONNECTS)
        (void)snprintf(out, COUNTERS_NAME_MAX, "%s", words[count]);
    else if (count < COUNT_REFUSED)
        (void)snprintf(out, COUNTERS_NAME_MAX, "connects_%llu",
                       (unsigned long long)buckets_us[count - COUNT_CONNECTS]);
    else if (count == COUNT_REFUSED + REASON_NONE)
        out[0] = '\0';
    else
        (void)snprintf(out, COUNTERS_NAME_MAX, "refused_%s",
                       reason_word((enum reason)(count - COUNT_REFUSED)));
}

static uint64_t most(unsigned count, uint64_t us)
{
    uint64_t factor = EVENTS_PER_US;

    if (count == COUNT_BYTES_IN || count == COUNT_BYTES_OUT)
        factor = BYTES_PER_US;
    else if (count == COUNT_CONNECT_US)
        factor = CONNECT_US_PER_US;
    return us > SUM_MAX / factor ? SUM_MAX : us * factor;
}

static uint64_t add(uint64_t a, uint64_t b)
{
    return b > SUM_MAX - a ? SUM_MAX : a + b;
}

static const uint8_t *at(const struct counters_view *view, uint64_t offset)
{
    return (const uint8_t *)view->head + offset;
}

_Atomic uint64_t *counters_view_began(const struct counters_view *view, unsigned worker)
{
    const uint8_t *bytes = at(view, view->head->begins_at + worker * sizeof(uint64_t));

    return (_Atomic uint64_t *)(uintptr_t)bytes;
}

static struct counters_total *total(const struct counters_view *view, unsigned listener)
{
    const struct counters_head *head = view->head;
    const uint8_t *bytes = at(view, head->totals_at + (uint64_t)listener * head->total_size);

    return (struct counters_total *)(uintptr_t)bytes;
}

static const uint8_t *cell(const struct counters_view *view, unsigned worker, unsigned listener)
{
    const struct counters_head *head = view->head;

    return at(view, head->head_size + worker * head->worker_size + head->listeners_at +
                        (uint64_t)listener * head->listener_size);
}

static void add_counts(const struct counters_view *view, const void *counts, uint64_t us,
                       struct counters_sums *sums)
{
    const _Atomic uint64_t *theirs = counts;

    for (unsigned i = 0; i < COUNTS; i++) {
        if (view->theirs[i] == UINT32_MAX)
            continue;
        uint64_t n = atomic_load_explicit(&theirs[view->theirs[i]], memory_order_relaxed);
        uint64_t max = most(i, us);
        sums->counts[i] = add(sums->counts[i], n < max ? n : max);
    }
}

static void add_worker(const struct counters_view *view, unsigned worker, unsigned listener,
                       struct counters_sums *sums)
{
    const uint8_t *bytes = cell(view, worker, listener);
    const _Atomic uint32_t *now = (const void *)bytes;
    uint64_t us = clock_now_us() - atomic_load(counters_view_began(view, worker)) + FIRST_US;

    sums->sessions += atomic_load(&now[0]);
    sums->pending += atomic_load(&now[1]);
    add_counts(view, bytes + view->head->counts_at, us, sums);
}

static void add_total(const struct counters_view *view, unsigned listener,
                      struct counters_sums *sums)
{
    add_counts(view, total(view, listener)->counts, SUM_MAX, sums);
}

static uint32_t workers_of(const struct counters_view *view)
{
    uint32_t n = atomic_load(&view->head->n_workers);

    return n < view->head->max_workers ? n : view->head->max_workers;
}

static void add_view(const struct counters_view *view, unsigned listener,
                     struct counters_sums *sums)
{
    uint32_t n = workers_of(view);

    add_total(view, listener, sums);
    for (uint32_t i = 0; i < n; i++)
        add_worker(view, i, listener, sums);
}

/* The same, all before or all after what the supervisor moves to the totals. */
static void add_view_at_rest(const struct counters_view *view, unsigned listener,
                             struct counters_sums *sums)
{
    const _Atomic uint32_t *changes = &view->head->changes;
    struct counters_sums before = *sums;

    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        uint32_t first = atomic_load(changes);
        *sums = before;
        add_view(view, listener, sums);
        if (first % 2 == 0 && atomic_load(changes) == first)
            return;
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b); /* the name is first */
}

/* An earlier process that still counts, and the listener's number there. */
struct earlier {
    unsigned next; /* 0 at first */
    const struct counters_view *view;
    unsigned number;
};

/* returns: false: there is none left that has the listener. */
static bool next_earlier(const struct counters *counters, unsigned listener,
                         struct earlier *earlier)
{
    const char *name = total(&counters->own, listener)->name;

    while (earlier->next < counters->n_earlier) {
        unsigned i = earlier->next++;
        const struct counters_view *view = &counters->earlier[i];
        const struct counters_view_name *found;
        if (!atomic_load(&counters->head->is_earlier[i]))
            continue;
        found = bsearch(name, view->names, view->n_names, sizeof *view->names, by_name);
        if (!found)
            continue;
        earlier->view = view;
        earlier->number = found->number;
        return true;
    }
    return false;
}

static void add_all(const struct counters *counters, unsigned listener, struct counters_sums *sums)
{
    struct earlier earlier = { .next = 0 };

    add_view_at_rest(&counters->own, listener, sums);
    while (next_earlier(counters, listener, &earlier))
        add_view_at_rest(earlier.view, earlier.number, sums);
}

uint64_t counters_earlier_sessions(const struct counters *counters, unsigned listener)
{
    struct earlier earlier = { .next = 0 };
    uint64_t sessions = 0;

    while (next_earlier(counters, listener, &earlier)) {
        for (uint32_t i = 0; i < workers_of(earlier.view); i++) {
            const _Atomic uint32_t *now = (const void *)cell(earlier.view, i, earlier.number);
            sessions += atomic_load(now);
        }
    }
    return sessions;
}

static bool has_readable_clients(const struct counters_head *head)
{
    return head->clients_form == CLIENTS_FORM &&
           head->clients_at + sizeof(struct clients) <= head->listeners_at;
}

uint64_t counters_earlier_client_sessions(const struct counters *counters, unsigned listener,
                                          const struct addr *client)
{
    struct earlier earlier = { .next = 0 };
    uint64_t sessions = 0;

    while (next_earlier(counters, listener, &earlier)) {
        const struct counters_head *head = earlier.view->head;
        uint64_t key = clients_hash(&head->secret, earlier.number, client);
        for (uint32_t i = 0; has_readable_clients(head) && i < workers_of(earlier.view); i++) {
            const uint8_t *pages =
                at(earlier.view, head->head_size + i * head->worker_size + head->clients_at);
            sessions += clients_sessions((const void *)pages, key);
        }
    }
    return sessions;
}

void counters_sum(const struct counters *counters, unsigned listener, struct counters_sums *out)
{
    const _Atomic uint32_t *changes = &counters->head->changes;

    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        uint32_t first = atomic_load(changes);
        *out = (struct counters_sums){ .sessions = 0 };
        add_all(counters, listener, out);
        if (first % 2 == 0 && atomic_load(changes) == first)
            return;
    }
}

void counters_change(struct counters_head *head)
{
    atomic_fetch_add(&head->changes, 1);
}

void counters_total_begin(struct counters_view *own, unsigned listener, const char *name)
{
    struct counters_head *head = (struct counters_head *)(uintptr_t)own->head;
    struct counters_total *entry = total(own, listener);

    memset(entry, 0, sizeof *entry);
    (void)snprintf(entry->name, sizeof entry->name, "%s", name);
    if (atomic_load(&head->n_listeners) <= listener)
        atomic_store(&head->n_listeners, listener + 1);
}

static void add_to_total(struct counters_view *own, unsigned listener,
                         const struct counters_sums *sums)
{
    struct counters_total *entry = total(own, listener);

    for (unsigned i = 0; i < COUNTS; i++) {
        if (sums->counts[i] > 0)
            atomic_store(&entry->counts[i], add(atomic_load(&entry->counts[i]), sums->counts[i]));
    }
}

void counters_fold_worker(struct counters_view *own, unsigned worker)
{
    uint32_t n = atomic_load(&own->head->n_listeners);

    for (uint32_t i = 0; i < n; i++) {
        struct counters_sums sums = { .sessions = 0 };
        add_worker(own, worker, i, &sums);
        add_to_total(own, i, &sums);
    }
}

void counters_fold_view(struct counters_view *own, unsigned listener,
                        const struct counters_view *view, unsigned theirs)
{
    struct counters_sums sums = { .sessions = 0 };

    add_view(view, theirs, &sums);
    add_to_total(own, listener, &sums);
}

/* Does everything that it says lie within the mapping? It may be another version's. */
static bool is_sound(const struct counters_head *head, size_t size)
{
    uint64_t listeners = head->max_listeners;
    uint64_t counts = head->n_counts * sizeof(uint64_t);

    return size >= sizeof *head - sizeof head->names && head->magic == COUNTERS_MAGIC &&
           head->n_counts <= 4096 && head->head_size <= size && head->worker_size <= size &&
           (head->max_workers == 0 ||
            head->worker_size <= (size - head->head_size) / head->max_workers) &&
           sizeof *head - sizeof head->names + head->n_counts * COUNTERS_NAME_MAX <=
               head->totals_at &&
           head->totals_at + listeners * head->total_size <= head->begins_at &&
           head->begins_at + head->max_workers * sizeof(uint64_t) <= head->head_size &&
           head->total_size == sizeof(((struct counters_total *)0)->name) + counts &&
           head->counts_at + counts <= head->listener_size &&
           head->listeners_at + listeners * head->listener_size <= head->worker_size;
}

static uint32_t find_count(const struct counters_head *head, unsigned count)
{
    char name[COUNTERS_NAME_MAX];

    counters_name(count, name);
    for (uint32_t i = 0; i < head->n_counts && name[0]; i++)
        if (strncmp(head->names[0] + (size_t)i * COUNTERS_NAME_MAX, name, sizeof name) == 0)
            return i;
    return UINT32_MAX;
}

int counters_view_open(struct counters_view *view, const struct counters_head *head, size_t size)
{
    if (!is_sound(head, size))
        return -EINVAL;
    *view = (struct counters_view){ .head = head, .size = size };
    for (unsigned i = 0; i < COUNTS; i++)
        view->theirs[i] = find_count(head, i);
    return 0;
}

static int read_names(struct counters_view *view)
{
    uint32_t n = atomic_load(&view->head->n_listeners);

    if (n > view->head->max_listeners)
        return -EINVAL;
    view->names = calloc(n > 0 ? n : 1, sizeof *view->names);
    if (!view->names)
        return -ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        struct counters_view_name *name = &view->names[view->n_names];
        (void)snprintf(name->name, sizeof name->name, "%.*s", LISTENER_NAME_MAX,
                       total(view, i)->name);
        name->number = i;
        view->n_names++;
    }
    qsort(view->names, view->n_names, sizeof *view->names, by_name);
    return 0;
}

bool counters_is(int fd)
{
    struct stat info;

    if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) ||
        (size_t)info.st_size < sizeof(struct counters_head))
        return false;
    uint64_t *magic = mmap(NULL, sizeof *magic, PROT_READ, MAP_SHARED, fd, 0);
    if (magic == MAP_FAILED)
        return false;
    bool is = *magic == COUNTERS_MAGIC;
    munmap(magic, sizeof *magic);
    return is;
}

int counters_view_map(struct counters_view *view, int fd)
{
    struct stat info;

    if (fstat(fd, &info) < 0)
        return -errno;
    void *memory = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return -errno;
    int err = counters_view_open(view, memory, (size_t)info.st_size);
    if (err == 0)
        err = read_names(view);
    if (err < 0) {
        munmap(memory, (size_t)info.st_size);
        free(view->names);
        *view = (struct counters_view){ .head = NULL };
        return err;
    }
    view->is_mapped = true;
    return 0;
}

void counters_view_close(struct counters_view *view)
{
    if (view->is_mapped)
        munmap((void *)(uintptr_t)view->head, view->size);
    free(view->names);
    *view = (struct counters_view){ .head = NULL };
}
