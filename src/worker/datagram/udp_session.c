/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/datagram/udp_session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/net/spoof_datagram.h"
#include "mmproxy/worker/datagram/peers.h"
#include "mmproxy/worker/datagram/receiver.h"
#include "mmproxy/worker/datagram/udp_answers.h"
#include "mmproxy/worker/roster.h"

/* So many sessions end for a new one without a descriptor; others may take the freed ones. */
enum { TRIES_MAX = 4 };

enum { ERRORS_MAX = 64 /* a wake-up; then other sessions have their turn */ };

static enum udp_header mode_of(const struct udp_session *session)
{
    return session->place.receiver->listener->config->udp_header;
}

struct udp_session *udp_session_of(struct udp_table_entry *place)
{
    return (struct udp_session *)(void *)((char *)place - offsetof(struct udp_session, place));
}

struct udp_session *udp_session_find(const struct receiver *receiver, const struct addr *key,
                                     uint16_t port)
{
    struct udp_table_entry *place = udp_table_find(receiver->table, receiver, key, port);

    return place ? udp_session_of(place) : NULL;
}

struct target_facts udp_origin_facts(const struct udp_origin *origin)
{
    return (struct target_facts){ .client = origin->client,
                                  .is_named = origin->is_named,
                                  .port = origin->port };
}

struct proxyproto udp_origin_header(const struct udp_origin *origin)
{
    return (struct proxyproto){ .tlvs_at = origin->tlvs_at,
                                .length = origin->header_len,
                                .is_local = !origin->is_named };
}

static bool is_health_check(const struct udp_session *session)
{
    return !session->is_named && !session->admitted.is_direct;
}

static struct report_session facts_of(const struct udp_session *session, const char *end)
{
    return (struct report_session){
        .peer = &session->peer,
        .client = &session->client,
        .target = session->target,
        .is_health_check = is_health_check(session),
        .notes = session->notes,
        .is_direct = session->admitted.is_direct,
        .since_us = session->admitted.since_us,
        .bytes_in = session->bytes_in,
        .bytes_out = session->bytes_out,
        .end = end,
    };
}

/* The service does not take datagrams, or could not be reached. The session stays. */
static void report_error(struct udp_session *session, int error)
{
    const struct report_refusal refusal = { .reason = reason_of_connect_error(error),
                                            .detail = strerror(error),
                                            .peer = &session->peer,
                                            .client = session->admitted.is_direct
                                                          ? NULL
                                                          : &session->client,
                                            .target = session->target,
                                            .is_health_check = is_health_check(session) };

    report_refusal(session->place.receiver->listener, &refusal);
}

static uint64_t idle_us(const struct receiver *receiver)
{
    return (uint64_t)receiver->listener->config->idle_timeout_ms * 1000;
}

/* So that another worker can serve this client. */
static void note(struct udp_session *session, uint64_t now_us)
{
    const struct receiver *receiver = session->place.receiver;
    const struct worker *worker = receiver->listener->worker;

    if (mode_of(session) != UDP_HEADER_FIRST || session->admitted.is_direct || worker->draining)
        return;
    const struct peers_client client = { .addr = session->client,
                                         .is_named = session->is_named,
                                         .named_us = session->first.named_us };
    if (!session->first.noted ||
        !peers_use(session->first.noted, receiver->peers_key, &session->peer, now_us))
        session->first.noted = peers_note(worker->spec->peers, receiver->peers_key, &session->peer,
                                          &client, now_us, idle_us(receiver));
}

/* So that an answer that reaches another worker finds back by the way of the latest datagram. */
static void note_way(const struct udp_session *session)
{
    const struct receiver *receiver = session->place.receiver;
    const struct worker *worker = receiver->listener->worker;
    struct peers_way way = { .peer = session->peer, .local = session->local };

    if (mode_of(session) != UDP_HEADER_FIRST || worker->draining)
        return;
    if (!addr_is_set(&way.local))
        way.local = *session->socket->listen;
    addr_set_port(&way.local, addr_port(session->socket->listen));
    peers_note_way(worker->spec->peers, receiver->peers_key, &session->client, &way,
                   clock_now_us());
}

void udp_session_set_idle(struct udp_session *session)
{
    session->entry.active_us = loop_now_us(session->place.receiver->listener->worker->loop);
    deadline_set(&session->idle, &session->place.receiver->idle);
    receiver_show_silent(session->place.receiver);
    note(session, clock_now_us());
}

void udp_session_forward(struct udp_session *session, unsigned first, unsigned n)
{
    const struct datagram_way way = { .to = session->is_connected ? NULL : session->target };

    udp_session_set_idle(session); /* before another worker can see it */
    note_way(session);
    struct datagram_sent sent =
        datagrams_send(session->place.receiver->room, session->io.fd, first, n, &way);
    session->bytes_in += sent.len;
    counters_add(session->place.receiver->listener->counters, COUNT_BYTES_IN, sent.len);
    if (sent.error != 0)
        report_error(session, sent.error);
}

/* The socket has reported the errors; their details would wake us for ever. */
static void drain_errors(int fd)
{
    for (unsigned i = 0; i < ERRORS_MAX && spoof_datagram_error(fd) != 0; i++)
        ;
}

/* One batch a wake-up: other sessions have their turn before the next. */
static void on_reply(struct loop_io *io, unsigned events)
{
    struct udp_session *session = io->owner;
    bool is_all;

    (void)events;
    int n = datagrams_receive(session->place.receiver->room, session->io.fd, &is_all);
    if (n < 0)
        report_error(session, -n);
    else
        udp_answers_pass_on(session, (unsigned)n);
    if (n <= 0 && !session->is_connected)
        drain_errors(session->io.fd); /* where there is no datagram, they woke us */
}

/* Is the system short of what ending another session would free? */
static bool is_shortage(int err)
{
    return err == -EMFILE || err == -ENFILE || err == -ENOBUFS || err == -ENOMEM;
}

/* Of all UDP listeners of this worker. returns: false where there is none. */
static bool end_silent_longest(struct worker *worker)
{
    struct receiver *longest = NULL;
    uint64_t since_us = UINT64_MAX;

    for (size_t i = 0; i < worker->spec->config->n_listeners; i++) {
        struct receiver *receiver = worker->listeners[i].receiver;
        uint64_t silent_us = receiver ? receiver_silent_since_us(receiver) : 0;
        if (silent_us == 0 || silent_us >= since_us)
            continue;
        since_us = silent_us;
        longest = receiver;
    }
    return longest && receiver_end_silent(longest);
}

/*
 * A service that is bound to a wildcard address may answer from another of the host's addresses
 * than the one that it was asked at. A connected socket would not get that.
 */
static int open_socket(struct udp_session *session, const struct target_choice *choice)
{
    const struct listener_config *config = session->place.receiver->listener->config;
    struct spoof spoof = {
        .source = choice->source,
        .target = choice->target,
        .mark = listener_config_socket_mark(config, addr_family(&choice->target)),
        .preserve_port = config->preserve_client_port,
        /* Many IPv6 clients are mapped to one IPv4 address. */
        .is_shared = addr_family(&session->client) != addr_family(&choice->source) &&
                     addr_family(&choice->source) == AF_INET,
    };
    struct worker *worker = session->place.receiver->listener->worker;
    unsigned tries = 0;
    int fd;

    while (worker->n_udp_sessions >= worker->max_udp_sessions && end_silent_longest(worker))
        ;
    session->is_connected =
        !addr_is_loopback(&spoof.target) &&
        listener_config_return_path(config, addr_family(&spoof.target)) != RETURN_PATH_FLOWS;
    do
        fd = spoof_datagram(&spoof, session->is_connected);
    while (is_shortage(fd) && ++tries < TRIES_MAX && end_silent_longest(worker));
    return fd;
}

/* returns: why it may not come in; then it holds nothing. */
static enum reason admit(struct udp_session *session, const struct udp_origin *origin,
                         struct target_choice *choice)
{
    struct receiver *receiver = session->place.receiver;
    struct admission *admission = &receiver->listener->admission;
    const struct target_facts facts = udp_origin_facts(origin);
    enum reason reason;

    reason = admission_enter(admission, &session->admitted, &session->peer, clock_now_us());
    if (reason == REASON_NONE)
        reason = admission_identify(admission, &session->admitted, origin->local, &facts, choice);
    if (reason != REASON_NONE)
        admission_leave(admission, &session->admitted);
    else
        receiver_keep_limit(receiver);
    return reason;
}

static void begin(struct udp_session *session)
{
    struct worker *worker = session->place.receiver->listener->worker;

    session->idle.owner = session;
    udp_session_set_idle(session);
    udp_table_add(session->place.receiver->table, &session->place);
    session->entry.is_udp = true;
    roster_add(worker, &session->entry, session);
    receiver_watch_limit(session->place.receiver);
    counters_add(session->place.receiver->listener->counters, COUNT_SERVED, 1);
    const struct report_session facts = facts_of(session, NULL);
    report_connected(session->place.receiver->listener, &facts);
}

static void take_notes(struct udp_session *session, const struct udp_origin *origin)
{
    const struct proxyproto header = udp_origin_header(origin);

    if (origin->header)
        session->notes =
            listener_take_notes(session->place.receiver->listener, origin->header, &header);
}

static void free_session(struct udp_session *session)
{
    if (mode_of(session) == UDP_HEADER_SPP)
        free(session->spp.proxy);
    if (session->owns_target)
        free((void *)(uintptr_t)session->target);
    free(session->notes);
    free(session);
}

/* Most sessions have the one target of their listener. returns: whether there is memory. */
static bool keep_target(struct udp_session *session, const struct addr *target)
{
    static const sa_family_t families[] = { AF_INET, AF_INET6 };
    const struct listener_config *config = session->place.receiver->listener->config;

    for (unsigned i = 0; i < 2; i++) {
        session->target = listener_config_target(config, families[i]);
        if (session->target && addr_equal(session->target, target))
            return true;
    }
    struct addr *own = malloc(sizeof *own);
    if (own)
        *own = *target;
    session->target = own;
    session->owns_target = own != NULL;
    return own != NULL;
}

/* returns: NULL: there is no memory. */
static struct udp_session *new_session(struct receiver *receiver, const struct udp_origin *origin,
                                       const struct addr *peer)
{
    struct udp_session *session = calloc(1, sizeof *session);

    if (!session)
        return NULL;
    session->client = origin->client;
    session->peer = *peer;
    session->is_named = origin->is_named;
    session->place.receiver = receiver;
    session->place.key = &session->client;
    switch (mode_of(session)) {
    case UDP_HEADER_EVERY:
        break;
    case UDP_HEADER_FIRST:
        session->place.key = &session->peer;
        session->first.named_us = origin->named_us;
        break;
    case UDP_HEADER_SPP:
        session->spp.proxy = calloc(1, sizeof *session->spp.proxy);
        if (session->spp.proxy)
            break;
        free_session(session);
        return NULL;
    }
    return session;
}

/* Of a session that has ended: its socket, if any, and where that leads to. */
struct remains {
    int fd; /* -1: none */
    bool is_connected;
    struct addr target;
};

static int take_socket(struct udp_session *session, const struct target_choice *choice,
                       struct remains *remains)
{
    int fd = remains->fd;

    if (fd < 0 || !addr_equal(&remains->target, &choice->target))
        return open_socket(session, choice);
    session->is_connected = remains->is_connected;
    remains->fd = -1;
    return fd;
}

/* Its socket, watched. returns: 0 or -errno. */
static int open_io(struct udp_session *session, const struct target_choice *choice,
                   struct remains *remains)
{
    struct worker *worker = session->place.receiver->listener->worker;

    int fd =
        keep_target(session, &choice->target) ? take_socket(session, choice, remains) : -ENOMEM;
    if (fd < 0)
        return fd;
    session->io = (struct loop_io){ .on_event = on_reply, .owner = session, .fd = fd };
    int err = loop_watch(worker->loop, &session->io);
    if (err < 0)
        close(fd);
    else
        counters_note_descriptor(worker->spec->counters, worker->spec->worker_id, fd);
    return err;
}

static enum reason start(struct receiver *receiver, const struct udp_origin *origin,
                         const struct addr *peer, struct remains *remains, struct udp_session **out,
                         struct udp_failure *failure)
{
    struct udp_session *session = new_session(receiver, origin, peer);
    struct target_choice choice;

    *failure = (struct udp_failure){ .error = ENOMEM };
    if (!origin->is_named && !origin->is_direct)
        counters_add(receiver->listener->counters, COUNT_HEALTH_CHECKS, 1);
    if (!session)
        return admission_enter(&receiver->listener->admission, NULL, peer, clock_now_us());
    enum reason reason = admit(session, origin, &choice);
    if (reason != REASON_NONE) {
        free_session(session);
        return reason;
    }
    if (mode_of(session) != UDP_HEADER_FIRST)
        session->place.port = addr_port(&choice.target);
    int err = open_io(session, &choice, remains);
    if (err < 0) {
        *failure = (struct udp_failure){ .error = -err, .target = choice.target };
        admission_leave(&receiver->listener->admission, &session->admitted);
        free_session(session);
        return reason_of_connect_error(failure->error);
    }
    take_notes(session, origin);
    begin(session);
    *out = session;
    return REASON_NONE;
}

enum reason udp_session_start(struct receiver *receiver, const struct udp_origin *origin,
                              const struct addr *peer, struct udp_session **out,
                              struct udp_failure *failure)
{
    struct remains none = { .fd = -1 };

    return start(receiver, origin, peer, &none, out, failure);
}

/* returns: its socket, which is the caller's now. */
static int end_but_socket(struct udp_session *session, const char *end)
{
    struct listener *listener = session->place.receiver->listener;
    const struct report_session facts = facts_of(session, end);
    int fd = session->io.fd;

    loop_unwatch(listener->worker->loop, &session->io);
    deadline_clear(&session->idle);
    udp_table_remove(session->place.receiver->table, &session->place);
    report_disconnected(listener, &facts);
    admission_leave(&listener->admission, &session->admitted);
    roster_remove(listener->worker, &session->entry);
    free_session(session);
    return fd;
}

enum reason udp_session_restart(struct udp_session *session, const struct udp_origin *origin,
                                struct udp_session **out, struct udp_failure *failure)
{
    struct receiver *receiver = session->place.receiver;
    const struct addr peer = session->peer;
    bool is_same_client = addr_equal(&session->client, &origin->client);
    struct remains remains = { .is_connected = session->is_connected, .target = *session->target };

    remains.fd = end_but_socket(session, "a new header from the same peer");
    if (!is_same_client) {
        close(remains.fd);
        remains.fd = -1;
    }
    enum reason reason = start(receiver, origin, &peer, &remains, out, failure);
    if (remains.fd >= 0)
        close(remains.fd);
    return reason;
}

void udp_session_end(struct udp_session *session, const char *end)
{
    close(end_but_socket(session, end));
}

void udp_session_on_idle(struct deadline *deadline)
{
    udp_session_end(deadline->owner, "idle timeout");
}
