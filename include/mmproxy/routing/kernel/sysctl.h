/* SPDX-License-Identifier: BSD-2-Clause */
/* sysctl: numbers below /proc/sys, by the names that sysctl(8) uses, '/' for a '.' in one. */
#ifndef MMPROXY_ROUTING_KERNEL_SYSCTL_H
#define MMPROXY_ROUTING_KERNEL_SYSCTL_H

/* returns: 0, or -errno: -ENOENT where this kernel has none of that name. */
int sysctl_get(const char *name, int *out);
int sysctl_set(const char *name, int value);

#endif
