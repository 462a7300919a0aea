/* SPDX-License-Identifier: BSD-2-Clause */
/* session_support: a worker with one listener, around sessions that a test drives by hand. */
#ifndef SESSION_SUPPORT_H
#define SESSION_SUPPORT_H

#include "net_support.h"

#include "mmproxy/base/subnets.h"
#include "mmproxy/worker/stream/session.h"

struct world {
    struct listener_config listener_config;
    struct config config;
    struct worker_spec spec;
    unsigned listener_id;
    struct subnets *allowed;
    struct worker worker;
    struct listener listener;
};

static inline void support_on_lasting(struct deadline *deadline)
{
    session_lasts(deadline->owner);
}

/* Peers are to be in there. */
static inline struct subnets *support_subnet(const char *text)
{
    struct subnets *set = subnets_new();
    struct prefix prefix;
    const char *reason;

    assert_non_null(set);
    assert_int_equal(prefix_parse(&prefix, text, &reason), PREFIX_OK);
    assert_int_equal(subnets_add(set, &prefix), 0);
    subnets_seal(set);
    return set;
}

/* Timeouts are so long that none ends while a test runs. */
static inline void world_open(struct world *world)
{
    struct counters *counters = counters_new(2, 2);

    assert_non_null(counters);
    memset(world, 0, sizeof *world);
    world->listener_id = (unsigned)counters_claim_listener(counters, "");
    world->allowed = support_subnet("192.0.2.0/24");
    world->listener_config = (struct listener_config){
        .allowed = world->allowed,
        .target_v4.addr = support_addr("127.0.0.1:22"),
        .header_timeout_ms = 600 * 1000,
        .connect_timeout_ms = 600 * 1000,
        .idle_timeout_ms = 600 * 1000,
        .max_pending = 1024,
    };
    world->config =
        (struct config){ .workers = 1, .listeners = &world->listener_config, .n_listeners = 1 };
    world->spec = (struct worker_spec){
        .config = &world->config,
        .listener_ids = &world->listener_id,
        .counters = counters,
        .worker_id = (unsigned)counters_claim_worker(counters),
        .channel = -1,
    };

    struct worker *worker = &world->worker;
    worker->spec = &world->spec;
    worker->loop = loop_new();
    worker->pool = pump_pool_new(4);
    assert_non_null(worker->loop);
    assert_non_null(worker->pool);
    assert_int_equal(locals_new(&worker->locals), 0);
    deadline_queue_open(&worker->lasting_deadlines, worker->loop, 600 * 1000, support_on_lasting);
    deadline_queue_open(&worker->reset_deadlines, worker->loop, 600 * 1000, NULL);
    LIST_INIT(&worker->roster);
    assert_int_equal(listener_open(&world->listener, worker, 0), 0);
}

/* All sessions have ended. */
static inline void world_close(struct world *world)
{
    struct worker *worker = &world->worker;

    assert_int_equal(worker->n_sessions, 0);
    listener_close(&world->listener);
    deadline_queue_close(&worker->lasting_deadlines);
    deadline_queue_close(&worker->reset_deadlines);
    locals_free(worker->locals);
    pump_pool_free(worker->pool);
    loop_free(worker->loop);
    counters_free(world->spec.counters);
    subnets_free(world->allowed);
}

/* Reads to the end. returns: 0 at the end of file, else the errno. */
static inline int support_read_end(int fd)
{
    static char bytes[64 * 1024];
    ssize_t n;

    do {
        support_wait(fd, POLLIN);
        n = recv(fd, bytes, sizeof bytes, 0);
    } while (n > 0 || (n < 0 && errno == EAGAIN));
    return n == 0 ? 0 : errno;
}

#endif
