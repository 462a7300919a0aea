/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pump: moves the bytes of one direction of a session, from one socket to another. Two of
 * them, each on its own, make a session; half-close follows from that.
 *
 * Small messages are copied through one buffer that all sessions of a worker share; a
 * direction that proves bulky is spliced through a pipe instead. Buffer and pipe belong to
 * the pump_pool and are borrowed for one call, so an idle direction holds neither; only what
 * the receiver would not take stays behind, in a pipe or on the heap.
 */
#ifndef MMPROXY_NET_PUMP_H
#define MMPROXY_NET_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pump_pool;
struct pump_backlog;

/* returns: NULL when memory is short. max_pipes: kept at once, idle or in use. */
struct pump_pool *pump_pool_new(unsigned max_pipes);
/* Every pump must have been closed before. */
void pump_pool_free(struct pump_pool *pool);

/*
 * The buffer itself, free between two calls of pump_run, for callers that read what is not
 * to be relayed (the header). size: its bytes.
 */
uint8_t *pump_pool_buffer(struct pump_pool *pool, size_t *size);

/* The event that a direction waits for: always exactly one. */
enum pump_wait {
    PUMP_READ,       /* `from` to become readable */
    PUMP_WRITE,      /* `to` to become writable */
    PUMP_DONE,       /* nothing: end of file, and `to` has taken every byte: FIN is due */
    PUMP_FROM_ERROR, /* nothing: reading failed, error says how (ECONNRESET, ...) */
    PUMP_TO_ERROR,   /* nothing: writing failed, error says how (EPIPE, ECONNRESET, ...) */
};

struct pump {
    int from; /* both sockets are the caller's, non-blocking */
    int to;
    struct pump_backlog *backlog; /* what `to` would not take yet; NULL = nothing */
    uint64_t bytes;               /* taken by `to` so far */
    enum pump_wait wait;          /* what the last call returned; PUMP_READ before the first */
    int error;                    /* errno behind PUMP_FROM_ERROR and PUMP_TO_ERROR */
    uint8_t full_reads;           /* in a row: the measure of bulkiness */
    uint8_t at_eof;
    uint8_t delays; /* `to` lacks TCP_NODELAY: a second piece will need it, a first one does not */
    uint8_t is_cut_off; /* see pump_cut_off */
    uint8_t has_more;   /* see pump_take_more */
    uint8_t has_ended;  /* see pump_tell */
    uint8_t is_urgent;
};

void pump_open(struct pump *pump, int from, int to);

/* Drops what has not been delivered. Closes neither socket. */
void pump_close(struct pump *pump, struct pump_pool *pool);

/*
 * Queues bytes that came ahead of the first pump_run (payload read with the header). They
 * are copied. returns: 0 or -ENOMEM. To be called at most once.
 */
int pump_prime(struct pump *pump, const uint8_t *bytes, size_t len);

/*
 * Delivers what waits and reads nothing: for the start, when the socket has just been emptied
 * along with the header.
 */
enum pump_wait pump_flush(struct pump *pump, struct pump_pool *pool);

/*
 * Moves what can be moved now, up to a share that keeps a worker fair to its other
 * sessions; never blocks. To be called when what it waited for is ready, or at any time.
 */
enum pump_wait pump_run(struct pump *pump, struct pump_pool *pool);

/*
 * What is known of `from`: has_ended: its other side has, so nothing is behind the bytes that are
 * there now. is_urgent: there has been an urgent byte. The kernel stops before such a byte, so
 * a short read does not say that there is no more.
 */
void pump_tell(struct pump *pump, bool has_ended, bool is_urgent);

/*
 * May what it waits for be there already, as far as is known? The last call left bytes in `from`
 * for others to have their turn, say, or moved nothing. Asking clears it: a caller that is told of
 * changes only has to look whether `from` or `to` is ready.
 */
bool pump_take_more(struct pump *pump);

/*
 * To be called when `from` is known to have failed: a send to it failed, and so took the error
 * that reading would have met. What it had sent before is still moved, but its end of file is
 * PUMP_FROM_ERROR from now on, never PUMP_DONE.
 */
void pump_cut_off(struct pump *pump);

#endif
