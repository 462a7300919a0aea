/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * runtime_dir: the folder of this network namespace in the runtime directory
 * ($RUNTIME_DIRECTORY, else /run/mmproxy). Any instance may make it, the last one removes it.
 */
#ifndef MMPROXY_ROUTING_MANAGED_RUNTIME_DIR_H
#define MMPROXY_ROUTING_MANAGED_RUNTIME_DIR_H

#include <stdbool.h>

enum { RUNTIME_DIR_NAME_LEN = 64 };

/* returns: a descriptor, owned, or -errno: -ENOENT where there is none and create is false. */
int runtime_dir_open(bool create);

/* Removes the folder if nothing is in it. */
void runtime_dir_remove(void);

/* A file name for this network namespace, unlike that of any other since boot. */
void runtime_dir_name(char out[RUNTIME_DIR_NAME_LEN]);

/* Removes what is kept for network namespaces that are gone, as is_there says. */
void runtime_dir_sweep(bool (*is_there)(unsigned long long inode));

#endif
