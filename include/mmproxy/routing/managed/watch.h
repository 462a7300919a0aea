/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * watch: when to look after the return path: at the kernel's notifications about rules, routes
 * and our nftables table, and when a time is over.
 */
#ifndef MMPROXY_ROUTING_MANAGED_WATCH_H
#define MMPROXY_ROUTING_MANAGED_WATCH_H

#include <stdbool.h>

#include "mmproxy/routing/wanted/wanted.h"

struct watch {
    int fd; /* for the caller's loop: readable when watch_read is to be called */
    int rtnl_fd;
    int nft_fd;   /* -1: the kernel does not let us */
    int timer_fd; /* of watch_look_after */
    int pause_fd; /* a timer: until notifications are read again */
    bool is_paused;
    /*
     * Some nftables table may have changed since the caller last set this to false: true at first,
     * and always where nft_fd is -1.
     */
    bool has_new_tables;
};

/* returns: 0, or -errno with everything closed. */
int watch_open(struct watch *watch);

/* Closes a watch that watch_open has opened, or has failed to. */
void watch_close(struct watch *watch);

/* Asks for a look after so many milliseconds, and every every_ms from then on; 0 = never. */
void watch_look_after(const struct watch *watch, unsigned first_ms, unsigned every_ms);

/*
 * Reads what is there, a bounded share of it, and never blocks. Notifications that follow are
 * left for WATCH_PAUSE_MS and then read together: a router changes thousands a second.
 * returns: is it time, or may something of wanted have been taken away or shadowed?
 */
bool watch_read(struct watch *watch, const struct wanted *wanted);

enum { WATCH_PAUSE_MS = 20 };

#endif
