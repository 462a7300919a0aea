/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * originals: the values that sysctls had before any instance changed them, each in a file of
 * its own in the runtime directory, which all instances share. A value that can't be written
 * there is kept in memory until it can.
 */
#ifndef MMPROXY_ROUTING_MANAGED_ORIGINALS_H
#define MMPROXY_ROUTING_MANAGED_ORIGINALS_H

#include <stddef.h>

#include "mmproxy/routing/wanted/wanted.h"

struct original {
    char name[WANTED_SYSCTL_MAX];
    int value;
};

/* All zero is empty. */
struct originals {
    struct original *items; /* owned */
    size_t n_items;
};

/*
 * To be called before the sysctl is changed. *value: what it has now; where a value from before
 * is kept already that one stays, and is put there instead. unsaved: the caller's memory.
 * returns: 0; -ENOMEM where the value is kept nowhere; or another -errno where it is in unsaved
 * alone: this process knows it, the next one would not.
 */
int originals_keep(struct originals *unsaved, const char *name, int *value);

/* Writes to files what is in unsaved. returns: 0, or the first -errno. */
int originals_save(struct originals *unsaved);

/* Forgets one, in unsaved and in the files. To be called after the sysctl was set back. */
void originals_drop(struct originals *unsaved, const char *name);

/* Appends all that are kept to out. returns: 0 or -errno. */
int originals_list(const struct originals *unsaved, struct originals *out);

void originals_close(struct originals *originals);

#endif
