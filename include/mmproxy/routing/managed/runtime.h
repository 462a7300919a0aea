/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * runtime: what must outlive a crash, and what several mmproxy on one host must know of each
 * other, in the runtime directory ($RUNTIME_DIRECTORY, else /run/mmproxy). Everything is kept
 * by network namespace: what one has set up is none of another's business.
 *
 * An instance's claim, the list of what it needs, is a file that it holds a lock on: the
 * kernel drops the lock when the last process that inherited it is gone, so a claim never
 * outlives its owner. Where the directory can't be used everything works in memory, for
 * this process alone.
 */
#ifndef MMPROXY_ROUTING_MANAGED_RUNTIME_H
#define MMPROXY_ROUTING_MANAGED_RUNTIME_H

#include "mmproxy/routing/managed/remembered.h"

struct runtime;

/* errors: NULL when memory is short. */
struct runtime *runtime_new(void);

/* runtime_withdraw, and frees. */
void runtime_free(struct runtime *runtime);

/* Instead of runtime_free: leaves the claim's file, dead, for another instance to find. */
void runtime_abandon(struct runtime *runtime);

/* In a forked child instead of runtime_free: the claim stands while the child lives. */
void runtime_leave(struct runtime *runtime);

/*
 * 0, or -errno: why the directory can't be used and nothing is remembered over a crash. Each
 * runtime_lock tries again.
 */
int runtime_error(const struct runtime *runtime);

/*
 * Keeps other instances from changing anything meanwhile. What is below, up to runtime_sysctls,
 * is to be called between the two, also where the lock was not to be had: a disturbance heals,
 * a return path that nobody sets up does not. Without it nothing is written but our own claim.
 * returns: 0, also where there is no directory; -EBUSY where another one does not let go; or
 * what the directory said.
 */
int runtime_lock(struct runtime *runtime);
void runtime_unlock(struct runtime *runtime);

/* Replaces this instance's claim, and saves what could not be before. returns: 0 or -errno. */
int runtime_claim(struct runtime *runtime, const struct wanted *wanted);

/* What runtime_others found besides the claims. */
struct runtime_view {
    /*
     * There are instances in this network namespace whose claims can't be seen here (another
     * runtime directory, or none): what is found may be theirs.
     */
    bool strangers;
    bool incomplete; /* some claims, or all, could not be read: what is found may be theirs */
    bool died;       /* a dead claim was found, and cleared away */
};

/* Adds to out what the other living instances claim. returns: 0 or the first -errno. */
int runtime_others(struct runtime *runtime, struct wanted *out, struct runtime_view *view);

/*
 * Remembers a sysctl's value unless it has one already. returns: 0, or -errno where it is in
 * memory alone: this process knows it, the next one would not; -ENOBUFS where there are too
 * many and it is not remembered at all.
 */
int runtime_remember(struct runtime *runtime, const char *name, int value);
int runtime_forget(struct runtime *runtime, const char *name);

/* What is remembered; valid until the next call of any of these. */
const struct runtime_sysctl *runtime_sysctls(const struct runtime *runtime, size_t *n);

/*
 * To be called unlocked, it locks: takes this instance's claim back, and removes the files when
 * no other claim is left and no sysctl is remembered. runtime_claim may follow some time.
 */
void runtime_withdraw(struct runtime *runtime);

/*
 * Needs no lock: is there a claim, of whomever, dead or alive? False where there is no runtime
 * directory, true where it can't be read.
 */
bool runtime_has_claims(const struct runtime *runtime);

#endif
