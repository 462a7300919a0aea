/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * install: adds what is missing of the return path and removes what is ours and no longer
 * needed. Rules of others are never touched: ours bear our rtnetlink protocol number,
 * or stands in our own nftables table, or is remembered as a changed sysctl.
 */
#ifndef MMPROXY_ROUTING_MANAGED_INSTALL_H
#define MMPROXY_ROUTING_MANAGED_INSTALL_H

#include <stdbool.h>

#include "mmproxy/net/rtnl.h"
#include "mmproxy/routing/managed/originals.h"
#include "mmproxy/routing/wanted/wanted.h"

enum {
    INSTALL_PROTOCOL = 77, /* of our rules and routes; no number that iproute2 has a name for */
    INSTALL_LINES_MAX = 20,
};

struct install {
    struct rtnl *rtnl;           /* the caller's, as is originals */
    struct originals *originals; /* of sysctls that are not in a file yet */
    const char *added;           /* how lines about what is added begin: "[+] Return path:" */
    const char *moved;   /* the same about a rule that was there, behind another that hid it */
    bool hush_failures;  /* they were told before */
    unsigned n_lines;    /* of log lines so far; more than INSTALL_LINES_MAX are counted only */
    bool failed;         /* something wanted is not there now */
    int originals_error; /* the first -errno of keeping what a sysctl was; 0 = none */
};

/* Which of our own things stay. */
struct install_keep {
    const struct wanted *own;
    const struct wanted *others;   /* what other instances need */
    const struct wanted *previous; /* what this instance needed before */
    bool has_unseen; /* of what is in none of the three, leave alone what others may need */
    bool incomplete; /* not all that others need is known: remove nothing */
    bool leftovers;  /* there may be any, of an instance that crashed: look everywhere */
};

/* All of them log what they do, and what fails. */
void install_missing(struct install *install, const struct wanted *own);
void install_marks(struct install *install, const struct install_keep *keep);
void install_sweep(struct install *install, const struct install_keep *keep);

/* Tells in one line how many lines INSTALL_LINES_MAX held back. */
void install_finish(const struct install *install);

#endif
