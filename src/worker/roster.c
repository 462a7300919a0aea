/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/roster.h"

void roster_check_drained(struct worker *worker)
{
    if (worker->draining && worker->n_sessions == 0)
        loop_end(worker->loop);
}

void roster_add(struct worker *worker, struct roster_entry *entry, void *session)
{
    entry->session = session;
    entry->number = ++worker->last_number;
    LIST_INSERT_HEAD(&worker->roster, entry, link);
    worker->n_sessions++;
    worker->n_udp_sessions += entry->is_udp;
}

void roster_remove(struct worker *worker, struct roster_entry *entry)
{
    if (worker->inspected == entry)
        worker->inspected = LIST_NEXT(entry, link);
    LIST_REMOVE(entry, link);
    worker->n_udp_sessions -= entry->is_udp;
    worker->n_sessions--;
    roster_check_drained(worker);
}
