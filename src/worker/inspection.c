/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/inspection.h"

#include <string.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/worker/datagram/receiver.h"
#include "mmproxy/worker/datagram/udp_session.h"
#include "mmproxy/worker/roster.h"
#include "mmproxy/worker/stream/session.h"
#include "mmproxy/worker/target_choice.h"

static void describe_entry(const struct worker *worker, const struct roster_entry *entry,
                           const struct listener_config *listener, uint64_t since_us,
                           struct session_record *out)
{
    uint64_t now_us = loop_now_us(worker->loop);

    out->number = entry->number;
    memcpy(out->listener, listener->name, sizeof out->listener);
    out->protocol = listener->protocol;
    out->age_ms = (clock_now_us() - since_us) / 1000;
    out->idle_ms = entry->active_us > 0 ? (now_us - entry->active_us) / 1000 : 0;
    if (out->idle_ms > out->age_ms) /* it was connected later in the same turn of the loop */
        out->idle_ms = out->age_ms;
}

static void add_mapped(struct session_record *out, const struct listener_config *config)
{
    if (listener_config_maps(config, addr_family(&out->client)))
        out->mapped = target_source(config, &out->client);
}

static void describe_stream(const struct session *session, struct session_record *out)
{
    const struct report_session facts = session_facts(session);

    out->state = (unsigned)session->state;
    out->peer = session->peer;
    out->client = session->client;
    out->target = session->choice.target;
    add_mapped(out, session->listener->config);
    out->bytes_in = facts.bytes_in;
    out->bytes_out = facts.bytes_out;
}

static void describe_datagrams(const struct udp_session *session, struct session_record *out)
{
    out->state = SESSION_RELAY;
    out->peer = session->peer;
    out->client = session->client;
    out->target = *session->target;
    add_mapped(out, session->place.receiver->listener->config);
    out->bytes_in = session->bytes_in;
    out->bytes_out = session->bytes_out;
}

static void describe(const struct worker *worker, const struct roster_entry *entry,
                     struct session_record *out)
{
    *out = (struct session_record){ .number = 0 };
    if (entry->is_udp) {
        const struct udp_session *session = entry->session;
        describe_entry(worker, entry, session->place.receiver->listener->config,
                       session->admitted.since_us, out);
        describe_datagrams(session, out);
    } else {
        const struct session *session = entry->session;
        describe_entry(worker, entry, session->listener->config, session->admitted.since_us, out);
        describe_stream(session, out);
    }
}

static bool is_within(const struct prefix *prefix, const struct addr *addr)
{
    unsigned whole = prefix->len / 8;
    unsigned rest = prefix->len % 8;

    if (!addr_is_set(&prefix->addr))
        return true;
    if (addr_family(&prefix->addr) != addr_family(addr))
        return false;
    const uint8_t *one = addr_bytes(&prefix->addr);
    const uint8_t *other = addr_bytes(addr);
    if (memcmp(one, other, whole) != 0)
        return false;
    return rest == 0 || (one[whole] ^ other[whole]) >> (8 - rest) == 0;
}

static bool passes(const struct session_filter *filter, const struct session_record *record)
{
    return (filter->number == 0 || filter->number == record->number) &&
           (filter->listener[0] == '\0' || strcmp(filter->listener, record->listener) == 0) &&
           (is_within(&filter->client, &record->client) ||
            (addr_is_set(&record->mapped) && is_within(&filter->client, &record->mapped))) &&
           is_within(&filter->peer, &record->peer);
}

static void end_session(const struct roster_entry *entry)
{
    if (entry->is_udp)
        udp_session_end(entry->session, "closed by mmproxyctl");
    else
        session_drive(entry->session, READY_CLOSE);
}

void inspection_answer(struct worker *worker)
{
    struct inspection *inspection = worker->spec->inspection;
    struct roster_entry *entry;

    if (inspection->is_first)
        worker->inspected = LIST_FIRST(&worker->roster);
    inspection->n = 0;
    for (unsigned i = 0; i < INSPECTION_LOOKS && inspection->n < INSPECTION_RECORDS; i++) {
        struct session_record record;
        entry = worker->inspected;
        if (!entry)
            break;
        worker->inspected = LIST_NEXT(entry, link);
        describe(worker, entry, &record);
        if (!passes(&inspection->filter, &record) ||
            (inspection->is_ending && record.state == SESSION_RESET))
            continue;
        inspection->records[inspection->n++] = record;
        if (inspection->is_ending)
            end_session(entry);
    }
    inspection->is_done = !worker->inspected;
}
