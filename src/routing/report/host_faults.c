/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/host_faults.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "mmproxy/base/shell.h"
#include "mmproxy/routing/kernel/sysctl.h"
#include "mmproxy/routing/wanted/wanted.h"

static bool is_lo_up(void)
{
    struct ifreq request = { .ifr_name = "lo" };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_up;

    if (fd < 0)
        return true;
    is_up = ioctl(fd, SIOCGIFFLAGS, &request) < 0 || request.ifr_flags & IFF_UP;
    close(fd);
    return is_up;
}

bool host_faults_lo(const struct report_sink *sink)
{
    static const char command[] = "ip link set lo up";

    if (is_lo_up())
        return false;
    if (!report_sink_has_told(sink, command))
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Interface lo is down: no connection within this host "
                         "works. This command mends it:");
    report_sink_command(sink, command);
    return true;
}

static bool has_local_route(struct rtnl *rtnl, const struct addr *target)
{
    struct rtnl_routes routes = { 0 };
    bool is_v6 = addr_family(target) == AF_INET6;
    bool has = false;

    (void)rtnl_dump_routes(rtnl, addr_family(target),
                           (struct rtnl_filter){ .table = RT_TABLE_LOCAL, .type = RTN_LOCAL },
                           &routes);
    for (size_t i = 0; i < routes.n_items; i++) {
        const struct rtnl_route *route = &routes.items[i];

        has |= is_v6 ? memcmp(route->dst, addr_bytes(target), 16) == 0
                     : route->dst[0] == addr_bytes(target)[0] && route->dst_len <= 8;
    }
    rtnl_routes_close(&routes);
    return has;
}

/* The kernel's rule for its own table is gone, or another one comes before it. */
static void report_local_rule(sa_family_t family, const struct report_sink *sink)
{
    bool is_v6 = family == AF_INET6;

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: The rule for the kernel's own table (from all lookup local) is "
                     "gone, or another rule comes before it: this host does not know its %s "
                     "addresses. This command mends it:",
                     is_v6 ? "IPv6" : "IPv4");
    report_sink_command(sink, is_v6 ? "ip -6 rule add priority 0 lookup local"
                                    : "ip rule add priority 0 lookup local");
}

bool host_faults_loopback(struct rtnl *rtnl, const struct addr *target,
                          const struct report_sink *sink)
{
    bool is_v6 = addr_family(target) == AF_INET6;

    if (!addr_is_loopback(target))
        return false;
    if (host_faults_lo(sink))
        return true;
    if (has_local_route(rtnl, target)) {
        report_local_rule(addr_family(target), sink);
        return true;
    }
    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Interface lo has lost the address %s. This command mends it:",
                     is_v6 ? "::1/128" : "127.0.0.1/8");
    report_sink_command(sink, is_v6 ? "ip address add ::1/128 dev lo"
                                    : "ip address add 127.0.0.1/8 dev lo");
    return true;
}

/* When it is full, some entries come and go all the same. */
enum { FULL_MARGIN = 50 };

static bool report_conntrack(const struct report_sink *sink)
{
    static const char name[] = "net.netfilter.nf_conntrack_max";
    struct report_sink of_host = *sink;
    char command[WANTED_COMMAND_MAX];
    int count = 0;
    int max = 0;

    if (sysctl_get("net.netfilter.nf_conntrack_count", &count) < 0 || sysctl_get(name, &max) < 0 ||
        max <= 0 || count < max - max / FULL_MARGIN)
        return false;
    of_host.prefix = NULL; /* in another network namespace it can't be set */
    wanted_sysctl_command(name, max > INT32_MAX / 2 ? max : 2 * max, command);
    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: conntrack is full, and new connections are dropped: it has %d of "
                     "%d. The limit is that of the host, for all containers.%s",
                     count, max,
                     report_sink_has_told(sink, command)
                         ? ""
                         : " On the host this command gives it twice the room:");
    report_sink_command(&of_host, command);
    return true;
}

static bool report_qdisc(struct rtnl *rtnl, const struct report_sink *sink)
{
    char kind[RTNL_KIND_MAX];
    char command[64];
    bool is_hook;

    if (!rtnl_find_qdisc(rtnl, RTNL_LO_INDEX, kind))
        return false;
    is_hook = strcmp(kind, "clsact") == 0 || strcmp(kind, "ingress") == 0;
    snprintf(command, sizeof command, "tc qdisc del dev lo %s", is_hook ? kind : "root");
    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Traffic control on lo (%s) may drop or hold its packets. Unless "
                     "it is needed, this command removes it:",
                     kind);
    report_sink_command(sink, command);
    return true;
}

bool host_faults_silence(struct rtnl *rtnl, const struct report_sink *sink)
{
    return host_faults_lo(sink) || report_conntrack(sink) || report_qdisc(rtnl, sink);
}

bool host_faults_filter(const struct firewall_way *way, const struct report_sink *sink)
{
    const char *const devices[2] = { "all", way->device };
    bool found = false;

    for (size_t i = 0; i < 2 && addr_family(&way->target) == AF_INET; i++) {
        char name[WANTED_SYSCTL_MAX];
        char quoted[SHELL_QUOTED_MAX(WANTED_SYSCTL_MAX)];
        char command[WANTED_COMMAND_MAX];
        int value = 0;

        wanted_device_sysctl(devices[i], "src_valid_mark", name);
        if (sysctl_get(name, &value) < 0 || value == 0)
            continue;
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: %s lets the kernel take marked replies for forged, and drop "
                         "them. (wg-quick sets it; WireGuard works without it where "
                         "net.ipv4.conf.all.rp_filter is 2.) This command mends it:",
                         shell_quote(name, quoted, sizeof quoted));
        report_sink_command(sink, wanted_sysctl_command(name, 0, command));
        found = true;
    }
    return found;
}
