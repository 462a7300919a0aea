/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/causes.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/base/shell.h"
#include "mmproxy/net/listening.h"
#include "mmproxy/net/sock.h"
#include "mmproxy/routing/kernel/survey.h"
#include "mmproxy/routing/report/check.h"
#include "mmproxy/routing/report/elsewhere.h"
#include "mmproxy/routing/report/host_faults.h"
#include "mmproxy/routing/report/target_service.h"

struct causes {
    const struct config *config;
    struct rtnl *rtnl;
    bool is_surveyed;
    int error; /* of the survey */
    struct wanted_host host;
    struct wanted wanted;
    struct survey survey;
    struct target_service service;
    struct firewall firewall;
    bool is_udp_read;
    struct listening *udp; /* owned */
    size_t n_udp;
};

enum { CLIENT_PORT = 40000 }; /* any that clients have */

struct causes *causes_new(const struct config *config, struct rtnl *rtnl)
{
    struct causes *causes = calloc(1, sizeof *causes);

    if (causes) {
        causes->config = config;
        causes->service.config = config;
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
    target_service_close(&causes->service);
    firewall_close(&causes->firewall);
    free(causes->udp);
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

/* A UDP service with this very address on loopback: the rule for that sends its replies over lo. */
static bool answers_over_lo(struct causes *causes, const struct addr *target)
{
    bool answers = false;

    if (!causes->is_udp_read)
        (void)listening_read_udp(&causes->udp, &causes->n_udp);
    causes->is_udp_read = true;
    for (size_t i = 0; i < causes->n_udp && addr_is_loopback(target); i++)
        answers |= addr_equal(&causes->udp[i].addr, target);
    return answers;
}

/* Replies with connmark or flows start as what leaves this host, until they are marked. */
static void find_unmarked(struct causes *causes, struct firewall_way *way)
{
    enum return_path path = listener_config_return_path(way->listener, addr_family(&way->target));
    struct rtnl_route route;

    if (!way->is_local || (path != RETURN_PATH_CONNMARK && path != RETURN_PATH_FLOWS) ||
        (path == RETURN_PATH_FLOWS && answers_over_lo(causes, &way->target)))
        return;
    if (rtnl_lookup(causes->rtnl, &way->client, NULL, 0, &route) == 0 && route.type == RTN_UNICAST)
        (void)if_indextoname(route.oif, way->unmarked);
}

/*
 * How packets between a client and the target go. client: NULL for this host itself, which connects
 * from an address of its own.
 */
static struct firewall_way find_way(struct causes *causes, const struct listener_config *listener,
                                    const struct addr *target, const struct addr *client)
{
    struct firewall_way way = { .listener = listener, .target = *target, .is_local = true };
    struct rtnl_route route;

    if (rtnl_lookup(causes->rtnl, target, NULL, 0, &route) == 0 && route.type != RTN_LOCAL) {
        way.is_local = false;
        (void)if_indextoname(route.oif, way.device);
    }
    way.client = client ? *client : way.is_local ? *target : sock_source_for(target);
    if (!client || addr_port(client) == 0)
        addr_set_port(&way.client, CLIENT_PORT);
    find_unmarked(causes, &way);
    return way;
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
    else if (!target_service_hangs(&causes->service, &way->target, sink) &&
             !host_faults_silence(causes->rtnl, sink))
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: A firewall may drop the packets. To see its rules: %s",
                         firewall_listing(&causes->firewall));
}

/* Rejected by a firewall with another message than "refused", for example. */
static void report_error(struct causes *causes, const struct firewall_way *way, const char *how,
                         int error, const struct report_sink *sink)
{
    char text[ADDR_STRLEN];

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Unable to %sconnect() to target server %s: %s.", how,
                     addr_format(&way->target, text), strerror(-error));
    (void)firewall_report(&causes->firewall, way, RULESET_REFUSES, sink);
}

bool causes_loopback(struct causes *causes, const struct addr *target,
                     const struct report_sink *sink)
{
    return host_faults_loopback(causes->rtnl, target, sink);
}

void causes_plain(struct causes *causes, const struct listener_config *listener,
                  const struct addr *target, int error, const struct report_sink *sink)
{
    struct firewall_way way = find_way(causes, listener, target, NULL);

    if (error == -ECONNREFUSED && way.is_local)
        target_service_refused(&causes->service, &causes->firewall, &way, sink);
    else if (error == -ECONNREFUSED)
        elsewhere_down(&causes->firewall, &way, sink);
    else if (error == -ETIMEDOUT)
        report_silence(causes, &way, sink);
    else
        report_error(causes, &way, "", error, sink);
}

/* Where would the reply of a target on this host go? ", its reply leaves by eth0 (...)". */
static void describe_reply(struct rtnl *rtnl, const struct firewall_way *way, char out[128])
{
    const struct addr *target = &way->target;
    enum return_path path = listener_config_return_path(way->listener, addr_family(target));
    uint32_t mark = path == RETURN_PATH_LOOPBACK ? 0 : way->listener->mark;
    struct addr client = way->client;
    struct rtnl_route route;
    char device[SHELL_QUOTED_MAX(IF_NAMESIZE)];
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
        snprintf(out, 128, ", its reply leaves by %s (table %u)",
                 shell_quote(name, device, sizeof device), route.table);
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

/* Nothing of ours is missing: what else is in the way of packets from foreign addresses? */
static void report_suspects(struct causes *causes, const struct firewall_way *way,
                            const struct report_sink *sink)
{
    enum return_path path = listener_config_return_path(way->listener, addr_family(&way->target));
    unsigned marks = firewall_marks(way);

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Every piece of the return path is there.");
    if (firewall_report(&causes->firewall, way, RULESET_REFUSES, sink) ||
        (marks != 0 && firewall_report(&causes->firewall, way, marks, sink)))
        return;
    if (path == RETURN_PATH_ROUTED) {
        if (!host_faults_filter(way, sink))
            elsewhere_lost(causes->rtnl, way, sink);
    } else if (way->is_local && !host_faults_silence(causes->rtnl, sink)) {
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: A firewall may drop packets from foreign addresses on lo. To "
                         "see its rules: %s",
                         firewall_listing(&causes->firewall));
    }
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
        describe_reply(causes->rtnl, way, reply);
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
        report_sink_line(sink, LOG_LEVEL_WARNING, "[!] FAILED: To see its rules: %s",
                         firewall_listing(&causes->firewall));
}

void causes_spoofed(struct causes *causes, const struct listener_config *listener,
                    const struct addr *target, const struct addr *client, int error,
                    const struct report_sink *sink)
{
    struct firewall_way way = find_way(causes, listener, target, client);

    if (error == -EPERM)
        report_privilege(target, sink);
    else if (error == -ETIMEDOUT)
        report_timeout(causes, &way, sink);
    else if (error == -ECONNREFUSED)
        report_refused(causes, &way, sink);
    else
        report_error(causes, &way, "do spoofed ", error, sink);
}

/* Where its reply would go, where that is not back here. */
static void report_client_reply(struct causes *causes, const struct firewall_way *way,
                                const struct report_sink *sink)
{
    char reply[128] = "";

    if (way->is_local)
        describe_reply(causes->rtnl, way, reply);
    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] No rule of a firewall that is understood here is in its way%s. To see "
                     "the rules: %s; ip rule",
                     reply, firewall_listing(&causes->firewall));
}

void causes_client(struct causes *causes, const struct listener_config *listener,
                   const struct addr *target, const struct addr *client, int error,
                   const struct report_sink *sink)
{
    struct firewall_way way = find_way(causes, listener, target, client);
    char text[ADDR_STRLEN];
    char host[ADDR_STRLEN];

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] Client %s can't reach target server %s, although others can: %s.",
                     addr_format_host(client, host), addr_format(target, text), strerror(-error));
    if (!firewall_report(&causes->firewall, &way, RULESET_REFUSES | firewall_marks(&way), sink))
        report_client_reply(causes, &way, sink);
}

void causes_others(struct causes *causes, const struct listener_config *listener,
                   const struct addr *target, struct others *out)
{
    struct addr client = survey_client_of(listener, addr_family(target));
    struct firewall_way way = find_way(causes, listener, target, &client);

    others_find(out, &causes->firewall, causes->rtnl, &way);
}

void causes_other(struct causes *causes, const struct listener_config *listener,
                  const struct addr *target, const struct other *other,
                  const struct report_sink *sink)
{
    struct firewall_way way = find_way(causes, listener, target, &other->client);

    others_report(other, &causes->firewall, &way, sink);
}

bool causes_translation(struct causes *causes, const struct listener_config *listener,
                        const struct addr *target, const struct report_sink *sink)
{
    struct addr client = survey_client_of(listener, addr_family(target));
    struct firewall_way way = find_way(causes, listener, target, &client);

    return firewall_report(&causes->firewall, &way, RULESET_SNAT, sink);
}

/* A list of bogons drops the check's usual client, and no real one. */
static bool is_bogon_alone(struct causes *causes, const struct firewall_way *way, unsigned effects)
{
    sa_family_t family = addr_family(&way->target);
    const struct addr usual = survey_client(family);
    struct ruleset_list list = { .n_items = 0 };
    struct firewall_way other = *way;

    if (!addr_equal_host(&way->client, &usual))
        return false;
    other.client = survey_other_client_of(way->listener, family);
    addr_set_port(&other.client, CLIENT_PORT);
    return !firewall_find(&causes->firewall, &other, effects, &list);
}

bool causes_datagrams(struct causes *causes, const struct listener_config *listener,
                      const struct addr *target, const struct report_sink *sink)
{
    bool is_flows = listener_config_return_path(listener, addr_family(target)) == RETURN_PATH_FLOWS;
    struct addr client = survey_client_of(listener, addr_family(target));
    struct firewall_way way = find_way(causes, listener, target, &client);
    unsigned effects = RULESET_REFUSES | (is_flows ? RULESET_SET_MARK : 0);
    bool found = look(causes) == 0 && report_pieces(causes, listener, target, sink);

    if (is_bogon_alone(causes, &way, effects))
        return found;
    return firewall_report(&causes->firewall, &way, effects, sink) || found;
}
