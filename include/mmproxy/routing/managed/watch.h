/* SPDX-License-Identifier: BSD-2-Clause */
/* watch: the kernel's notifications about rules, routes and our nftables table. */
#ifndef MMPROXY_ROUTING_MANAGED_WATCH_H
#define MMPROXY_ROUTING_MANAGED_WATCH_H

#include <stdbool.h>

#include "mmproxy/routing/wanted/wanted.h"

struct watch {
    int rtnl_fd; /* readable when there are notifications; -1 = closed */
    int nft_fd;  /* the same; -1 = closed, or the kernel does not let us */
};

/* returns: 0, or -errno with both descriptors closed. */
int watch_open(struct watch *watch);
void watch_close(struct watch *watch);

/*
 * Reads what is there, a bounded share of it, and never blocks.
 * returns: may something of wanted have been taken away or shadowed?
 */
bool watch_read(struct watch *watch, const struct wanted *wanted);

#endif
