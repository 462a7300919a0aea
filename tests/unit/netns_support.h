/* SPDX-License-Identifier: BSD-2-Clause */
/* netns_support: a network namespace of the test's own, as root or in a user namespace. */
#ifndef NETNS_SUPPORT_H
#define NETNS_SUPPORT_H

#include "net_support.h"

#include <net/if.h>
#include <sched.h>

/* For the whole program, before its first test: a group setup of cmocka. */
static inline int support_enter_netns(void **state)
{
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    int flags = geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWNET | CLONE_NEWUSER;

    (void)state;
    if (unshare(flags) < 0) {
        perror("no network namespace");
        return -1;
    }
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
