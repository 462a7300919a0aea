/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session: a peer's connection, its header, and the connection to the target that follows.
 *
 * A state is one function. It is called with what has become ready, does what can be done
 * now and returns the next state; it neither arms watchers nor frees anything. One driver
 * (session.c) moves between states, sets deadlines, arms watchers and frees.
 */
#ifndef MMPROXY_WORKER_STREAM_SESSION_H
#define MMPROXY_WORKER_STREAM_SESSION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "mmproxy/base/addr.h"
#include "mmproxy/net/loop.h"
#include "mmproxy/net/pump.h"
#include "mmproxy/worker/deadline.h"
#include "mmproxy/worker/listener.h"

enum session_state {
    SESSION_HEADER,  /* reading the PROXY header */
    SESSION_CONNECT, /* on the way to the target */
    SESSION_RELAY,   /* bytes flow */
    SESSION_RESET,   /* it has failed; the target is about to be reset */
    SESSION_CLOSED,  /* to be freed */
    SESSION_STATES
};

/* Events; several may come at once. */
enum session_ready {
    READY_PEER_READ = 1 << 0,
    READY_PEER_WRITE = 1 << 1,
    READY_TARGET_READ = 1 << 2,
    READY_TARGET_WRITE = 1 << 3,
    READY_DEADLINE = 1 << 4, /* the state's time is up */
    READY_ERROR = 1 << 5,    /* a socket that is not being read has failed */
    READY_STOP = 1 << 6,     /* the worker ends */
    READY_OLDEST = 1 << 7,   /* max_pending is passed and no header is older than this one */
    READY_ENTERED = 1 << 8,  /* the state was just entered: whatever can be done */
    READY_REFUSED = 1 << 9,  /* the kernel won't tell when a socket is ready: no memory left for
                                that, or fs.epoll.max_user_watches reached */
    READY_CLOSE = 1 << 10,   /* an administrator ends it */
    READY_SOCKETS = READY_PEER_READ | READY_PEER_WRITE | READY_TARGET_READ | READY_TARGET_WRITE,
};

struct session {
    struct listener *listener;
    enum session_state state;
    int peer_fd;   /* -1 in RESET */
    int target_fd; /* -1 before CONNECT */
    struct loop_io peer_io;
    struct loop_io target_io;
    struct admitted admitted;
    struct deadline deadline;    /* of the state */
    struct deadline lasting_due; /* until session_lasts is called */
    struct roster_entry entry;
    struct addr peer;
    const struct addr *local;    /* where it was accepted; the worker's spec's */
    struct addr client;          /* set from CONNECT on; the peer's where the header says so */
    struct target_choice choice; /* the same */
    bool is_health_check;        /* its header says LOCAL or UNKNOWN: lines of level debug */
    bool ends_with_fin;          /* both ends have seen the regular end: close, not reset */
    bool peer_is_over;           /* closing its socket does nothing more, see sock_is_over */
    bool target_is_over;         /* the same */
    bool has_failed;        /* a socket has, or the session was ended: FIN is never sent again */
    bool acknowledges_late; /* to the target: nothing has come from it yet */
    bool lacks_keepalive;   /* the target's socket: session_lasts sets it */
    uint8_t reset_checks;   /* how often RESET has looked in vain */
    bool has_unread;        /* the last read of the header filled its buffer */
    uint8_t *header;        /* a header that did not come in one piece, or the payload behind it */
    uint32_t header_len;
    uint32_t proxy_len; /* of the header itself, once it is complete; 0: there is none */
    uint32_t header_size;
    struct notes *notes; /* owned; NULL: none */
    uint64_t since_us;   /* monotonic: when CONNECT began; from RELAY on: when it was connected */
    struct pump up;      /* peer to target */
    struct pump down;    /* target to peer */
    const char *end;     /* how it ended, for the log; static */
};

static inline struct session *session_of(struct admitted *admitted)
{
    return (struct session *)(void *)((char *)admitted - offsetof(struct session, admitted));
}

/*
 * Starts a session for a connection that was accepted at local, which outlives it; it lives by
 * itself from then on. Takes fd, also where the connection may not come in.
 * returns: REASON_NONE, or why it was closed.
 */
enum reason session_start(struct listener *listener, const struct addr *local, int fd,
                          const struct addr *peer);

/* Runs the session with what became ready; it may be gone afterwards. */
void session_drive(struct session *session, unsigned ready);

/* The client for a line of a refusal; NULL where the peer itself is the client, and says it all. */
const struct addr *session_named_client(const struct session *session);

/* The facts for its log lines. */
struct report_session session_facts(const struct session *session);

/* One of its sockets has become ready: on_event of both. */
void session_on_event(struct loop_io *io, unsigned events);

/* lasting_due is due: from now on the target's socket has keepalive. */
void session_lasts(struct session *session);

/* The states, each in a file of its own: header.c, connect.c, relay.c, reset.c. */
enum session_state header_run(struct session *session, unsigned ready);
enum session_state connect_run(struct session *session, unsigned ready);
enum session_state relay_run(struct session *session, unsigned ready);
enum session_state reset_run(struct session *session, unsigned ready);

#endif
