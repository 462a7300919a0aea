/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/datagram/receiver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/proxyproto/proxyproto.h"
#include "mmproxy/proxyproto/spp.h"
#include "mmproxy/worker/datagram/peers.h"

enum {
    BATCHES = 4,                /* a wake-up; then replies have their turn */
    TURN_US = 1000,             /* between two looks whether others still read */
    TURN_PATIENCE_MS = 1000,    /* with a worker that is stuck */
    PAUSE_US = 200 * 1000,      /* without memory to watch a socket: how long until the next try */
    LIMIT_CHECK_US = 50 * 1000, /* how long one session too many may stay in another worker */
};

static bool is_first(const struct receiver *receiver)
{
    return receiver->listener->config->udp_header == UDP_HEADER_FIRST;
}

/* Datagrams in a row that belong to one session: they go out with one call. */
struct run {
    struct udp_session *session; /* NULL: there is none */
    unsigned first;
    unsigned n;
};

static void flush(struct run *run)
{
    if (run->session)
        udp_session_forward(run->session, run->first, run->n);
    run->session = NULL;
}

static void refuse(struct receiver *receiver, enum reason reason, const struct addr *peer,
                   const struct addr *client, const char *detail)
{
    const struct report_refusal refusal = {
        .reason = reason, .detail = detail, .peer = peer, .client = client
    };

    report_refusal(receiver->listener, &refusal);
}

static void refuse_header(struct receiver *receiver, const struct datagram *datagram,
                          const char *wrong)
{
    const char *diagnosis =
        datagram->len > 0 ? proxyproto_diagnose(datagram->bytes, datagram->len) : NULL;
    char detail[256];

    (void)snprintf(detail, sizeof detail, "%s%s%s", wrong, diagnosis ? ": " : "",
                   diagnosis ? diagnosis : "");
    refuse(receiver, REASON_BAD_HEADER, &datagram->peer, NULL, detail);
}

static void drop_front(struct datagram *datagram, size_t len)
{
    datagram->bytes += len;
    datagram->len -= len;
}

/* Takes a v2 header off. returns: NULL with *out filled in, or what is wrong. */
static const char *take_v2(struct datagram *datagram, struct udp_origin *out)
{
    struct proxyproto header;

    if (proxyproto_parse_datagram(datagram->bytes, datagram->len, &header) != PROXYPROTO_OK)
        return header.reason;
    out->is_named = !header.is_local;
    out->client = header.is_local ? datagram->peer : header.client;
    out->port = addr_port(&header.destination);
    out->header = datagram->bytes;
    out->tlvs_at = header.tlvs_at;
    out->header_len = header.length;
    drop_front(datagram, header.length);
    return NULL;
}

/* The same for the Simple Proxy Protocol. */
static const char *take_spp(struct datagram *datagram, struct udp_origin *out)
{
    struct spp header;
    const char *wrong = spp_parse(datagram->bytes, datagram->len, &header);

    if (wrong)
        return wrong;
    out->is_named = true;
    out->client = header.client;
    out->proxy = header.proxy;
    out->port = addr_port(&header.proxy);
    drop_front(datagram, SPP_LEN);
    return NULL;
}

static uint64_t idle_us(const struct receiver *receiver)
{
    return (uint64_t)receiver->listener->config->idle_timeout_ms * 1000;
}

/* Does another worker know for whom the peer speaks? */
static bool recall(const struct receiver *receiver, const struct addr *peer, struct udp_origin *out)
{
    struct peers_client client;

    if (!peers_find(receiver->listener->worker->spec->peers, receiver->peers_key, peer,
                    clock_now_us(), idle_us(receiver), &client))
        return false;
    *out = (struct udp_origin){ .client = client.addr,
                                .is_named = client.is_named,
                                .named_us = client.named_us };
    return true;
}

/* Other workers must forget the peer's client: its new client may not come in. */
static void forget(const struct receiver *receiver, const struct addr *peer)
{
    const struct peers_client nobody = { .named_us = clock_now_us() };
    struct udp_origin known;

    if (recall(receiver, peer, &known))
        (void)peers_note(receiver->listener->worker->spec->peers, receiver->peers_key, peer,
                         &nobody, nobody.named_us, idle_us(receiver));
}

/*
 * Takes the header off, where the mode has one in front of this datagram.
 * returns: NULL, or what is wrong. *out is all zero where the datagram has no header and needs
 * none.
 */
static const char *take_header(struct receiver *receiver, struct datagram *datagram,
                               struct udp_origin *out)
{
    const char *wrong;

    *out = (struct udp_origin){ .is_named = false };
    switch (receiver->listener->config->udp_header) {
    case UDP_HEADER_SPP:
        return take_spp(datagram, out);
    case UDP_HEADER_EVERY:
        return take_v2(datagram, out);
    case UDP_HEADER_FIRST:
        break;
    }
    wrong = take_v2(datagram, out);
    if (!wrong)
        out->named_us = clock_now_us();
    else if (!proxyproto_begins(datagram->bytes, datagram->len) &&
             (udp_session_find(receiver, &datagram->peer, 0) ||
              recall(receiver, &datagram->peer, out)))
        wrong = NULL;
    return wrong;
}

static void explain(struct receiver *receiver, enum reason reason, const struct datagram *datagram,
                    const struct udp_origin *origin, const struct udp_failure *failure)
{
    char text[ADMISSION_TEXT_MAX];
    struct report_refusal refusal = { .reason = reason,
                                      .peer = &datagram->peer,
                                      .client = origin->is_direct ? NULL : &origin->client,
                                      .is_health_check = !origin->is_named && !origin->is_direct };

    if (reason_kind(reason) == REASON_KIND_CONNECT_FAILED)
        refusal.target = &failure->target;
    if (refusal.target || reason == REASON_NO_RESOURCES)
        refusal.detail = strerror(failure->error);
    else
        refusal.detail =
            admission_explain(&receiver->listener->admission, reason, &origin->client, text);
    report_refusal(receiver->listener, &refusal);
}

/*
 * A new session may end another one, which run may hold: so run is flushed first.
 * before: NULL, or the session that a header from its peer ends.
 */
static struct udp_session *start(struct receiver *receiver, const struct datagram *datagram,
                                 const struct udp_origin *origin, struct udp_session *before,
                                 struct run *run)
{
    struct udp_session *session = NULL;
    struct udp_failure failure;
    enum reason reason;

    flush(run);
    if (before)
        reason = udp_session_restart(before, origin, &session, &failure);
    else
        reason = udp_session_start(receiver, origin, &datagram->peer, &session, &failure);
    if (reason == REASON_NONE)
        return session;
    if (is_first(receiver))
        forget(receiver, &datagram->peer);
    explain(receiver, reason, datagram, origin, &failure);
    return NULL;
}

static struct udp_session *find(const struct receiver *receiver, const struct datagram *datagram,
                                const struct udp_origin *origin)
{
    const struct target_facts facts = udp_origin_facts(origin);
    uint16_t port;

    if (is_first(receiver))
        return udp_session_find(receiver, &datagram->peer, 0);
    if (target_choose_port(receiver->listener->config, origin->local, &facts, &port) != REASON_NONE)
        return NULL;
    return udp_session_find(receiver, &origin->client, port);
}

/* returns: the session that the datagram belongs to; NULL: it is dropped, and counted. */
static struct udp_session *session_of(struct receiver *receiver, struct datagram *datagram,
                                      struct udp_origin *origin, struct run *run)
{
    struct udp_session *session = find(receiver, datagram, origin);

    if (session && !(is_first(receiver) && origin->header))
        return session;
    return start(receiver, datagram, origin, session, run);
}

/* Does the listener take its header, by the TLVs? returns: false: it is dropped, and counted. */
static bool is_header_welcome(struct receiver *receiver, const struct datagram *datagram,
                              const struct udp_origin *origin)
{
    const struct proxyproto parsed = udp_origin_header(origin);
    const struct udp_failure none = { .error = 0 };

    if (!origin->header)
        return true;
    enum reason reason = listener_judge_header(receiver->listener, origin->header, &parsed);
    if (reason != REASON_NONE)
        explain(receiver, reason, datagram, origin, &none);
    return reason == REASON_NONE;
}

/*
 * A header that is refused, or no good, ends what its peer had: in the mode first, a later datagram
 * without a header would leave in the name of the client before.
 */
static void give_up_peer(struct receiver *receiver, const struct addr *peer, struct run *run)
{
    struct udp_session *session = udp_session_find(receiver, peer, 0);

    flush(run);
    if (session)
        udp_session_end(session, "a new header from the same peer");
    forget(receiver, peer);
}

/* returns: false: it is dropped, and counted. */
static bool find_origin(struct receiver *receiver, struct datagram *datagram,
                        struct udp_origin *origin, struct run *run)
{
    const char *wrong;

    switch (admission_judge_peer(&receiver->listener->admission, &datagram->peer)) {
    case ADMISSION_DIRECT:
        *origin = (struct udp_origin){ .client = datagram->peer, .is_direct = true };
        return true;
    case ADMISSION_HEADER:
        wrong = take_header(receiver, datagram, origin);
        if (wrong)
            refuse_header(receiver, datagram, wrong);
        else if (is_header_welcome(receiver, datagram, origin))
            return true;
        if (is_first(receiver))
            give_up_peer(receiver, &datagram->peer, run);
        return false;
    default:
        refuse(receiver, REASON_NOT_ALLOWED, &datagram->peer, NULL, NULL);
        return false;
    }
}

static void take(struct receiver_socket *socket, unsigned i, struct run *run)
{
    struct receiver *receiver = socket->receiver;
    struct datagram *datagram = datagrams_at(receiver->room, i);
    struct udp_origin origin;

    if (datagram->is_to_many && !socket->takes_to_many)
        return;
    addr_unmap(&datagram->peer);
    if (!find_origin(receiver, datagram, &origin, run))
        return;
    origin.local = socket->listen;
    struct udp_session *session = session_of(receiver, datagram, &origin, run);
    if (!session)
        return;
    if (session != run->session || run->first + run->n != i) {
        flush(run);
        *run = (struct run){ .session = session, .first = i };
    }
    run->n++;
    session->socket = socket;
    session->peer = datagram->peer;
    session->local = datagram->local;
    if (receiver->listener->config->udp_header == UDP_HEADER_SPP)
        *session->spp.proxy = origin.proxy;
}

static void unwatch(struct receiver *receiver)
{
    for (size_t i = 0; i < receiver->n_sockets; i++)
        loop_unwatch(receiver->listener->worker->loop, &receiver->sockets[i].io);
}

/* Where epoll has no room for a socket, all of them wait until the next try. */
static void watch(struct receiver *receiver)
{
    struct loop *loop = receiver->listener->worker->loop;
    int err = 0;

    for (size_t i = 0; i < receiver->n_sockets && err == 0; i++)
        err = loop_watch(loop, &receiver->sockets[i].io);
    if (err == 0)
        return;
    log_error("no_resources", "[!] %sreceiving nothing for lack of resources: %s",
              receiver->listener->label, strerror(-err));
    unwatch(receiver);
    loop_start_timer(loop, &receiver->turn, PAUSE_US);
}

/*
 * A reading worker of an earlier generation has an order to stop, and does so in milliseconds.
 * A stuck worker reads nothing when it continues: its orders come before its sockets.
 */
static void watch_in_turn(struct receiver *receiver)
{
    const struct worker *worker = receiver->listener->worker;

    bool is_patient = clock_now_ms() - receiver->waiting_since_ms < TURN_PATIENCE_MS;
    if (!is_patient || !peers_earlier_read(worker->spec->peers, worker->spec->epoch)) {
        watch(receiver);
        return;
    }
    loop_start_timer(worker->loop, &receiver->turn, TURN_US);
}

static void on_turn(struct timer *timer)
{
    watch_in_turn(timer->owner);
}

static void on_datagrams(struct loop_io *io, unsigned events)
{
    struct receiver_socket *socket = io->owner;
    struct run run = { .session = NULL };
    bool is_all = false;

    (void)events;
    for (unsigned batch = 0; batch < BATCHES && !is_all; batch++) {
        int n = datagrams_receive(socket->receiver->room, io->fd, &is_all);
        for (int i = 0; i < n; i++)
            take(socket, (unsigned)i, &run);
        flush(&run);
    }
}

uint64_t receiver_silent_since_us(const struct receiver *receiver)
{
    const struct deadline *first = deadline_queue_first(&receiver->idle);

    return first ? first->due_us - idle_us(receiver) : 0;
}

void receiver_show_silent(struct receiver *receiver)
{
    if (receiver->listener->config->max_sessions > 0)
        admission_show_silent(&receiver->listener->admission, receiver_silent_since_us(receiver));
}

bool receiver_end_silent(struct receiver *receiver)
{
    struct deadline *first = deadline_queue_first(&receiver->idle);

    if (first)
        udp_session_end(first->owner, "another session needed its place");
    return first;
}

void receiver_keep_limit(struct receiver *receiver)
{
    struct admission *admission = &receiver->listener->admission;

    while (admission_ends_silent(admission, receiver_silent_since_us(receiver)))
        (void)receiver_end_silent(receiver);
}

void receiver_watch_limit(struct receiver *receiver)
{
    if (receiver->listener->config->max_sessions > 0 && !receiver->limit_check.is_active)
        loop_start_timer(receiver->listener->worker->loop, &receiver->limit_check, LIMIT_CHECK_US);
}

static void on_limit_check(struct timer *timer)
{
    struct receiver *receiver = timer->owner;

    receiver_keep_limit(receiver);
    if (deadline_queue_first(&receiver->idle))
        receiver_watch_limit(receiver);
}

int receiver_open(struct receiver *receiver, struct listener *listener,
                  const struct worker_socket *first, size_t n)
{
    const struct worker_spec *spec = listener->worker->spec;

    receiver->listener = listener;
    receiver->table = listener->worker->udp_table;
    receiver->room = listener->worker->datagrams;
    deadline_queue_open(&receiver->idle, listener->worker->loop, listener->config->idle_timeout_ms,
                        udp_session_on_idle);
    if (is_first(receiver))
        receiver->peers_key = peers_listener(spec->peers, listener->config->name);
    receiver->turn = (struct timer){ .on_due = on_turn, .owner = receiver };
    receiver->limit_check = (struct timer){ .on_due = on_limit_check, .owner = receiver };
    receiver->sockets = calloc(n + 1, sizeof *receiver->sockets);
    if (!receiver->sockets)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (first[i].member % spec->config->workers != spec->index)
            continue;
        struct receiver_socket *socket = &receiver->sockets[receiver->n_sockets++];
        socket->io =
            (struct loop_io){ .on_event = on_datagrams, .owner = socket, .fd = first[i].fd };
        socket->listen = &first[i].addr;
        socket->takes_to_many = first[i].member == 0;
        socket->receiver = receiver;
    }
    return 0;
}

void receiver_serve(struct receiver *receiver)
{
    receiver->waiting_since_ms = clock_now_ms();
    watch_in_turn(receiver);
}

void receiver_stop(struct receiver *receiver)
{
    const struct admission *admission = &receiver->listener->admission;
    struct deadline *each;

    loop_stop_timer(receiver->listener->worker->loop, &receiver->turn);
    unwatch(receiver);
    TAILQ_FOREACH (each, &receiver->idle.head, link) {
        struct udp_session *session = each->owner;
        admission_release_client(admission, &session->admitted);
    }
}

void receiver_end_sessions(struct receiver *receiver, const char *end)
{
    struct deadline *first;

    while ((first = deadline_queue_first(&receiver->idle)))
        udp_session_end(first->owner, end);
}

void receiver_close(struct receiver *receiver)
{
    if (!receiver->listener)
        return;
    receiver_stop(receiver);
    loop_stop_timer(receiver->listener->worker->loop, &receiver->limit_check);
    deadline_queue_close(&receiver->idle);
    free(receiver->sockets);
    receiver->sockets = NULL;
    receiver->n_sockets = 0;
}
