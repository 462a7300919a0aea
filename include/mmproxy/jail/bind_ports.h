/* SPDX-License-Identifier: BSD-2-Clause */
/* bind_ports: which TCP ports a worker may bind (Landlock). */
#ifndef MMPROXY_JAIL_BIND_PORTS_H
#define MMPROXY_JAIL_BIND_PORTS_H

/*
 * For ever: only ports that the kernel picks. A port that is bound, though no socket listens on
 * it, keeps a service from starting. Needs no_new_privs. Does nothing before Linux 6.7 and
 * where Landlock is switched off. returns: 0 or -errno.
 */
int bind_ports_leave_to_kernel(void);

#endif
