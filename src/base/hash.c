/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/base/hash.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* Every bit of the word changes about half of the bits of what comes out. */
static uint64_t mix(uint64_t word)
{
    word = (word ^ word >> 32) * UINT64_C(0xd6e8feb86659fd93);
    word = (word ^ word >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return word ^ word >> 32;
}

int hash_secret_make(struct hash_secret *secret)
{
    ssize_t n = getrandom(secret, sizeof *secret, 0);

    if (n < 0)
        return -errno;
    return n == (ssize_t)sizeof *secret ? 0 : -EIO;
}

uint64_t hash_host(const struct hash_secret *secret, const struct addr *addr, uint64_t number)
{
    uint64_t words[2] = { UINT64_MAX, 0 }; /* no IPv6 client begins like this: it is multicast */

    if (addr_family(addr) == AF_INET6)
        memcpy(words, addr_bytes(addr), sizeof words);
    else
        memcpy(&words[1], addr_bytes(addr), 4);
    uint64_t hash = mix(words[0] ^ secret->words[0]);
    hash = mix(hash + (words[1] ^ secret->words[1]));
    return mix(hash + (number ^ secret->words[2]));
}
