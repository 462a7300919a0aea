/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/admission.h"

#include <netinet/in.h>
#include <stdio.h>

#include "mmproxy/base/subnets.h"

enum {
    TRIES_MAX = 100,    /* to get the last free place, which other workers want as well */
    PENDING_SLACK = 16, /* so many too many, and the oldest here goes without asking others */
    SHARE_SLACK = 4,    /* sessions more than an equal share */
    SILENT_SLACK = 16,  /* UDP sessions too many, and the one silent longest here goes */
    SILENT_MAX = 64,    /* ... and no more come in */
};

static void add(_Atomic uint32_t *own, uint32_t n)
{
    /* One writer: no locked instruction needed. */
    atomic_store_explicit(own, atomic_load_explicit(own, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static void take_off(_Atomic uint32_t *own, uint32_t n)
{
    add(own, 0U - n);
}

static _Atomic uint32_t *worker_sessions(const struct admission *admission)
{
    return &counters_worker(admission->counters, admission->worker)->sessions;
}

static struct clients *own_clients(const struct admission *admission)
{
    return &counters_worker(admission->counters, admission->worker)->clients;
}

void admission_open(struct admission *admission)
{
    struct counters_worker *worker = counters_worker(admission->counters, admission->worker);

    admission->own = &worker->listeners[admission->listener];
    TAILQ_INIT(&admission->pending);
}

static uint64_t too_many_sessions(const struct admission *admission)
{
    uint64_t sessions = counters_sessions(admission->counters, admission->listener);
    unsigned max = admission->config->max_sessions;

    return max > 0 && sessions > max ? sessions - max : 0;
}

/*
 * With those of processes before an upgrade. Over UDP these do not count: they wait for nothing but
 * idle_timeout, and their clients' next datagrams begin new sessions here.
 */
static uint64_t all_sessions(const struct admission *admission)
{
    return counters_sessions(admission->counters, admission->listener) +
           counters_earlier_sessions(admission->counters, admission->listener);
}

/*
 * A worker counts first and compares then, so a worker that looks later sees it: there are never
 * more than max. Two workers that want the last free place may both see one too many and step back;
 * the last of them to do so finds it free again.
 */
static bool count_session(struct admission *admission)
{
    _Atomic uint32_t *own = &admission->own->sessions;
    unsigned max = admission->config->max_sessions;

    if (admission->config->protocol == PROTOCOL_UDP && too_many_sessions(admission) > SILENT_MAX)
        return false; /* the workers that have old ones are stuck */
    if (max == 0 || admission->config->protocol == PROTOCOL_UDP) {
        add(own, 1);
        return true;
    }
    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        if (all_sessions(admission) >= max)
            break;
        atomic_fetch_add(own, 1);
        if (all_sessions(admission) <= max)
            return true;
        atomic_fetch_sub(own, 1);
    }
    return false;
}

static uint64_t client_sessions(const struct admission *admission, uint64_t hash,
                                const struct addr *client)
{
    uint64_t earlier =
        admission->config->protocol == PROTOCOL_UDP
            ? 0
            : counters_earlier_client_sessions(admission->counters, admission->listener, client);

    return counters_client_sessions(admission->counters, hash) + earlier;
}

/* The same for one client. */
static enum reason count_client(struct admission *admission, struct admitted *admitted,
                                const struct addr *client)
{
    uint64_t hash = counters_client(admission->counters, admission->listener, client);
    unsigned max = admission->config->max_sessions_per_client;

    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        if (client_sessions(admission, hash, client) >= max)
            break;
        if (clients_begin(own_clients(admission), hash) < 0)
            return REASON_TOO_MANY_CLIENTS;
        if (client_sessions(admission, hash, client) <= max) {
            admitted->client = hash;
            return REASON_NONE;
        }
        clients_end(own_clients(admission), hash);
    }
    return REASON_MAX_SESSIONS_PER_CLIENT;
}

static void show_oldest(struct admission *admission)
{
    const struct admitted *oldest = TAILQ_FIRST(&admission->pending);

    atomic_store_explicit(&admission->own->oldest_pending_us, oldest ? oldest->since_us : 0,
                          memory_order_relaxed);
}

static void begin_pending(struct admission *admission, struct admitted *admitted)
{
    admitted->is_pending = true;
    add(&admission->own->pending, 1);
    TAILQ_INSERT_TAIL(&admission->pending, admitted, link);
    show_oldest(admission);
}

static void end_pending(struct admission *admission, struct admitted *admitted)
{
    if (!admitted->is_pending)
        return;
    admitted->is_pending = false;
    take_off(&admission->own->pending, 1);
    TAILQ_REMOVE(&admission->pending, admitted, link);
    show_oldest(admission);
}

enum admission_peer admission_judge_peer(const struct admission *admission, const struct addr *peer)
{
    const struct listener_config *config = admission->config;

    if (config->direct && subnets_contain(config->direct, peer))
        return ADMISSION_DIRECT;
    return subnets_contain(config->allowed, peer) ? ADMISSION_HEADER : ADMISSION_REFUSED;
}

void admission_show_silent(struct admission *admission, uint64_t used_us)
{
    atomic_store_explicit(&admission->own->silent_longest_us, used_us, memory_order_relaxed);
}

bool admission_ends_silent(struct admission *admission, uint64_t used_us)
{
    admission_show_silent(admission, used_us);
    uint64_t excess = too_many_sessions(admission);

    return used_us != 0 && excess > 0 &&
           (excess > SILENT_SLACK ||
            counters_has_silent_longest(admission->counters, admission->worker,
                                        admission->listener));
}

enum reason admission_enter(struct admission *admission, struct admitted *admitted,
                            const struct addr *peer, uint64_t now_us)
{
    counters_add(admission->own, COUNT_ACCEPTED, 1);
    if (!admitted)
        return REASON_NO_RESOURCES;
    enum admission_peer judged = admission_judge_peer(admission, peer);
    if (judged == ADMISSION_REFUSED)
        return REASON_NOT_ALLOWED;
    if (!count_session(admission))
        return REASON_MAX_SESSIONS;
    add(worker_sessions(admission), 1);
    admitted->is_in = true;
    admitted->is_direct = judged == ADMISSION_DIRECT;
    admitted->since_us = now_us;
    begin_pending(admission, admitted);
    return REASON_NONE;
}

enum reason admission_judge_header(const struct admission *admission, bool is_local,
                                   const struct proxyproto_facts *facts)
{
    const struct endpoints *endpoints = admission->config->endpoints;

    if (!endpoints)
        return REASON_NONE;
    if (is_local)
        return REASON_NO_CLIENT;
    return endpoints_contain(endpoints, facts->vpce.bytes, facts->vpce.len) ? REASON_NONE
                                                                            : REASON_WRONG_ENDPOINT;
}

/* A service would take such a client for a local user. */
static bool is_local(const struct admission *admission, const struct addr *client)
{
    return addr_is_local_claim(client) ||
           (admission->locals && locals_contain(admission->locals, client)) ||
           (admission->outside && locals_contain(admission->outside, client));
}

/*
 * No connection can come from such an address. A load balancer's own may well be link-local, with
 * the interface that a header can't name.
 */
static bool is_impossible(const struct addr *client)
{
    return addr_family(client) == AF_INET6 && (IN6_IS_ADDR_LINKLOCAL(&client->in6.sin6_addr) ||
                                               IN6_IS_ADDR_MULTICAST(&client->in6.sin6_addr));
}

/*
 * The target would answer such a client directly, by their common network, and the client knows
 * nothing of the connection. This host's own addresses are no problem: replies to them come here.
 */
static bool is_neighbour(const struct admission *admission, const struct target_choice *choice)
{
    const struct locals *locals = admission->locals;

    return locals && !locals_contain(locals, &choice->target) &&
           locals_are_neighbours(locals, &choice->target, &choice->source) &&
           !locals_contain(locals, &choice->source);
}

enum reason admission_identify(struct admission *admission, struct admitted *admitted,
                               const struct addr *local, const struct target_facts *facts,
                               struct target_choice *choice)
{
    const struct listener_config *config = admission->config;
    const struct addr *client = &facts->client;

    end_pending(admission, admitted);
    if (facts->is_named && !config->allow_local_clients && is_local(admission, client))
        return REASON_LOCAL_CLIENT;
    if (facts->is_named && is_impossible(client))
        return REASON_IMPOSSIBLE_CLIENT;
    enum reason reason = target_choose(config, local, facts, choice);
    if (reason != REASON_NONE)
        return reason;
    /* An address that this host got after the configuration was read. */
    if (listener_config_maps(config, addr_family(client)) && is_local(admission, &choice->source))
        return REASON_LOCAL_CLIENT;
    if (is_neighbour(admission, choice))
        return REASON_NEIGHBOUR_CLIENT;
    if ((facts->is_named || admitted->is_direct) && config->max_sessions_per_client > 0)
        return count_client(admission, admitted, client);
    return REASON_NONE;
}

void admission_release_client(const struct admission *admission, struct admitted *admitted)
{
    if (admitted->client != 0)
        clients_end(own_clients(admission), admitted->client);
    admitted->client = 0;
}

void admission_leave(struct admission *admission, struct admitted *admitted)
{
    if (!admitted->is_in)
        return;
    admitted->is_in = false;
    end_pending(admission, admitted);
    admission_release_client(admission, admitted);
    take_off(worker_sessions(admission), 1);
    take_off(&admission->own->sessions, 1);
}

bool admission_has_pending(const struct admission *admission)
{
    return !TAILQ_EMPTY(&admission->pending);
}

static uint64_t too_many_pending(const struct admission *admission)
{
    uint64_t pending = counters_pending(admission->counters, admission->listener);
    unsigned max = admission->config->max_pending;

    return pending > max ? pending - max : 0;
}

struct admitted *admission_excess(struct admission *admission)
{
    if (!admission_has_pending(admission) || too_many_pending(admission) == 0)
        return NULL;
    bool is_oldest =
        counters_has_oldest(admission->counters, admission->worker, admission->listener);
    /* Counted again: the session that was the oldest until now may just have ended. */
    uint64_t excess = too_many_pending(admission);
    if (excess == 0 || (excess <= PENDING_SLACK && !is_oldest))
        return NULL;
    return TAILQ_FIRST(&admission->pending);
}

bool admission_is_above_share(const struct admission *admission)
{
    uint32_t own = atomic_load(&admission->own->sessions);

    return admission->n_workers > 1 && own > SHARE_SLACK &&
           own >
               counters_sessions(admission->counters, admission->listener) / admission->n_workers +
                   SHARE_SLACK;
}

const char *admission_explain(const struct admission *admission, enum reason reason,
                              const struct addr *client, char text[ADMISSION_TEXT_MAX])
{
    const struct listener_config *config = admission->config;

    switch (reason) {
    case REASON_MAX_SESSIONS:
        (void)snprintf(text, ADMISSION_TEXT_MAX, "%u sessions are the limit (max_sessions)",
                       config->max_sessions);
        return text;
    case REASON_MAX_PENDING:
        return "the oldest of max_pending sessions without a whole header";
    case REASON_MAX_SESSIONS_PER_CLIENT:
        (void)snprintf(text, ADMISSION_TEXT_MAX,
                       "%u sessions are this client's limit (max_sessions_per_client)",
                       config->max_sessions_per_client);
        return text;
    case REASON_TOO_MANY_CLIENTS:
        return "there are too many clients to count their sessions";
    case REASON_LOCAL_CLIENT:
        return "the header names a local address as the client (allow_local_clients)";
    case REASON_IMPOSSIBLE_CLIENT:
        return IN6_IS_ADDR_LINKLOCAL(&client->in6.sin6_addr)
                   ? "the header names a link-local client, but no interface"
                   : "the header names a multicast address as the client";
    case REASON_NEIGHBOUR_CLIENT:
        return "the client is in the target's own network, so replies would not come back here";
    case REASON_WRONG_ENDPOINT:
        return "the header has none of this listener's VPC endpoints (endpoints)";
    case REASON_NO_CLIENT:
        return config->endpoints ? "the header names no client and no VPC endpoint (endpoints)"
                                 : "the header names no client and no port (header_ports)";
    case REASON_WRONG_PORT:
        return "the header names a port that is not in header_ports";
    case REASON_NO_TARGET:
        return addr_family(client) == AF_INET ? "no target for IPv4 clients (target_v4)"
                                              : "no target for IPv6 clients (target_v6)";
    default:
        return "";
    }
}
