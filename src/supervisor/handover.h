/* SPDX-License-Identifier: BSD-2-Clause */
/* handover: what an old process (upgrade.c) and a new one (takeover.c) say to each other. */
#ifndef SUPERVISOR_HANDOVER_H
#define SUPERVISOR_HANDOVER_H

#include <stdint.h>

/* The environment variable that names the new process's end of the channel. */
#define HANDOVER_CHANNEL "MMPROXY_UPGRADE_FD"
/* A character for each socket handed over: has a service manager a copy, and is it from us? */
#define HANDOVER_KINDS "MMPROXY_UPGRADE_KEPT"

/* Names of listeners that are drained, a space between two; absent where there is none. */
#define HANDOVER_DRAINED "MMPROXY_UPGRADE_DRAINED"

enum { IS_OURS_ALONE = '0', IS_KEPT = '1', IS_STORED = '2' };

/* The channel is a pair of SOCK_SEQPACKET sockets; end of file means that the other has died. */
enum handover_kind {
    HANDOVER_READY = 'R', /* new to old: this one serves, beside you */
    HANDOVER_DONE = 'D',  /* old to new: you are the main process, the sockets are yours alone */
    HANDOVER_SESSIONS =
        'S', /* old to new, from time to time: so many are open here, or before here */
    HANDOVER_ANSWERS = 'A', /* old to new, after DONE: questions are answered here */
    /* New to old, with a socket: a client of the control socket, which asks about sessions.
     */
    HANDOVER_QUESTION = 'Q',
};

struct handover_message {
    uint32_t kind;
    uint32_t number; /* of sessions; of a QUESTION: 1 = this client may change something */
};

#endif
