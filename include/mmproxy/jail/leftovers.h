/* SPDX-License-Identifier: BSD-2-Clause */
/* leftovers: what a process inherited from the one that started mmproxy, and does not need. */
#ifndef MMPROXY_JAIL_LEFTOVERS_H
#define MMPROXY_JAIL_LEFTOVERS_H

/*
 * Lets go of it in a worker, once the log is open: standard input and output, descriptors that
 * the starter left open, what standard error can do beyond taking lines, the environment.
 * Whatever mmproxy opens or adopts is closed on exec, so an open descriptor that is not is none
 * of ours. returns: 0 or -errno.
 */
int leftovers_leave(void);

#endif
