/* SPDX-License-Identifier: BSD-2-Clause */
/* apart: work in a process of its own, so that what a library loses or breaks goes with it. */
#ifndef MMPROXY_ROUTING_KERNEL_APART_H
#define MMPROXY_ROUTING_KERNEL_APART_H

#include <stdio.h>

/* It writes its result to out. returns: 0 or -errno. */
typedef int apart_work(const void *context, FILE *out);

/*
 * Waits for the work, which is killed after limit_ms. *text: what it wrote, owned by the caller;
 * NULL where it failed. returns: what the work returned, -ETIMEDOUT, -ECHILD where it died, or
 * another -errno.
 */
int apart_run(apart_work *work, const void *context, int limit_ms, char **text);

#endif
