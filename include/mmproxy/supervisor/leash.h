/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * leash: how the sessions of an earlier process are ended. Workers may outlive their supervisor:
 * after SIGUSR2, after a restart, after kill -9. Then the later process holds their leash.
 *
 * A leash is a pipe. A supervisor and all its workers have its reading end and never read: a byte
 * in it says to all of them that sessions are to be reset now. The writing end is with the
 * supervisor, with its successor (SIGUSR2), and in the service manager's store for the next start.
 * An old process makes the leash of its successor, so that it is in the store before the successor
 * has workers. When no process has the reading end any more, all of them have ended.
 */
#ifndef MMPROXY_SUPERVISOR_LEASH_H
#define MMPROXY_SUPERVISOR_LEASH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "mmproxy/supervisor/reader.h"

/* The leash of an earlier process, or of a successor that has not taken over yet. */
struct leash {
    LIST_ENTRY(leash) link;
    int fd;          /* the writing end */
    int counters_fd; /* of the earlier process's counters (counters.h); -1 = none came with it */
    int counted;     /* the number that they have in ours; -1 = none */
    struct leashes *owner;
    struct reader reader;
};

struct leashes {
    int end;  /* of our own: the reading end, which workers inherit; -1 = there is none */
    int pull; /* of our own: the writing end */
    struct reader end_reader;
    LIST_HEAD(, leash) earlier;
    size_t n_earlier;
    struct ev_loop *loop;
    void (*on_pulled)(void *context); /* a later process ends the sessions here */
    /* An earlier process and its workers have gone; counted: the leash's. */
    void (*on_gone)(void *context, int counted);
    void *context;
};

/* Is this descriptor, which was handed over at the start, a leash's writing end? */
bool leash_is(int fd);

/* Is it a reading end, and so that of our own? */
bool leash_is_end(int fd);

/*
 * Both take fd and may be called before leash_open, with *leashes all zero, but for end and pull,
 * which are -1, the two functions and context. leash_adopt: another process's, or the writing end
 * of our own. returns: 0 or -ENOMEM.
 */
void leash_take_end(struct leashes *leashes, int fd);
int leash_adopt(struct leashes *leashes, int fd);

/* Makes one for a successor: the reading end and the writing end. returns: 0 or -errno. */
int leash_make(int ends[2]);

/* Takes the counters of the process whose leash was adopted last. returns: 0, -ENOENT: none was. */
int leash_adopt_counters(struct leashes *leashes, int fd);

/* Makes our own where there is none yet, and listens to all. returns: 0 or -errno. */
int leash_open(struct leashes *leashes, struct ev_loop *loop);

/* Ends the sessions of all earlier processes. */
void leash_pull_all(struct leashes *leashes);

/* Those of earlier processes are another one's business. */
void leash_drop_all(struct leashes *leashes);

/* In a forked worker: only the reading end stays. */
void leash_leave(struct leashes *leashes);

/* For the end. Harmless if it could not be opened. */
void leash_close(struct leashes *leashes);

#endif
