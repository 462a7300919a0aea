/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clients: how many sessions each client has at each listener, over all workers and generations:
 * what max_sessions_per_client is about.
 *
 * Every worker has a table of its own in one shared anonymous mapping. It alone writes it and all
 * read it, so when a worker dies its sessions are forgotten with its table, whatever it was doing.
 */
#ifndef MMPROXY_WORKER_CLIENTS_H
#define MMPROXY_WORKER_CLIENTS_H

#include "mmproxy/base/addr.h"

/* What a worker counts at most: different clients at once, each listener's apart. */
enum { CLIENTS_MAX = 48 * 1024 };

struct clients;

/*
 * For so many workers, in the supervisor, before the first of those that are to count is forked.
 * Address space is reserved; at most half a MiB a worker is taken of it, as it is used.
 * returns: NULL when memory is short; else for clients_free.
 */
struct clients *clients_new(unsigned workers);
void clients_free(struct clients *clients);

/* In the supervisor: the workers that there are have numbers below n_workers. */
void clients_look_at(struct clients *clients, unsigned n_workers);

/*
 * In a worker, before it reads a stranger's byte: it can't write any other worker's table from now
 * on. returns: 0 or -errno.
 */
int clients_own(struct clients *clients, unsigned worker);

/*
 * Counts one more session of a client (its port does not matter) unless max are there already.
 * Two workers that ask at the same moment for the last one may both be refused.
 * returns: 0, then clients_end is due; -EDQUOT: there are max; -ENOSPC: the table is full.
 */
int clients_begin(struct clients *clients, unsigned worker, unsigned listener,
                  const struct addr *client, unsigned max);
void clients_end(struct clients *clients, unsigned worker, unsigned listener,
                 const struct addr *client);

/* In the supervisor: no process is that worker; who is it next begins with nothing. */
void clients_forget(struct clients *clients, unsigned worker);

#endif
