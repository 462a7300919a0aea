/* SPDX-License-Identifier: BSD-2-Clause */
/* counters_internal: the layout of the shared mapping, for counters.c and counters_sum.c. */
#ifndef WORKER_COUNTERS_INTERNAL_H
#define WORKER_COUNTERS_INTERNAL_H

#include "mmproxy/worker/counters.h"

#define COUNTERS_MAGIC UINT64_C(0x31746e75636d6d6d)

enum {
    COUNTERS_NAME_MAX = 40,    /* of a counter, with its NUL */
    COUNTERS_EARLIER_MAX = 64, /* processes of which workers are left */
};

/* The supervisor's own pages: the head, then a total for each listener, then when workers began. */
struct counters_head {
    uint64_t magic;
    uint64_t head_size; /* all of the supervisor's pages */
    uint64_t worker_size;
    uint32_t max_workers;
    uint32_t max_listeners;
    uint32_t begins_at; /* uint64_t for each worker: monotonic, in microseconds */
    uint32_t totals_at;
    uint32_t total_size;    /* the name is first, the counts are last in it */
    uint32_t listeners_at;  /* in a worker's pages */
    uint32_t listener_size; /* sessions and pending are first in it, as uint32_t */
    uint32_t counts_at;     /* in a listener */
    uint32_t n_counts;
    uint32_t clients_at;          /* in a worker's pages: struct clients */
    uint32_t clients_form;        /* CLIENTS_FORM of that version */
    struct hash_secret secret;    /* of the keys there */
    _Atomic uint32_t n_workers;   /* those in use have numbers below that */
    _Atomic uint32_t n_listeners; /* the same */
    _Atomic uint32_t changes;     /* odd: what workers counted is being moved to the totals */
    atomic_bool is_earlier[COUNTERS_EARLIER_MAX]; /* is that process's mapping to be added? */
    char names[COUNTS][COUNTERS_NAME_MAX];
};

struct counters_total {
    char name[LISTENER_NAME_MAX + 1];
    _Atomic uint64_t counts[COUNTS];
};

/* A mapping, this process's own or that of an earlier one. */
struct counters_view {
    const struct counters_head *head; /* NULL: closed */
    size_t size;
    bool is_mapped;          /* by counters_view_map */
    uint32_t theirs[COUNTS]; /* the place of each of our counts there; UINT32_MAX = none */
    struct counters_view_name {
        char name[LISTENER_NAME_MAX + 1];
        unsigned number;
    } * names; /* of an earlier one, sorted; owned */
    size_t n_names;
};

/* A name that is known, claimed or not; also a node of a tree, which is why the name is first. */
struct claim {
    char name[LISTENER_NAME_MAX + 1];
    unsigned listener;
    unsigned n;
};

struct counters {
    struct counters_head *head; /* the shared mapping begins with it */
    size_t head_size;
    size_t begins_size;
    size_t worker_size;
    unsigned max_workers;
    unsigned max_listeners;
    int fd; /* of the mapping; -1 = none */
    struct counters_view own;
    struct counters_view earlier[COUNTERS_EARLIER_MAX];
    bool has_ended[COUNTERS_EARLIER_MAX];
    unsigned n_earlier;
    /* For the supervisor alone. */
    void *names;           /* a tree of claims, for tsearch(3) */
    struct claim **claims; /* the same by number; NULL = free */
    unsigned first_free;   /* no number below it is free */
    bool *is_worker;       /* by number */
};

/* The name of a count, for other versions. */
void counters_name(unsigned count, char out[COUNTERS_NAME_MAX]);

/* returns: 0, or -EINVAL: there is something else in it. */
int counters_view_open(struct counters_view *view, const struct counters_head *head, size_t size);

/* Maps another process's. returns: 0 or -errno. */
int counters_view_map(struct counters_view *view, int fd);
void counters_view_close(struct counters_view *view);

/* When the worker began. */
_Atomic uint64_t *counters_view_began(const struct counters_view *view, unsigned worker);

/* Before and after what readers must not see half done. */
void counters_change(struct counters_head *head);

/* In the supervisor's own mapping: a listener with that number begins at zero. */
void counters_total_begin(struct counters_view *own, unsigned listener, const char *name);

/* Adds to the totals what a worker has counted, of all listeners. */
void counters_fold_worker(struct counters_view *own, unsigned worker);

/* ... and what another process has counted, of one listener. */
void counters_fold_view(struct counters_view *own, unsigned listener,
                        const struct counters_view *view, unsigned theirs);

#endif
