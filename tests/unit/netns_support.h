/* SPDX-License-Identifier: BSD-2-Clause */
/* netns_support: a network namespace of the test's own, as root or in a user namespace. */
#ifndef NETNS_SUPPORT_H
#define NETNS_SUPPORT_H

#include "net_support.h"

#include <net/if.h>
#include <sched.h>
#include <stdbool.h>

enum { SUPPORT_NOT_RUN = 77 }; /* ctest says so then */

extern bool support_has_own_network; /* before main(); see own_network.c */

/* In a user namespace that it has just made the process is root; where: its file of /proc. */
static inline void support_map_to_root(const char *where, unsigned id)
{
    int fd = open(where, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || dprintf(fd, "0 %u 1", id) < 0)
        perror(where);
    close(fd);
}

/*
 * For the whole program, before its first test: a group setup of cmocka. Only programs that change
 * their network or bind others' addresses need it: root's are all in one (own_network.c).
 */
static inline int support_enter_netns(void **state)
{
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    unsigned uid = geteuid();

    (void)state;
    if (unshare(uid == 0 ? CLONE_NEWNET : CLONE_NEWNET | CLONE_NEWUSER) < 0) {
        perror("no network namespace");
        if (uid != 0)
            exit(SUPPORT_NOT_RUN);
        return -1;
    }
    if (uid != 0)
        support_map_to_root("/proc/self/uid_map", uid);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result = ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
    return result;
}

/* Runs "ip COMMAND", which must be a success. */
static inline void support_ip(const char *command)
{
    char line[256];

    snprintf(line, sizeof line, "PATH=/usr/sbin:/usr/bin:/sbin:/bin ip %s", command);
    if (system(line) != 0)
        fail_msg("failed: %s", line);
}

#endif
