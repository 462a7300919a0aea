/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * remembered: the sysctls that were changed and their values before, in a file that all
 * instances share; what can't be written is kept in memory until it can.
 */
#ifndef MMPROXY_ROUTING_MANAGED_REMEMBERED_H
#define MMPROXY_ROUTING_MANAGED_REMEMBERED_H

#include <stdbool.h>
#include <stddef.h>

#include "mmproxy/routing/wanted/wanted.h"

enum { REMEMBERED_MAX = 256 };

/* A sysctl that was changed, and its value before. */
struct runtime_sysctl {
    char name[WANTED_SYSCTL_MAX];
    int value;
};

/* All zero is a good beginning. */
struct remembered {
    struct runtime_sysctl items[REMEMBERED_MAX];
    size_t n;
    size_t n_unsaved; /* the first ones: in memory alone */
};

/*
 * The file's folder; -1: there is memory only, which is no error. Without the lock that all
 * instances have in common the file is read and not written.
 */
struct remembered_place {
    int folder;
    bool is_locked;
};

void remembered_read(struct remembered *remembered, int folder);

/*
 * Unless it has a value already. returns: 0, or -errno where it is in memory alone, with -EBUSY
 * for want of the lock; -ENOBUFS where it is nowhere, as there are REMEMBERED_MAX already.
 */
int remembered_add(struct remembered *remembered, struct remembered_place place, const char *name,
                   int value);
int remembered_drop(struct remembered *remembered, struct remembered_place place, const char *name);

/* Writes what could not be written before. returns: 0 or -errno. */
int remembered_save(struct remembered *remembered, struct remembered_place place);

/* Removes the file. */
void remembered_unlink(int folder);

#endif
