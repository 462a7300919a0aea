/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/roster.h"

#include "mmproxy/worker/stream/session.h"

void roster_check_drained(struct worker *worker)
{
    if (worker->draining && worker->n_sessions == 0)
        ev_break(worker->loop, EVBREAK_ALL);
}

void roster_add_udp(struct worker *worker)
{
    worker->n_sessions++;
    worker->n_udp_sessions++;
}

void roster_remove_udp(struct worker *worker)
{
    worker->n_sessions--;
    worker->n_udp_sessions--;
    roster_check_drained(worker);
}

void roster_add(struct worker *worker, struct session *session)
{
    LIST_INSERT_HEAD(&worker->sessions, session, link);
    worker->n_sessions++;
}

void roster_remove(struct worker *worker, struct session *session)
{
    LIST_REMOVE(session, link);
    worker->n_sessions--;
    roster_check_drained(worker);
}
