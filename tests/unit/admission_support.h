/* SPDX-License-Identifier: BSD-2-Clause */
/* admission_support: workers that are numbers in the counters, and have no sockets. */
#ifndef UNIT_ADMISSION_SUPPORT_H
#define UNIT_ADMISSION_SUPPORT_H

#include "net_support.h"

#include "mmproxy/worker/admission.h"

enum { WORKERS = 4, LISTENERS = 2, SESSIONS = 32 };

static struct {
    struct counters *counters;
    struct subnets *allowed;
    struct listener_config config;
    struct admitted sessions[SESSIONS];
    struct addr peer;
    struct addr client;
    struct addr listen;
    uint64_t now_us;
} world;

static inline int set_up(void **state)
{
    struct prefix prefix;
    const char *reason;

    (void)state;
    memset(&world, 0, sizeof world);
    world.counters = counters_new(WORKERS, LISTENERS);
    world.allowed = subnets_new();
    assert_int_equal(prefix_parse(&prefix, "192.0.2.0/24", &reason), PREFIX_OK);
    assert_int_equal(subnets_add(world.allowed, &prefix), 0);
    subnets_seal(world.allowed);
    world.config.allowed = world.allowed;
    world.config.max_pending = 1024;
    world.config.target_v4.addr = support_addr("127.0.0.1:22");
    world.config.target_v6.addr = support_addr("[::1]:22");
    world.peer = support_addr("192.0.2.10:1000");
    world.listen = support_addr("192.0.2.2:2222");
    world.client = support_addr("198.51.100.7:1000");
    world.now_us = 1000;
    return world.counters ? 0 : -1;
}

static inline int tear_down(void **state)
{
    (void)state;
    subnets_free(world.allowed);
    counters_free(world.counters);
    return 0;
}

/* A worker of n, at the listener of that name. */
static inline void be_worker_at(struct admission *admission, const char *name, unsigned n)
{
    int worker = counters_claim_worker(world.counters);
    int listener = counters_claim_listener(world.counters, name);

    assert_return_code(worker, -worker);
    assert_return_code(listener, -listener);
    *admission = (struct admission){ .config = &world.config,
                                     .counters = world.counters,
                                     .worker = (unsigned)worker,
                                     .listener = (unsigned)listener,
                                     .n_workers = n };
    admission_open(admission);
}

static inline enum reason enter(struct admission *admission, struct admitted *session)
{
    if (session)
        memset(session, 0, sizeof *session);
    return admission_enter(admission, session, &world.peer, world.now_us++);
}

static inline enum reason identify_as(struct admission *admission, struct admitted *session,
                                      const struct addr *client, bool is_named)
{
    const struct target_facts facts = { .client = *client, .is_named = is_named };
    struct target_choice choice;

    return admission_identify(admission, session, &world.listen, &facts, &choice);
}

static inline enum reason identify(struct admission *admission, struct admitted *session)
{
    return identify_as(admission, session, &world.client, true);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
