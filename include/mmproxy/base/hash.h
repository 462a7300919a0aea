/* SPDX-License-Identifier: BSD-2-Clause */
/* hash: where in a table an address is, so that no peer or client can choose the place. */
#ifndef MMPROXY_BASE_HASH_H
#define MMPROXY_BASE_HASH_H

#include <stdint.h>

#include "mmproxy/base/addr.h"

struct hash_secret {
    uint64_t words[3];
};

/* Random words. returns: 0 or -errno. */
int hash_secret_make(struct hash_secret *secret);

/* Of an address and any number that belongs to it; the address's port does not count. */
uint64_t hash_host(const struct hash_secret *secret, const struct addr *addr, uint64_t number);

#endif
