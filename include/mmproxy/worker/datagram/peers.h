/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * peers: for udp_header = "first", whose datagrams a load balancer sends from an address and port.
 * Only the first of them says so. All workers of all generations share what they have learnt, so
 * that a session keeps its client when another worker takes its datagrams: after a reload, the
 * death of a worker, an upgrade of the binary.
 *
 * - What the newest header from a peer says counts, in whichever worker it came in. A header whose
 *   client is refused counts as well: then the peer has no client.
 * - An entry that was not used for idle_timeout counts no longer.
 * - Where a newer header may have been forgotten, for lack of room or with the worker that wrote
 *   it, nothing counts: a datagram without a header is dropped then, and never sent in the name of
 *   a client that may be another.
 *
 * It says as well by which way a client's latest datagram came: the kernel gives an answer to the
 * latest of the client's sockets, and that may be another worker's.
 *
 * It also says who reads the sockets: a worker begins when those of earlier generations have
 * stopped. Two at once could take a header and the datagram behind it in the wrong order.
 *
 * The mapping is in memory that the supervisor owns. Each worker has a region of its own there, the
 * only one that it can write.
 */
#ifndef MMPROXY_WORKER_DATAGRAM_PEERS_H
#define MMPROXY_WORKER_DATAGRAM_PEERS_H

#include <stdbool.h>
#include <stdint.h>

#include "mmproxy/base/addr.h"

/*
 * A worker has room for n_sets * PEERS_WAYS peers: here 32,768, and less in a 32-bit process, whose
 * address space is small.
 */
enum { PEERS_WAYS = 8, PEERS_SETS = sizeof(void *) > 4 ? 4096 : 512 };

struct peers;
struct peers_entry;

/* For whom a peer speaks. */
struct peers_client {
    struct addr addr;  /* not set: no client */
    bool is_named;     /* by a header; else it is the peer itself */
    uint64_t named_us; /* monotonic: when the header came */
};

/* How answers get to a client. */
struct peers_way {
    struct addr peer;  /* that its latest datagram came from */
    struct addr local; /* where that was sent to: this host's address, and the listener's port */
};

/* ---- the supervisor -------------------------------------------------------------------- */

/* n_sets: for each worker, such as PEERS_SETS. returns: 0 with *out, or -errno. */
int peers_new(struct peers **out, uint32_t n_sets);

/*
 * The same with what another process has handed over. It takes fd over, if it is of use.
 * returns: 0 with *out, or -errno: -EINVAL where fd is something else, or of another version.
 */
int peers_adopt(struct peers **out, int fd);

/* Takes NULL. */
void peers_free(struct peers *peers);

/* The descriptor to hand over; -1: an old kernel has no such files. */
int peers_fd(const struct peers *peers);

/* In a forked process, which must not hold the descriptor. Takes NULL. */
void peers_leave(struct peers *peers);

/*
 * A region for a worker, to be released when it has died; what is in it stays. pid: whose it is, as
 * soon as that is known. returns: its number, or -ENOSPC.
 */
int peers_claim(struct peers *peers);
void peers_set_owner(struct peers *peers, unsigned region, int pid);
void peers_release(struct peers *peers, unsigned region);

/* A number for a generation: above those of all before, in all processes. */
uint32_t peers_next_epoch(struct peers *peers);

/* ---- a worker -------------------------------------------------------------------------- */

/* From now on it can write its own region only. returns: 0 or -errno. */
int peers_own(struct peers *peers, unsigned region);

/* From now on, until peers_stop_reading, this worker reads. */
void peers_start_reading(struct peers *peers, uint32_t epoch);
void peers_stop_reading(struct peers *peers);

/* Does a worker of an earlier generation still read? */
bool peers_earlier_read(const struct peers *peers, uint32_t epoch);

/* The key of a listener, from its name. */
uint64_t peers_listener(const struct peers *peers, const char *name);

/*
 * The peer speaks for this client at the listener, until it has not been used for idle_us. returns:
 * where that is noted, for peers_use; where there is no room, what is stale first goes.
 */
struct peers_entry *peers_note(struct peers *peers, uint64_t listener, const struct addr *peer,
                               const struct peers_client *client, uint64_t now_us,
                               uint64_t idle_us);

/*
 * It is used. Only a worker that reads may say so: a newer header may have come to another one
 * since this one stopped. returns: false where the place is another peer's meanwhile.
 */
bool peers_use(struct peers_entry *entry, uint64_t listener, const struct addr *peer,
               uint64_t now_us);

/* returns: whether the peer speaks for a client, and then *out. */
bool peers_find(const struct peers *peers, uint64_t listener, const struct addr *peer,
                uint64_t now_us, uint64_t idle_us, struct peers_client *out);

/*
 * A datagram of the client came by this way, now. Another client's way may have to go, which is
 * found no more then.
 */
void peers_note_way(struct peers *peers, uint64_t listener, const struct addr *client,
                    const struct peers_way *way, uint64_t now_us);

/*
 * The latest way that a worker has noted, not longer than idle_us ago. Its peer may speak for
 * another client meanwhile. returns: whether there is one, and then *out.
 */
bool peers_find_way(const struct peers *peers, uint64_t listener, const struct addr *client,
                    uint64_t now_us, uint64_t idle_us, struct peers_way *out);

#endif
