/* SPDX-License-Identifier: BSD-2-Clause */
/* attempts: connections to targets that are tried side by side, for the checks. They send nothing.
 */
#ifndef MMPROXY_ROUTING_REPORT_ATTEMPTS_H
#define MMPROXY_ROUTING_REPORT_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmproxy/base/addr.h"

struct attempt {
    struct addr source; /* a client's; its port counts unless it is 0; not set: this host's own */
    struct addr target;
    uint32_t mark; /* of a socket with a client's address */
    int fd;        /* for attempts_run; -1: none */
    int result;    /* 0: it came about; else -errno, -ETIMEDOUT where nothing came back in time */
};

/*
 * Tries all of them for limit_ms each; where there are not enough descriptors they take turns. Then
 * every result is set. returns: 0, or -ENOMEM with no result set.
 */
int attempts_run(struct attempt *items, size_t n, int limit_ms);

#endif
