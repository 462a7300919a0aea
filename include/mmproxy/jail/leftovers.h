/* SPDX-License-Identifier: BSD-2-Clause */
/* leftovers: gives up what a worker or the exporter inherited and does not need. */
#ifndef MMPROXY_JAIL_LEFTOVERS_H
#define MMPROXY_JAIL_LEFTOVERS_H

/*
 * Call it once the log is open. Closes or narrows standard input and output, the starter's
 * descriptors and standard error, and clears the environment. mmproxy's own descriptors are closed
 * on exec, so a descriptor without that flag is the starter's. returns: 0 or -errno.
 */
int leftovers_leave(void);

/*
 * For a child that takes orders by its channel. A terminal or service manager sends signals to the
 * whole group, but means the supervisor.
 */
void leftovers_set_signals(void);

#endif
