/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * claims: what each instance of mmproxy in a network namespace needs of the return path, and
 * whether any still needs it.
 *
 * A claim lives as long as its socket: an abstract Unix socket of this network namespace that
 * all workers inherit. A file in the runtime directory says what the claim needs. There is no lock:
 * an instance claims first and then looks at what is there, so that an instance that removes
 * something either sees the claim or is seen to have removed it.
 */
#ifndef MMPROXY_ROUTING_MANAGED_CLAIMS_H
#define MMPROXY_ROUTING_MANAGED_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>

#include "mmproxy/routing/wanted/wanted.h"

enum { CLAIMS_ID_LEN = 48 };

/* An instance's own claim. */
struct claim {
    int fd; /* keeps it alive, in every process that has it open; -1 = not made yet */
    char id[CLAIMS_ID_LEN];
};

/* The result of claims_read; all zero is empty. */
struct claims_view {
    struct wanted others; /* what living claims need, own ones apart */
    /*
     * There are living claims that can't be read here, as those of another runtime directory:
     * what is found may be theirs.
     */
    bool has_unseen;
    bool is_incomplete;          /* it is not known which claims live, or what they say */
    char (*dead)[CLAIMS_ID_LEN]; /* owned */
    size_t n_dead;
};

/*
 * Says what this instance needs, in place of what it said before; makes the claim at the first
 * call. An unchanged claim is not written again. Where it can't be written the claim lives
 * without a file, and others leave alone what may be ours. returns: 0 or -errno.
 */
int claims_say(struct claim *claim, const struct wanted *wanted);

/* Takes the claim back. The socket lives on in processes that inherited it. */
void claims_withdraw(struct claim *claim);

/* Leaves the file, dead, for the next instance to find. */
void claims_abandon(struct claim *claim);

/* Looks for all claims but own. returns: 0, or the first -errno, then is_incomplete is set. */
int claims_read(const struct claim *own, struct claims_view *view);
void claims_view_close(struct claims_view *view);

/* Removes the files of dead claims; to be called when nothing is left that only they needed. */
void claims_bury(const struct claims_view *view);

/* Is there the file of any claim, dead or alive? True where that can't be looked up. */
bool claims_exist(void);

#endif
