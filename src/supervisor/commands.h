/* SPDX-License-Identifier: BSD-2-Clause */
/* commands: the answers to the requests that control.c has read. */
#ifndef SUPERVISOR_COMMANDS_H
#define SUPERVISOR_COMMANDS_H

#include "control_client.h"

/* Continues the answer: the request has come, or the client has read enough. */
void command_run(struct control_client *client);

/*
 * Goes on with what map computes; sessions follow. returns: false: to be called again when the
 * client has read.
 */
bool command_map(struct control_client *client);

/* Goes on with status. */
void command_status(struct control_client *client);

/* Goes on with metrics. */
void command_metrics(struct control_client *client);

/* The mistakes of the last load. */
void command_add_mistakes(struct control_client *client);

/* A load has ended. */
void command_load_ended(struct control_client *client, bool is_good);

/* Its checker has ended. */
void command_checked(struct control_client *client, bool holds);

/* The worker that was asked does not answer: goes on with the next. */
void command_give_up_worker(struct control_client *client);

/* The client goes: nothing of its command may refer to it any more. */
void command_abandon(struct control_client *client);

#endif
