/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/causes.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/net/listening.h"
#include "mmproxy/net/sock.h"
#include "mmproxy/routing/kernel/survey.h"
#include "mmproxy/routing/kernel/sysctl.h"
#include "mmproxy/routing/report/check.h"
#include "mmproxy/routing/report/elsewhere.h"
#include "mmproxy/routing/report/firewall.h"

struct causes {
    const struct config *config;
    struct rtnl *rtnl;
    bool is_surveyed;
    int error; /* of the survey */
    struct wanted_host host;
    struct wanted wanted;
    struct survey survey;
    bool has_listening;
    struct listening *listening; /* owned */
    size_t n_listening;
    struct firewall firewall;
};

enum { CLIENT_PORT = 40000 }; /* any that clients have */

struct causes *causes_new(const struct config *config, struct rtnl *rtnl)
{
    struct causes *causes = calloc(1, sizeof *causes);

    if (causes) {
        causes->config = config;
        causes->rtnl = rtnl;
    }
    return causes;
}

void causes_free(struct causes *causes)
{
    if (!causes)
        return;
    survey_close(&causes->survey);
    wanted_close(&causes->wanted);
    free(causes->listening);
    firewall_close(&causes->firewall);
    free(causes);
}

static int look(struct causes *causes)
{
    int err;

    if (causes->is_surveyed)
        return causes->error;
    causes->is_surveyed = true;
    err = survey_host(causes->rtnl, &causes->host);
    if (err == 0)
        err = wanted_add(&causes->wanted, causes->config, &causes->host);
    if (err == 0)
        err = survey_run(&causes->survey, &causes->wanted, causes->rtnl);
    causes->error = err;
    return err;
}

static void read_listening(struct causes *causes)
{
    if (!causes->has_listening)
        (void)listening_read(&causes->listening, &causes->n_listening);
    causes->has_listening = true;
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
static bool is_ours(const struct causes *causes, const struct listener_config *listener,
                    const struct addr *addr)
{
    const struct config *config = causes->config;

    if (listener->netns[0] != '\0')
        return false;
    for (size_t i = 0; i < config->n_listeners; i++)
        if (config->listeners[i].protocol == PROTOCOL_TCP &&
            has_address(&config->listeners[i], addr))
            return true;
    return has_address(&config->exporter, addr);
}

/* Where the service listens on the target's port; NULL: nowhere. */
static const struct listening *find_service(struct causes *causes, const struct firewall_way *way)
{
    read_listening(causes);
    for (size_t i = 0; i < causes->n_listening; i++) {
        const struct addr *addr = &causes->listening[i].addr;
        if (addr_port(addr) == addr_port(&way->target) && !is_ours(causes, way->listener, addr))
            return &causes->listening[i];
    }
    return NULL;
}

static bool is_taken(struct causes *causes, const struct addr *target)
{
    read_listening(causes);
    for (size_t i = 0; i < causes->n_listening; i++) {
        if (listening_takes(&causes->listening[i], target))
            return true;
    }
    return false;
}

/* How packets between this host, or a client of another one, and the target go. */
static struct firewall_way find_way(struct causes *causes, const struct listener_config *listener,
                                    const struct addr *target, bool is_spoofed)
{
    struct firewall_way way = { .listener = listener, .target = *target, .is_local = true };
    struct rtnl_route route;

    if (rtnl_lookup(causes->rtnl, target, NULL, 0, &route) == 0 && route.type != RTN_LOCAL) {
        way.is_local = false;
        (void)if_indextoname(route.oif, way.device);
    }
    way.client = is_spoofed     ? survey_client_of(listener, addr_family(target))
                 : way.is_local ? *target
                                : sock_source_for(target);
    addr_set_port(&way.client, CLIENT_PORT);
    return way;
}

static void report_rejected(struct causes *causes, const struct firewall_way *way,
                            const struct report_sink *sink)
{
    char text[ADDR_STRLEN];

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Unable to connect() to target server %s: connection refused, "
                     "although something listens there. A firewall rejects it.",
                     addr_format(&way->target, text));
    if (!firewall_report(&causes->firewall, way, RULESET_REFUSES, sink))
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: To see its rules: nft list ruleset; iptables-save");
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

static void report_down(struct causes *causes, const struct firewall_way *way,
                        const struct report_sink *sink)
{
    const struct addr *target = &way->target;
    const struct listening *service = find_service(causes, way);
    char text[ADDR_STRLEN];

    if (is_taken(causes, target))
        report_rejected(causes, way, sink);
    else if (service)
        report_other_address(way->listener, target, &service->addr, sink);
    else
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Target server %s seems to be down: connection refused. "
                         "Nothing listens on port %u: start the service. To see what listens "
                         "there: ss -ltnp 'sport = :%u'",
                         addr_format(target, text), addr_port(target), addr_port(target));
}

/*
 * A port of a container that docker or podman publishes: its replies would not come back, or not
 * to the client. returns: is it?
 */
static bool report_published(struct causes *causes, const struct firewall_way *way,
                             const struct report_sink *sink)
{
    const char *key = addr_family(&way->target) == AF_INET6 ? "target_v6" : "target_v4";
    struct ruleset_list list = { .n_items = 0 };
    char text[ADDR_STRLEN];
    char inner[ADDR_STRLEN];
    struct addr to;

    if (!way->is_local || !firewall_find(&causes->firewall, way, RULESET_DNAT, &list))
        return false;
    to = list.items[0].to;
    if (!addr_is_set(&to))
        return false;
    if (addr_port(&to) == 0)
        addr_set_port(&to, addr_port(&way->target));
    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Target server %s is a published port of %s: %s. Use that "
                     "address: %s = \"%s\"%s%s.",
                     addr_format(&way->target, text), addr_format(&to, inner), list.items[0].rule,
                     key, inner, way->listener->name[0] ? " in listener " : "",
                     way->listener->name);
    return true;
}

static void report_silence(struct causes *causes, const struct firewall_way *way,
                           const struct report_sink *sink)
{
    char text[ADDR_STRLEN];

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Unable to connect() to target server %s: no answer within %d ms.",
                     addr_format(&way->target, text), CHECK_TIMEOUT_MS);
    if (report_published(causes, way, sink) ||
        firewall_report(&causes->firewall, way, RULESET_REFUSES, sink))
        return;
    if (!way->is_local)
        elsewhere_silent(way, sink);
    else
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: A firewall may drop the packets. To see its rules: nft list "
                         "ruleset; iptables-save");
}

void causes_plain(struct causes *causes, const struct listener_config *listener,
                  const struct addr *target, int error, const struct report_sink *sink)
{
    struct firewall_way way = find_way(causes, listener, target, false);
    char text[ADDR_STRLEN];

    if (error == -ECONNREFUSED && way.is_local)
        report_down(causes, &way, sink);
    else if (error == -ECONNREFUSED)
        elsewhere_down(&causes->firewall, &way, sink);
    else if (error == -ETIMEDOUT)
        report_silence(causes, &way, sink);
    else
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Unable to connect() to target server %s: %s.",
                         addr_format(target, text), strerror(-error));
}

/* Where would the reply of a target on this host go? ", its reply leaves by eth0 (...)". */
static void describe_reply(struct rtnl *rtnl, const struct listener_config *listener,
                           const struct addr *target, char out[128])
{
    enum return_path path = listener_config_return_path(listener, addr_family(target));
    uint32_t mark = path == RETURN_PATH_LOOPBACK ? 0 : listener->mark;
    struct addr client = survey_client_of(listener, addr_family(target));
    struct rtnl_route route;
    char name[IF_NAMESIZE] = "?";
    int err = rtnl_lookup(rtnl, &client, target, mark, &route);

    if (err == -EINVAL) /* a loopback source that would leave this host */
        err = rtnl_lookup(rtnl, &client, NULL, mark, &route);
    if (err < 0) {
        snprintf(out, 128, ", its reply has no route (%s)", strerror(-err));
    } else if (route.type == RTN_LOCAL) {
        snprintf(out, 128, ", although its reply has a route back");
    } else {
        if_indextoname(route.oif, name);
        snprintf(out, 128, ", its reply leaves by %s (table %u)", name, route.table);
    }
}

static void report_missing(const struct wanted_item *item, const struct judgement *judgement,
                           const struct report_sink *sink)
{
    char command[WANTED_COMMAND_MAX];
    const char *first = judgement->n_commands > 0 ? judgement->commands[0] : command;

    wanted_command(item, command);
    if (report_sink_has_told(sink, first)) {
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Its return path needs what is marked CHECK FAILED above: %s",
                         command);
        return;
    }
    if (judgement->verdict == JUDGE_MISSING) {
        report_sink_line(
            sink, LOG_LEVEL_WARNING,
            "[!] FAILED: A piece of its return path is missing. This command adds it:");
        report_sink_command(sink, command);
        return;
    }
    report_sink_line(sink, LOG_LEVEL_WARNING, "[!] FAILED: Its return path has `%s`, but %s%s",
                     command, judgement->reason, report_mending(judgement->n_commands));
    for (size_t i = 0; i < judgement->n_commands; i++)
        report_sink_command(sink, judgement->commands[i]);
}

static void report_no_route(const struct listener_config *listener, const struct addr *target,
                            const struct report_sink *sink)
{
    bool is_connmark =
        listener_config_return_path(listener, addr_family(target)) == RETURN_PATH_CONNMARK;
    bool is_v6 = addr_family(target) == AF_INET6;

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Return path %s needs a default route for %s, and there is none: "
                     "add one (ip %sroute add default via GATEWAY)%s.",
                     is_connmark ? "connmark" : "flows", is_v6 ? "IPv6" : "IPv4",
                     is_v6 ? "-6 " : "",
                     is_connmark ? ", or use return path fwmark, which needs none" : "");
}

/* returns: was something of the listener's return path found missing? */
static bool report_pieces(struct causes *causes, const struct listener_config *listener,
                          const struct addr *target, const struct report_sink *sink)
{
    enum return_path path = listener_config_return_path(listener, addr_family(target));
    bool needs_route = path == RETURN_PATH_CONNMARK || path == RETURN_PATH_FLOWS;
    bool found = false;

    for (size_t i = 0; i < causes->wanted.n_items; i++) {
        const struct wanted_item *item = &causes->wanted.items[i];

        /* tcp_fwmark_accept is filed under IPv4 and matters to both. */
        if ((item->family != addr_family(target) && !strstr(item->sysctl, "tcp_fwmark_accept")) ||
            causes->survey.items[i].verdict == JUDGE_HOLDS ||
            !wanted_is_for(item, listener, &causes->host))
            continue;
        report_missing(item, &causes->survey.items[i], sink);
        found = true;
    }
    if (needs_route && causes->survey.no_route[addr_family(target) == AF_INET6]) {
        report_no_route(listener, target, sink);
        found = true;
    }
    return found;
}

static bool report_filters(const struct addr *target, const struct report_sink *sink)
{
    static const char *const names[] = { "net.ipv4.conf.all.rp_filter",
                                         "net.ipv4.conf.lo.rp_filter" };
    char command[WANTED_COMMAND_MAX];
    bool found = false;

    for (size_t i = 0; i < 2 && addr_family(target) == AF_INET; i++) {
        int value = 0;

        if (sysctl_get(names[i], &value) < 0 || value != 1)
            continue;
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: %s may filter packets from foreign addresses. This command "
                         "lets them in:",
                         names[i]);
        report_sink_command(sink, wanted_sysctl_command(names[i], 2, command));
        found = true;
    }
    return found;
}

/* Nothing of ours is missing: what else is in the way of packets from foreign addresses? */
static void report_suspects(struct causes *causes, const struct firewall_way *way,
                            const struct report_sink *sink)
{
    enum return_path path = listener_config_return_path(way->listener, addr_family(&way->target));
    unsigned effects = path == RETURN_PATH_LOOPBACK ? 0 : RULESET_SET_MARK;

    if (path == RETURN_PATH_CONNMARK)
        effects |= RULESET_NOTRACK;
    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Every piece of the return path is there.");
    if (firewall_report(&causes->firewall, way, RULESET_REFUSES, sink) ||
        (effects != 0 && firewall_report(&causes->firewall, way, effects, sink)))
        return;
    if (path == RETURN_PATH_ROUTED)
        elsewhere_lost(causes->rtnl, way, sink);
    else if (way->is_local && !report_filters(&way->target, sink))
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: A firewall may drop packets from foreign addresses on lo. To "
                         "see its rules: nft list ruleset; iptables-save");
}

static void report_privilege(const struct addr *target, const struct report_sink *sink)
{
    char text[ADDR_STRLEN];

    report_sink_line(
        sink, LOG_LEVEL_WARNING,
        "[!] FAILED: Unable to do spoofed connect() to target server %s: the kernel "
        "refuses IP_TRANSPARENT or SO_MARK. CAP_NET_RAW is missing (before Linux 5.17 "
        "CAP_NET_ADMIN too): run it as root, or with AmbientCapabilities=CAP_NET_RAW in "
        "its unit.",
        addr_format(target, text));
}

static void report_timeout(struct causes *causes, const struct firewall_way *way,
                           const struct report_sink *sink)
{
    char text[ADDR_STRLEN];
    char reply[128] = "";
    int err = look(causes);

    if (way->is_local)
        describe_reply(causes->rtnl, way->listener, &way->target, reply);
    report_sink_line(
        sink, LOG_LEVEL_WARNING,
        "[!] FAILED: Unable to do spoofed connect() to target server %s: no answer within "
        "%d ms%s.",
        addr_format(&way->target, text), CHECK_TIMEOUT_MS, reply);
    if (report_published(causes, way, sink))
        return;
    if (err < 0)
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: The return path can't be looked at: %s.", strerror(-err));
    else if (!report_pieces(causes, way->listener, &way->target, sink))
        report_suspects(causes, way, sink);
}

static void report_refused(struct causes *causes, const struct firewall_way *way,
                           const struct report_sink *sink)
{
    char text[ADDR_STRLEN];

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Unable to do spoofed connect() to target server %s: connection "
                     "refused, although a conventional connection is not. A firewall rejects "
                     "foreign addresses.",
                     addr_format(&way->target, text));
    if (!firewall_report(&causes->firewall, way, RULESET_REFUSES, sink))
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: To see its rules: nft list ruleset; iptables-save");
}

void causes_spoofed(struct causes *causes, const struct listener_config *listener,
                    const struct addr *target, int error, const struct report_sink *sink)
{
    struct firewall_way way = find_way(causes, listener, target, true);
    char text[ADDR_STRLEN];

    if (error == -EPERM)
        report_privilege(target, sink);
    else if (error == -ETIMEDOUT)
        report_timeout(causes, &way, sink);
    else if (error == -ECONNREFUSED)
        report_refused(causes, &way, sink);
    else
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Unable to do spoofed connect() to target server %s: %s.",
                         addr_format(target, text), strerror(-error));
}

bool causes_translation(struct causes *causes, const struct listener_config *listener,
                        const struct addr *target, const struct report_sink *sink)
{
    struct firewall_way way = find_way(causes, listener, target, true);

    return firewall_report(&causes->firewall, &way, RULESET_SNAT, sink);
}

bool causes_datagrams(struct causes *causes, const struct listener_config *listener,
                      const struct addr *target, const struct report_sink *sink)
{
    bool is_flows = listener_config_return_path(listener, addr_family(target)) == RETURN_PATH_FLOWS;
    struct firewall_way way = find_way(causes, listener, target, true);
    unsigned effects = RULESET_REFUSES | (is_flows ? RULESET_SET_MARK : 0);
    bool found = look(causes) == 0 && report_pieces(causes, listener, target, sink);

    return firewall_report(&causes->firewall, &way, effects, sink) || found;
}
