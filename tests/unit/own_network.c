/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Part of every unit test's program: root's has a network of its own before main(), so that what
 * runs beside it can't take a port from it. Others stay where they are: in a user namespace, what
 * a test finds out about files and privileges would be different.
 */
#include "netns_support.h"

bool support_has_own_network;

/* MMPROXY_TEST_CONGESTION: one that the host allows; without it, the host's. */
static void set_congestion_control(void)
{
    const char *name = getenv("MMPROXY_TEST_CONGESTION");
    int fd = name ? open("/proc/sys/net/ipv4/tcp_congestion_control", O_WRONLY | O_CLOEXEC) : -1;

    if (!name)
        return;
    if (fd < 0 || dprintf(fd, "%s", name) < 0) {
        perror(name);
        exit(1);
    }
    close(fd);
}

static void __attribute__((constructor)) enter(void)
{
    if (geteuid() != 0)
        return;
    support_has_own_network = support_enter_netns(NULL) == 0; /* says why not; fakeroot has none */
    if (support_has_own_network)
        set_congestion_control();
}
