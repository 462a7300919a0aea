/* SPDX-License-Identifier: BSD-2-Clause */
/* Which client could not reach its target: a worker writes it, the process that checks reads it. */
#include <string.h>

#include "counters_internal.h"
#include "mmproxy/base/clock.h"

enum { TRIES = 3 };

void counters_doubt(struct counters *counters, unsigned worker, unsigned listener,
                    const struct addr *client)
{
    struct counters_doubt *doubt = &counters_worker(counters, worker)->doubt;
    uint64_t address[2] = { 0 };
    bool is_v6 = addr_family(client) == AF_INET6;

    memcpy(address, addr_bytes(client), is_v6 ? 16 : 4);
    /* Odd: as it may be already, where a worker with this place was killed meanwhile. */
    uint32_t odd = atomic_load(&doubt->changes) | 1;
    atomic_store(&doubt->changes, odd);
    atomic_store(&doubt->listener, listener);
    atomic_store(&doubt->family, addr_family(client));
    atomic_store(&doubt->address[0], address[0]);
    atomic_store(&doubt->address[1], address[1]);
    atomic_store(&doubt->since_us, clock_now_us());
    atomic_store(&doubt->changes, odd + 1);
}

/* A value that a worker was writing meanwhile is read again. returns: when that was; 0: never. */
static uint64_t read_doubt(const struct counters_doubt *doubt, unsigned listener,
                           sa_family_t family, struct addr *out)
{
    for (int i = 0; i < TRIES; i++) {
        uint32_t before = atomic_load(&doubt->changes);
        bool is_it =
            atomic_load(&doubt->listener) == listener && atomic_load(&doubt->family) == family;
        const uint64_t address[2] = { atomic_load(&doubt->address[0]),
                                      atomic_load(&doubt->address[1]) };
        uint64_t since_us = atomic_load(&doubt->since_us);
        uint8_t bytes[16];

        if (before % 2 != 0 || atomic_load(&doubt->changes) != before)
            continue;
        memcpy(bytes, address, sizeof bytes);
        if (is_it)
            addr_from_bytes(out, family, bytes, 0);
        return is_it ? since_us : 0;
    }
    return 0;
}

bool counters_doubted_client(const struct counters *counters, unsigned listener, sa_family_t family,
                             uint64_t since_us, struct addr *out)
{
    uint32_t n = atomic_load(&counters->head->n_workers);
    uint64_t latest_us = since_us;

    for (uint32_t i = 0; i < n; i++) {
        struct addr client;
        uint64_t us = read_doubt(&counters_worker(counters, i)->doubt, listener, family, &client);

        if (us > latest_us) {
            latest_us = us;
            *out = client;
        }
    }
    return latest_us > since_us;
}
