/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/jail/bind_ports.h"

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of linux/landlock.h as of Linux 6.7; Debian 12's is older. */
enum {
    CREATE_RULESET_VERSION = 1 << 0,
    RULE_NET_PORT = 2,
    ACCESS_NET_BIND_TCP = 1 << 0,
    VERSION_WITH_PORTS = 4,
};

struct ruleset_attr {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
};

struct net_port_attr {
    uint64_t allowed_access;
    uint64_t port;
};

/* The system calls, without wrappers in the C library. returns: 0 or more, or -errno. */
static long result(long r)
{
    return r < 0 ? -errno : r;
}

static long restrict_to(int ruleset)
{
    const struct net_port_attr any = { .allowed_access = ACCESS_NET_BIND_TCP, .port = 0 };

    long err = result(syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &any, 0));
    return err < 0 ? err : result(syscall(SYS_landlock_restrict_self, ruleset, 0));
}

int bind_ports_leave_to_kernel(void)
{
    const struct ruleset_attr handled = { .handled_access_net = ACCESS_NET_BIND_TCP };

    if (syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION) < VERSION_WITH_PORTS)
        return 0;
    long ruleset = result(syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0));
    if (ruleset < 0)
        return (int)ruleset;
    long err = restrict_to((int)ruleset);
    close((int)ruleset);
    return (int)err;
}
