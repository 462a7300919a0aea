/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/target_service.h"

#include <net/if.h>
#include <stdlib.h>

#include "mmproxy/base/shell.h"
#include "mmproxy/net/rtnlmsg.h"

void target_service_close(struct target_service *service)
{
    free(service->listening);
    *service = (struct target_service){ .config = service->config };
}

static void read_sockets(struct target_service *service)
{
    if (!service->is_read)
        (void)listening_read(&service->listening, &service->n_listening);
    service->is_read = true;
}

static bool has_address(const struct listener_config *listener, const struct addr *addr)
{
    for (size_t i = 0; i < listener->n_listen; i++) {
        const struct addr_range *range = &listener->listen[i];
        if (addr_equal_host(&range->addr, addr) && addr_port(&range->addr) <= addr_port(addr) &&
            addr_port(addr) <= range->last)
            return true;
    }
    return false;
}

/* Is it a socket of mmproxy's own? These are not in the network namespaces of targets. */
static bool is_ours(const struct config *config, const struct listener_config *listener,
                    const struct addr *addr)
{
    if (listener->netns[0] != '\0')
        return false;
    for (size_t i = 0; i < config->n_listeners; i++)
        if (config->listeners[i].protocol == PROTOCOL_TCP &&
            has_address(&config->listeners[i], addr))
            return true;
    return has_address(&config->exporter, addr);
}

/* Where the service listens on the target's port; NULL: nowhere. */
static const struct listening *find_service(struct target_service *service,
                                            const struct firewall_way *way)
{
    read_sockets(service);
    for (size_t i = 0; i < service->n_listening; i++) {
        const struct addr *addr = &service->listening[i].addr;
        if (addr_port(addr) == addr_port(&way->target) &&
            !is_ours(service->config, way->listener, addr))
            return &service->listening[i];
    }
    return NULL;
}

/* The socket that takes connections to the target; one for any interface where there is one. */
static const struct listening *find_taker(struct target_service *service, const struct addr *target)
{
    const struct listening *taker = NULL;

    read_sockets(service);
    for (size_t i = 0; i < service->n_listening; i++) {
        if (listening_takes(&service->listening[i], target) && (!taker || taker->device != 0))
            taker = &service->listening[i];
    }
    return taker;
}

static void report_rejected(struct firewall *firewall, const struct firewall_way *way,
                            const struct report_sink *sink)
{
    char text[ADDR_STRLEN];

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Unable to connect() to target server %s: connection refused, "
                     "although something listens there. A firewall rejects it.",
                     addr_format(&way->target, text));
    if (!firewall_report(firewall, way, RULESET_REFUSES | RULESET_DNAT, sink))
        report_sink_line(sink, LOG_LEVEL_WARNING, "[!] FAILED: To see its rules: %s",
                         firewall_listing(firewall));
}

static void report_other_address(const struct listener_config *listener, const struct addr *target,
                                 const struct addr *service, const struct report_sink *sink)
{
    const char *key = addr_family(target) == AF_INET6 ? "target_v6" : "target_v4";
    char text[ADDR_STRLEN];
    char other[ADDR_STRLEN];

    addr_format(target, text);
    addr_format(service, other);
    if (addr_family(service) == addr_family(target))
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Target server %s seems to be down: connection refused. A "
                         "service listens on %s: set %s = \"%s\"%s%s, or let the service listen on "
                         "%s.",
                         text, other, key, other, listener->name[0] ? " in listener " : "",
                         listener->name, text);
    else
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Target server %s seems to be down: connection refused. A "
                         "service listens on %s, for %s alone: let it listen on %s, too, or leave "
                         "out %s%s%s.",
                         text, other, addr_family(service) == AF_INET6 ? "IPv6" : "IPv4", text, key,
                         listener->name[0] ? " in listener " : "", listener->name);
}

/* Connections to a target on this host come by lo. */
static void report_bound(const struct listening *taker, const struct addr *target,
                         const struct report_sink *sink)
{
    char device[SHELL_QUOTED_MAX(IF_NAMESIZE)];
    char name[IF_NAMESIZE] = "?";
    char text[ADDR_STRLEN];

    (void)if_indextoname(taker->device, name);
    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Unable to connect() to target server %s: connection refused. The "
                     "service listens there for what comes by interface %s alone "
                     "(SO_BINDTODEVICE): let it listen without that.",
                     addr_format(target, text), shell_quote(name, device, sizeof device));
}

void target_service_refused(struct target_service *service, struct firewall *firewall,
                            const struct firewall_way *way, const struct report_sink *sink)
{
    const struct addr *target = &way->target;
    const struct listening *taker = find_taker(service, target);
    const struct listening *other = find_service(service, way);
    char text[ADDR_STRLEN];

    if (taker && taker->device > RTNL_LO_INDEX)
        report_bound(taker, target, sink);
    else if (taker)
        report_rejected(firewall, way, sink);
    else if (other)
        report_other_address(way->listener, target, &other->addr, sink);
    else
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Target server %s seems to be down: connection refused. "
                         "Nothing listens on port %u: start the service. To see what listens "
                         "there: ss -ltnp 'sport = :%u'",
                         addr_format(target, text), addr_port(target), addr_port(target));
}

bool target_service_hangs(struct target_service *service, const struct addr *target,
                          const struct report_sink *sink)
{
    const struct listening *taker = find_taker(service, target);

    if (!taker || taker->waiting <= taker->backlog)
        return false;
    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: The service accepts no connections: %u wait for it, and its "
                     "backlog is %u. It hangs or is overloaded: restart it, or let it accept "
                     "more at once. To see how many wait: ss -ltn 'sport = :%u'",
                     taker->waiting, taker->backlog, addr_port(target));
    return true;
}
