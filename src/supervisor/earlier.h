/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * earlier: after an upgrade the old process still has sessions, so a command of the control socket
 * is passed on to it: it gets a socket with the same request, and answers it as it answers any
 * client. It asks the process before it in the same way.
 */
#ifndef SUPERVISOR_EARLIER_H
#define SUPERVISOR_EARLIER_H

#include "control_client.h"

/*
 * For status, sessions and close: has the old process told what it knows? What it tells is added to
 * the answer; then command_run is called again. Where there is no old process, it has.
 */
bool earlier_has_told(struct control_client *client);
bool earlier_is_asked(const struct control_client *client);

/* It takes too long. */
void earlier_give_up(struct control_client *client);

#endif
