/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/datagram/udp_answers.h"

#include <string.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/proxyproto/spp.h"
#include "mmproxy/worker/datagram/peers.h"
#include "mmproxy/worker/datagram/receiver.h"

static enum udp_header mode_of(const struct receiver *receiver)
{
    return receiver->listener->config->udp_header;
}

static uint64_t idle_us(const struct receiver *receiver)
{
    return (uint64_t)receiver->listener->config->idle_timeout_ms * 1000;
}

/* Answers that the kernel did not take for the peer. */
static void report_lost(const struct receiver *receiver, const struct addr *peer,
                        const struct addr *client, int error)
{
    const struct report_refusal refusal = {
        .reason = REASON_PEER_LOST, .detail = strerror(error), .peer = peer, .client = client
    };

    report_refusal(receiver->listener, &refusal);
}

/* On a socket that is not connected: is it the service that answers? From any address it has. */
static bool is_from(const struct receiver *receiver, const struct addr *target,
                    const struct addr *from)
{
    return addr_port(from) == addr_port(target) &&
           (addr_equal_host(from, target) ||
            locals_contain(receiver->listener->worker->locals, from));
}

static void send_by_session(struct udp_session *session, unsigned first, unsigned n)
{
    struct datagram_way way = { .to = &session->peer };

    if (addr_is_set(&session->local))
        way.from = &session->local;
    if (mode_of(session->place.receiver) == UDP_HEADER_SPP && addr_is_set(session->spp.proxy)) {
        const struct spp header = { .client = session->client, .proxy = *session->spp.proxy };
        spp_write(way.prefix, &header);
        way.prefix_len = SPP_LEN;
    }
    udp_session_set_idle(session);
    struct datagram_sent sent =
        datagrams_send(session->place.receiver->room, session->socket->io.fd, first, n, &way);
    session->bytes_out += sent.len;
    counters_add(session->place.receiver->listener->counters, COUNT_BYTES_OUT, sent.len);
    if (sent.error != 0)
        report_lost(session->place.receiver, &session->peer, &session->client, sent.error);
}

/* For whom does the peer speak, by the newest header that any worker has had? */
static bool find_client(const struct receiver *receiver, const struct addr *peer,
                        struct peers_client *out)
{
    return peers_find(receiver->listener->worker->spec->peers, receiver->peers_key, peer,
                      clock_now_us(), idle_us(receiver), out);
}

/* A peer that no header was noted of is the client itself. */
static bool speaks_for(const struct receiver *receiver, const struct addr *peer,
                       const struct addr *client)
{
    struct peers_client known;

    return addr_equal(find_client(receiver, peer, &known) ? &known.addr : peer, client);
}

/* A header that came after a reload: what is answered to the old client is not for the new one. */
static bool has_peer_changed(const struct udp_session *session)
{
    const struct receiver *receiver = session->place.receiver;
    struct peers_client known;

    return receiver->listener->worker->draining && find_client(receiver, &session->peer, &known) &&
           !addr_equal(&known.addr, &session->client);
}

/* The socket that listens on this address, else one that listens on all addresses. */
static const struct receiver_socket *socket_at(const struct receiver *receiver,
                                               const struct addr *local)
{
    const struct receiver_socket *found = NULL;

    for (size_t i = 0; i < receiver->n_sockets; i++) {
        const struct addr *listen = receiver->sockets[i].listen;
        if (addr_family(listen) != addr_family(local) || addr_port(listen) != addr_port(local))
            continue;
        found = &receiver->sockets[i];
        if (addr_equal_host(listen, local))
            break;
    }
    return found;
}

/* For a client whose latest datagram came to another worker. */
static void send_by_way(const struct receiver *receiver, const struct receiver_socket *socket,
                        const struct addr *client, const struct peers_way *way, unsigned first,
                        unsigned n)
{
    const struct datagram_way to = { .to = &way->peer, .from = &way->local };
    struct datagram_sent sent = datagrams_send(receiver->room, socket->io.fd, first, n, &to);
    counters_add(receiver->listener->counters, COUNT_BYTES_OUT, sent.len);
    if (sent.error != 0)
        report_lost(receiver, &way->peer, client, sent.error);
}

/*
 * In the mode first a client may come by several peers, each with a session, perhaps of another
 * worker. Answers go where its latest datagram came from. returns: false: no worker knows that.
 */
static bool send_to_latest(const struct receiver *receiver, const struct addr *client,
                           unsigned first, unsigned n)
{
    struct peers_way way;

    if (!peers_find_way(receiver->listener->worker->spec->peers, receiver->peers_key, client,
                        clock_now_us(), idle_us(receiver), &way))
        return false;
    struct udp_session *session = udp_session_find(receiver, &way.peer, 0);
    if (session && addr_equal(&session->client, client) && !has_peer_changed(session)) {
        send_by_session(session, first, n);
        return true;
    }
    const struct receiver_socket *socket = socket_at(receiver, &way.local);
    if (!socket || !speaks_for(receiver, &way.peer, client))
        return false;
    send_by_way(receiver, socket, client, &way, first, n);
    return true;
}

static void send_replies(struct udp_session *session, unsigned first, unsigned n)
{
    const struct receiver *receiver = session->place.receiver;

    if (n == 0)
        return;
    if (mode_of(receiver) == UDP_HEADER_FIRST) {
        udp_session_set_idle(session);
        if (send_to_latest(receiver, &session->client, first, n) || has_peer_changed(session))
            return;
    }
    send_by_session(session, first, n);
}

/* The same for a session that this one's worker may not have. returns: whether it was sent. */
static bool pass_to_listener(const struct listener *listener, const struct udp_session *session,
                             unsigned i)
{
    const struct receiver *receiver = listener->receiver;
    const struct addr *from = &datagrams_at(session->place.receiver->room, i)->peer;

    if (!receiver || mode_of(receiver) != UDP_HEADER_FIRST)
        return false;
    const struct addr *target = listener_config_target(listener->config, addr_family(from));
    return target && is_from(receiver, target, from) &&
           send_to_latest(receiver, &session->client, i, 1);
}

/*
 * Of sockets with one source the latest gets what comes for it: the client may have a session for
 * another port of the service, or at another listener, too.
 */
static void pass_to_sibling(const struct udp_session *session, unsigned i)
{
    const struct receiver *receiver = session->place.receiver;
    const struct worker *worker = receiver->listener->worker;
    const struct addr *from = &datagrams_at(receiver->room, i)->peer;
    struct udp_table_entry *each = NULL;

    while ((each = udp_table_next(receiver->table, each, &session->client, addr_port(from)))) {
        if (!is_from(receiver, udp_session_of(each)->target, from))
            continue;
        send_by_session(udp_session_of(each), i, 1);
        return;
    }
    for (size_t j = 0; j < worker->spec->config->n_listeners; j++)
        if (pass_to_listener(&worker->listeners[j], session, i))
            return;
}

void udp_answers_pass_on(struct udp_session *session, unsigned n)
{
    const struct receiver *receiver = session->place.receiver;
    unsigned first = 0;

    for (unsigned i = 0; i < n && !session->is_connected; i++) {
        if (is_from(receiver, session->target, &datagrams_at(receiver->room, i)->peer))
            continue;
        send_replies(session, first, i - first);
        pass_to_sibling(session, i);
        first = i + 1;
    }
    send_replies(session, first, n - first);
}
