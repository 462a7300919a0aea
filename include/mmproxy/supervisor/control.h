/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control: the control socket: which users may connect, requests, answers. Never blocks. A client
 * that is slow or silent costs a bounded buffer for a bounded time, and nothing waits for it.
 * commands.h answers.
 */
#ifndef MMPROXY_SUPERVISOR_CONTROL_H
#define MMPROXY_SUPERVISOR_CONTROL_H

#include "mmproxy/control/request.h"
#include "mmproxy/supervisor/state.h"

/* One connection. A client has one request, and the connection ends with the answer. */
struct control_client;

void control_init(struct supervisor *supervisor);

/* A step of the lifecycle: the socket is where the configuration that counts has it. */
void control_offer(struct supervisor *supervisor);

/* A step of the lifecycle: there is none any more; the next process may have it. */
void control_withdraw(struct supervisor *supervisor);

/* A load has ended; commands that wait for it are answered. */
void control_load_ended(struct supervisor *supervisor, bool is_good);

/* A child was reaped. returns: did it answer a command? */
bool control_reaped(struct supervisor *supervisor, pid_t pid, int status);

/* In a forked child. */
void control_leave(struct supervisor *supervisor);

/*
 * After SIGUSR2, in the old process: answers a client of the new one that asks for sessions. fd is
 * taken; it is the client's end of a stream.
 */
void control_take_question(struct supervisor *supervisor, int fd, bool may_change);

/* Is this listener closed until it is resumed? */
bool control_is_drained(const struct supervisor *supervisor, const char *listener);

/* returns: 0 or -ENOMEM. The next load makes it so. */
int control_mark_drained(struct supervisor *supervisor, const char *listener, bool is_drained);

/* For SIGUSR2: all names, a space between two; to be freed. returns: 0 or -ENOMEM. */
int control_drained_names(const struct supervisor *supervisor, char **out);

/* ... and in the next process: names may be NULL. */
void control_drain_names(struct supervisor *supervisor, const char *names);

/* For the end. */
void control_forget_drained(struct supervisor *supervisor);

/* Takes their ports from drained listeners of a configuration that has none open yet. */
void control_apply_drained(const struct supervisor *supervisor, struct config *config);

#endif
