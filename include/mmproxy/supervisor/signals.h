/* SPDX-License-Identifier: BSD-2-Clause */
/* signals: what is sent to the supervisor, heard one at a time, in its loop. */
#ifndef MMPROXY_SUPERVISOR_SIGNALS_H
#define MMPROXY_SUPERVISOR_SIGNALS_H

#include <sys/types.h>

#include "mmproxy/supervisor/reader.h"

struct signals {
    int fd; /* of signalfd(2); -1 = not open */
    struct reader reader;
    void (*on_signal)(void *context, int number);           /* none of SIGCHLD */
    void (*on_child)(void *context, pid_t pid, int status); /* has been reaped */
    void *context;
};

/*
 * Blocks these signals and SIGCHLD for good and hears of them instead; on_signal, on_child and
 * context are the caller's to fill in before. returns: 0 or -errno.
 */
int signals_open(struct signals *signals, struct ev_loop *loop);

/* In a forked child: they are the parent's to hear of. The mask stays. */
void signals_leave(struct signals *signals);

/* For the end. Harmless if it could not be opened, and a second time. */
void signals_close(struct signals *signals, struct ev_loop *loop);

#endif
