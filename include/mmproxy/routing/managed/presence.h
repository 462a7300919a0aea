/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * presence: abstract sockets by which the instances of a network namespace see each other,
 * whatever their runtime directories. They vanish with their process.
 */
#ifndef MMPROXY_ROUTING_MANAGED_PRESENCE_H
#define MMPROXY_ROUTING_MANAGED_PRESENCE_H

#include <stdbool.h>

enum { PRESENCE_NAME_LEN = 64 };

/* A file name for this network namespace, unlike that of any other since boot. */
void presence_namespace(char out[PRESENCE_NAME_LEN]);

/*
 * folder: a descriptor of the runtime directory, which tells apart who uses which one; -1
 * where there is none. returns: a descriptor that the caller owns, or -1.
 */
int presence_open(int folder);

/* Is there an instance that uses another directory? True where that can't be looked up. */
bool presence_of_strangers(int folder);

#endif
