/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/datagram/peers.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mmproxy/base/hash.h"
#include "mmproxy/base/shared.h"

/*
 * This takes address space; memory is taken only for pages in use. LAYOUT changes with whatever is
 * in the mapping.
 */
enum {
    LAYOUT = 3,
    REGIONS = sizeof(void *) > 4 ? 4096 : 64,
    WAYS = PEERS_WAYS,
    TRIES = 1000, /* at a place that is being written, which takes nanoseconds */
};

static const char magic[16] = "mmproxy peers";

/*
 * seq is odd while the entry is written, and 0 before the first time. A reader that finds it odd,
 * or changed behind its reading, has read nothing.
 */
struct peers_entry {
    _Atomic uint32_t seq;
    bool is_named;
    uint64_t listener;
    uint64_t named_us;
    uint64_t idle_us; /* not used for so long, it is stale */
    _Atomic uint64_t used_us;
    struct addr peer;
    struct addr client;
};

/* Where peers of one hash are. */
struct set {
    _Atomic uint64_t
        lost_us; /* the newest header that was noted here and had to go: when it came */
    struct peers_entry ways[WAYS];
};

/* Where the way to clients of one hash is. seq means what it does in struct peers_entry. */
struct way_entry {
    _Atomic uint32_t seq;
    uint64_t listener;
    struct addr client;
    struct peers_way way;
    uint64_t came_us;
};

struct region {
    _Atomic uint32_t reading; /* the epoch of the worker that reads sockets; 0 = none */
    struct set sets[];
    /* and a struct way_entry for each entry in them */
};

/* The first pages, which supervisors alone write. */
struct head {
    char magic[sizeof magic];
    uint32_t layout;
    uint32_t n_sets; /* of each region */
    struct hash_secret secret;
    _Atomic uint32_t epoch;
    _Atomic uint32_t n_regions; /* regions with higher numbers were never used */
    _Atomic int owners[REGIONS];
};

struct peers {
    struct head *head;
    int fd;
    uint32_t n_sets;    /* as in the head */
    struct region *own; /* a worker's */
};

static size_t head_size(void)
{
    return shared_whole_pages(sizeof(struct head));
}

static size_t region_size(uint32_t n_sets)
{
    size_t size = sizeof(struct set) + WAYS * sizeof(struct way_entry);

    return shared_whole_pages(sizeof(struct region) + n_sets * size);
}

static size_t size_of_all(uint32_t n_sets)
{
    return head_size() + REGIONS * region_size(n_sets);
}

static struct region *region_at(const struct peers *peers, unsigned number)
{
    uint8_t *first = (uint8_t *)peers->head + head_size();

    return (struct region *)(void *)(first + number * region_size(peers->n_sets));
}

int peers_new(struct peers **out, uint32_t n_sets)
{
    struct peers *peers = calloc(1, sizeof *peers);
    if (!peers)
        return -ENOMEM;

    peers->n_sets = n_sets;
    peers->head = shared_new_file(size_of_all(n_sets), &peers->fd);
    if (!peers->head) {
        peers_free(peers);
        return -ENOMEM;
    }
    memcpy(peers->head->magic, magic, sizeof magic);
    peers->head->layout = LAYOUT;
    peers->head->n_sets = n_sets;
    int err = hash_secret_make(&peers->head->secret);
    if (err < 0)
        peers_free(peers);
    else
        *out = peers;
    return err;
}

static bool is_layout(const struct head *head, off_t size)
{
    return memcmp(head->magic, magic, sizeof magic) == 0 && head->layout == LAYOUT &&
           head->n_sets > 0 && size == (off_t)size_of_all(head->n_sets);
}

int peers_adopt(struct peers **out, int fd)
{
    struct stat status;
    struct head head;

    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode) || pread(fd, &head, sizeof head, 0) != (ssize_t)sizeof head ||
        !is_layout(&head, status.st_size))
        return -EINVAL;
    struct peers *peers = calloc(1, sizeof *peers);
    if (!peers)
        return -ENOMEM;
    peers->fd = -1;
    peers->n_sets = head.n_sets;
    peers->head = shared_map(fd, size_of_all(head.n_sets));
    if (!peers->head) {
        peers_free(peers);
        return -ENOMEM;
    }
    peers->fd = fd;
    *out = peers;
    return 0;
}

void peers_free(struct peers *peers)
{
    if (!peers)
        return;
    peers_leave(peers);
    shared_free(peers->head, size_of_all(peers->n_sets));
    free(peers);
}

int peers_fd(const struct peers *peers)
{
    return peers->fd;
}

void peers_leave(struct peers *peers)
{
    if (peers && peers->fd >= 0) {
        close(peers->fd);
        peers->fd = -1;
    }
}

/* A supervisor that was killed has released nothing. */
static bool is_free(int owner)
{
    return owner == 0 || (kill(owner, 0) < 0 && errno == ESRCH);
}

int peers_claim(struct peers *peers)
{
    struct head *head = peers->head;

    for (unsigned i = 0; i < REGIONS; i++) {
        int owner = atomic_load(&head->owners[i]);
        if (!is_free(owner) || !atomic_compare_exchange_strong(&head->owners[i], &owner, getpid()))
            continue;
        atomic_store(&region_at(peers, i)->reading, 0);
        uint32_t n = atomic_load(&head->n_regions);
        while (n <= i && !atomic_compare_exchange_weak(&head->n_regions, &n, i + 1))
            ;
        return (int)i;
    }
    return -ENOSPC;
}

void peers_set_owner(struct peers *peers, unsigned region, int pid)
{
    atomic_store(&peers->head->owners[region], pid);
}

void peers_release(struct peers *peers, unsigned region)
{
    atomic_store(&region_at(peers, region)->reading, 0);
    atomic_store(&peers->head->owners[region], 0);
}

uint32_t peers_next_epoch(struct peers *peers)
{
    return atomic_fetch_add(&peers->head->epoch, 1) + 1;
}

int peers_own(struct peers *peers, unsigned region)
{
    peers->own = region_at(peers, region);
    return shared_own(peers->head, size_of_all(peers->n_sets), peers->own,
                      region_size(peers->n_sets));
}

void peers_start_reading(struct peers *peers, uint32_t epoch)
{
    atomic_store(&peers->own->reading, epoch);
}

void peers_stop_reading(struct peers *peers)
{
    atomic_store(&peers->own->reading, 0);
}

bool peers_earlier_read(const struct peers *peers, uint32_t epoch)
{
    uint32_t n = atomic_load(&peers->head->n_regions);

    for (uint32_t i = 0; i < n; i++) {
        uint32_t reading = atomic_load(&region_at(peers, i)->reading);
        if (reading != 0 && reading < epoch)
            return true;
    }
    return false;
}

uint64_t peers_listener(const struct peers *peers, const char *name)
{
    struct addr part;
    uint64_t hash = strlen(name);

    while (*name) {
        uint8_t bytes[16] = { 0 };
        memcpy(bytes, name, strnlen(name, sizeof bytes));
        addr_from_bytes(&part, AF_INET6, bytes, 0);
        hash = hash_host(&peers->head->secret, &part, hash);
        name += strnlen(name, sizeof bytes);
    }
    return hash;
}

static unsigned set_of(const struct peers *peers, uint64_t listener, const struct addr *peer)
{
    uint64_t number = listener ^ (uint64_t)addr_port(peer) << 48;

    return (unsigned)(hash_host(&peers->head->secret, peer, number) % peers->n_sets);
}

static uint64_t stale_us(const struct peers_entry *entry)
{
    return entry->used_us + entry->idle_us;
}

/* An older header of the same peer, noted in another region, must not count again. */
static void note_loss(struct set *set, uint64_t named_us)
{
    if (named_us > atomic_load(&set->lost_us))
        atomic_store(&set->lost_us, named_us);
}

/* The peer's own entry, else an entry whose writer died, a free one, or the first to be stale. */
static struct peers_entry *place_for(struct set *set, uint64_t listener, const struct addr *peer,
                                     uint64_t now_us)
{
    struct peers_entry *best = &set->ways[0];

    for (unsigned i = 0; i < WAYS; i++) {
        struct peers_entry *each = &set->ways[i];
        if (each->seq % 2 == 0 && each->listener == listener && addr_equal(&each->peer, peer))
            return each;
    }
    for (unsigned i = 1; i < WAYS && best->seq % 2 == 0; i++)
        if (set->ways[i].seq % 2 == 1 || stale_us(&set->ways[i]) < stale_us(best))
            best = &set->ways[i];
    if (best->seq % 2 == 1)
        note_loss(set, now_us);
    else if (now_us < stale_us(best))
        note_loss(set, best->named_us);
    return best;
}

struct peers_entry *peers_note(struct peers *peers, uint64_t listener, const struct addr *peer,
                               const struct peers_client *client, uint64_t now_us, uint64_t idle_us)
{
    struct peers_entry *entry =
        place_for(&peers->own->sets[set_of(peers, listener, peer)], listener, peer, now_us);
    uint32_t seq = atomic_load(&entry->seq) | 1;

    atomic_store(&entry->seq, seq);
    atomic_thread_fence(memory_order_release);
    entry->is_named = client->is_named;
    entry->listener = listener;
    entry->named_us = client->named_us;
    entry->idle_us = idle_us;
    atomic_store_explicit(&entry->used_us, now_us, memory_order_relaxed);
    entry->peer = *peer;
    entry->client = client->addr;
    atomic_store_explicit(&entry->seq, seq + 1, memory_order_release);
    return entry;
}

bool peers_use(struct peers_entry *entry, uint64_t listener, const struct addr *peer,
               uint64_t now_us)
{
    if (entry->listener != listener || !addr_equal(&entry->peer, peer))
        return false;
    atomic_store_explicit(&entry->used_us, now_us, memory_order_relaxed);
    return true;
}

/* The reader's findings so far. */
struct search {
    uint64_t listener;
    const struct addr *peer;
    uint64_t idle_us;
    uint64_t until_us; /* when the best is stale */
    bool is_unsure;
    struct peers_client best;
};

/* Copies an entry of either kind: seq is the first in both. returns: whether it was written whole.
 */
static bool read_whole(const void *entry, void *copy, size_t size)
{
    const _Atomic uint32_t *seq = entry;

    for (unsigned i = 0; i < TRIES; i++) {
        uint32_t before = atomic_load_explicit(seq, memory_order_acquire);
        if (before % 2 == 1)
            continue;
        memcpy(copy, entry, size);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(seq, memory_order_relaxed) == before)
            return true;
    }
    return false;
}

static void look_at(struct search *search, const struct peers_entry *entry)
{
    struct peers_entry copy;

    if (!read_whole(entry, &copy, sizeof copy)) {
        search->is_unsure = true;
        return;
    }
    if (copy.seq == 0 || copy.listener != search->listener ||
        !addr_equal(&copy.peer, search->peer) || copy.named_us < search->best.named_us)
        return;
    if (copy.named_us > search->best.named_us)
        search->until_us = 0; /* of an older header */
    uint64_t idle_us = copy.idle_us < search->idle_us ? copy.idle_us : search->idle_us;
    if (copy.used_us + idle_us > search->until_us)
        search->until_us = copy.used_us + idle_us;
    search->best = (struct peers_client){ .addr = copy.client,
                                          .is_named = copy.is_named,
                                          .named_us = copy.named_us };
}

bool peers_find(const struct peers *peers, uint64_t listener, const struct addr *peer,
                uint64_t now_us, uint64_t idle_us, struct peers_client *out)
{
    struct search search = { .listener = listener, .peer = peer, .idle_us = idle_us };
    uint32_t n = atomic_load(&peers->head->n_regions);
    unsigned number = set_of(peers, listener, peer);
    uint64_t lost_us = 0;

    for (uint32_t i = 0; i < n; i++) {
        const struct set *set = &region_at(peers, i)->sets[number];
        for (unsigned way = 0; way < WAYS; way++)
            look_at(&search, &set->ways[way]);
        if (atomic_load(&set->lost_us) > lost_us)
            lost_us = atomic_load(&set->lost_us);
    }
    *out = search.best;
    return !search.is_unsure && search.best.named_us >= lost_us && addr_is_set(&search.best.addr) &&
           now_us < search.until_us;
}

/* The place of a client's way in every region. */
static size_t way_number(const struct peers *peers, uint64_t listener, const struct addr *client)
{
    uint64_t number = listener ^ (uint64_t)addr_port(client) << 48;

    return hash_host(&peers->head->secret, client, number) % ((size_t)peers->n_sets * WAYS);
}

static struct way_entry *way_at(const struct peers *peers, struct region *region, size_t number)
{
    struct way_entry *first = (struct way_entry *)(void *)&region->sets[peers->n_sets];

    return &first[number];
}

void peers_note_way(struct peers *peers, uint64_t listener, const struct addr *client,
                    const struct peers_way *way, uint64_t now_us)
{
    struct way_entry *entry = way_at(peers, peers->own, way_number(peers, listener, client));
    uint32_t seq = atomic_load(&entry->seq) | 1;

    atomic_store(&entry->seq, seq);
    atomic_thread_fence(memory_order_release);
    entry->listener = listener;
    entry->client = *client;
    entry->way = *way;
    entry->came_us = now_us;
    atomic_store_explicit(&entry->seq, seq + 1, memory_order_release);
}

/* returns: whether it was written whole, and is this client's. */
static bool read_way(const struct way_entry *entry, uint64_t listener, const struct addr *client,
                     struct way_entry *copy)
{
    return read_whole(entry, copy, sizeof *copy) && copy->listener == listener &&
           addr_equal(&copy->client, client) && addr_is_set(&copy->way.peer) &&
           addr_is_set(&copy->way.local);
}

bool peers_find_way(const struct peers *peers, uint64_t listener, const struct addr *client,
                    uint64_t now_us, uint64_t idle_us, struct peers_way *out)
{
    uint32_t n = atomic_load(&peers->head->n_regions);
    size_t number = way_number(peers, listener, client);
    uint64_t latest_us = 0;

    for (uint32_t i = 0; i < n; i++) {
        struct way_entry copy;
        if (!read_way(way_at(peers, region_at(peers, i), number), listener, client, &copy) ||
            copy.came_us < latest_us)
            continue;
        latest_us = copy.came_us;
        *out = copy.way;
    }
    return latest_us > 0 && now_us < latest_us + idle_us;
}
