/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * admission: may this connection come in? One listener's limits in one worker: allowed subnets,
 * max_sessions, max_pending, clients that a header may not name, max_sessions_per_client. Each is
 * decided, counted and released here and nowhere else.
 *
 * The steps of a session: admission_enter when it is accepted; admission_identify when its header
 * is complete; admission_leave when it ends, however far it came. No sockets, no log.
 */
#ifndef MMPROXY_WORKER_ADMISSION_H
#define MMPROXY_WORKER_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "mmproxy/base/addr.h"
#include "mmproxy/config/config.h"
#include "mmproxy/net/locals.h"
#include "mmproxy/proxyproto/proxyproto.h"
#include "mmproxy/worker/counters.h"
#include "mmproxy/worker/reason.h"
#include "mmproxy/worker/target_choice.h"

enum { ADMISSION_TEXT_MAX = 96 };

/* The kind of a peer by its address, before a byte is read. */
enum admission_peer {
    ADMISSION_REFUSED, /* it is in no list */
    ADMISSION_HEADER,  /* a load balancer: a header comes first */
    ADMISSION_DIRECT,  /* the client itself: every byte is payload */
};

/* The counts that a session holds while it is in. The session's own; all zero before it enters. */
struct admitted {
    TAILQ_ENTRY(admitted) link; /* while it is pending */
    uint64_t since_us;          /* when it was accepted */
    uint64_t client;            /* what stands for the client it is counted for; 0 = none */
    bool is_in;
    bool is_pending; /* its header is not complete */
    bool is_direct;  /* its peer sends no header */
};

struct admission {
    const struct listener_config *config;
    const struct locals *locals;  /* this host's addresses; NULL = it has none */
    const struct locals *outside; /* the same, where peers are in another network namespace */
    struct counters *counters;
    unsigned worker; /* the numbers that both have in the counters */
    unsigned listener;
    unsigned n_workers;             /* of this generation */
    struct counters_listener *own;  /* from here on admission_open's */
    TAILQ_HEAD(, admitted) pending; /* the oldest first */
};

/* The caller has set the fields above own. There is nothing to close. */
void admission_open(struct admission *admission);

/* May this peer connect at all, and does it send a header? It is unmapped. */
enum admission_peer admission_judge_peer(const struct admission *admission,
                                         const struct addr *peer);

/*
 * UDP: max_sessions holds for all workers together, and the session that has been silent longest
 * goes, wherever it is. So admission_enter lets one more in, and the worker that has that session
 * ends it. used_us: when the one of this worker was used last; 0 = it has none. To be called after
 * admission_enter, and every now and then while there are sessions. returns: must it end?
 */
bool admission_ends_silent(struct admission *admission, uint64_t used_us);

/* Shows used_us to other workers, which is to be done whenever it changes. */
void admission_show_silent(struct admission *admission, uint64_t used_us);

/* The client is counted no longer (max_sessions_per_client), though the session stays. */
void admission_release_client(const struct admission *admission, struct admitted *admitted);

/*
 * A connection was accepted; now_us is monotonic. peer is unmapped. admitted is NULL where there
 * is no memory for a session: the connection is counted all the same.
 * returns: REASON_NONE, and then admission_leave is due; else why it must go.
 */
enum reason admission_enter(struct admission *admission, struct admitted *admitted,
                            const struct addr *peer, uint64_t now_us);

/*
 * May a header with these TLVs come in? is_local: it names no client. facts are looked at only
 * where the listener has endpoints. returns: REASON_NONE, or why not.
 */
enum reason admission_judge_header(const struct admission *admission, bool is_local,
                                   const struct proxyproto_facts *facts);

/*
 * Its header is complete, or it needs none: it is no longer pending. local: as for target_choose.
 * returns: REASON_NONE with *choice, or why the client can't be served.
 */
enum reason admission_identify(struct admission *admission, struct admitted *admitted,
                               const struct addr *local, const struct target_facts *facts,
                               struct target_choice *choice);

/* The session has ended. Harmless if it did not come in. */
void admission_leave(struct admission *admission, struct admitted *admitted);

/* Has this worker sessions whose header is not complete? */
bool admission_has_pending(const struct admission *admission);

/*
 * max_pending holds for all workers together, and the oldest of all goes. Each worker shows the
 * others how old its own oldest is. To be called after admission_enter, and again every now and
 * then while sessions are pending. returns: the session that must end now (REASON_MAX_PENDING), or
 * NULL; to be called again until then.
 */
struct admitted *admission_excess(struct admission *admission);

/* Has this worker clearly more of the listener's sessions than an equal share? */
bool admission_is_above_share(const struct admission *admission);

/*
 * The sentence for a reason that admission has returned, for the log.
 * returns: text or a static string.
 */
const char *admission_explain(const struct admission *admission, enum reason reason,
                              const struct addr *client, char text[ADMISSION_TEXT_MAX]);

#endif
