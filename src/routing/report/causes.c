/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/causes.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/net/listening.h"
#include "mmproxy/routing/kernel/nft.h"
#include "mmproxy/routing/kernel/survey.h"
#include "mmproxy/routing/kernel/sysctl.h"
#include "mmproxy/routing/report/check.h"
#include "mmproxy/routing/wanted/ruleset.h"

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
    bool has_ruleset;
    char *ruleset; /* NULL where it can't be read */
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
    free(causes->ruleset);
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

/* Where the service listens on the target's port; NULL: nowhere. */
static const struct listening *find_service(struct causes *causes, const struct addr *target)
{
    read_listening(causes);
    for (size_t i = 0; i < causes->n_listening; i++) {
        if (addr_port(&causes->listening[i].addr) == addr_port(target))
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

/* A segment between client and target, there or back. */
static struct ruleset_packet segment(const struct listener_config *listener,
                                     const struct addr *client, const struct addr *target,
                                     const char *hook, bool is_reply)
{
    struct ruleset_packet packet = {
        .hook = hook,
        .src = is_reply ? *target : *client,
        .dst = is_reply ? *client : *target,
        .mark = listener->mark,
        .is_new = !is_reply,
        .is_dst_local = !is_reply,
    };

    return packet;
}

static const char *what_it_does(enum ruleset_effect effect)
{
    switch (effect) {
    case RULESET_REJECT:
        return "This firewall rule rejects its packets";
    case RULESET_NOTRACK:
        return "Return path connmark needs conntrack, and this rule switches it off for its "
               "packets";
    case RULESET_SET_MARK:
        return "This rule changes the mark of its packets";
    case RULESET_POLICY_DROP:
        return "This firewall chain drops its packets";
    default:
        return "This firewall rule drops its packets";
    }
}

/*
 * What nftables does to a connection of client, there and back, and the commands that mend it.
 * returns: was anything found?
 */
static bool report_rules(struct causes *causes, const struct listener_config *listener,
                         const struct addr *client, const struct addr *target, unsigned effects,
                         const struct report_sink *sink)
{
    static const char *const hooks[] = { "output", "prerouting", "input" };
    struct ruleset_list list = { .n_items = 0 };

    if (!causes->has_ruleset)
        causes->ruleset = nft_text();
    causes->has_ruleset = true;
    for (size_t i = 0; causes->ruleset && effects != 0 && i < 6; i++) {
        struct ruleset_packet packet = segment(listener, client, target, hooks[i % 3], i >= 3);

        ruleset_find(causes->ruleset, &packet, effects, &list);
    }
    for (size_t i = 0; i < list.n_items; i++) {
        report_sink_line(sink, LOG_LEVEL_WARNING, "[!] FAILED: %s: %s. This command mends it:",
                         what_it_does(list.items[i].effect), list.items[i].rule);
        report_sink_command(sink, list.items[i].command);
    }
    return list.n_items > 0;
}

/* A client for the conventional connection: this host. */
static struct addr own_client(const struct addr *target)
{
    struct addr client = *target;

    addr_set_port(&client, CLIENT_PORT);
    return client;
}

static void report_rejected(struct causes *causes, const struct listener_config *listener,
                            const struct addr *target, const struct report_sink *sink)
{
    struct addr client = own_client(target);
    char text[ADDR_STRLEN];

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Unable to connect() to target server %s: connection refused, "
                     "although something listens there. A firewall rejects it.",
                     addr_format(target, text));
    if (!report_rules(causes, listener, &client, target, RULESET_REFUSES, sink))
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: To see its rules: nft list ruleset; iptables-save");
}

static void report_elsewhere(const struct listener_config *listener, const struct addr *target,
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

static void report_down(struct causes *causes, const struct listener_config *listener,
                        const struct addr *target, const struct report_sink *sink)
{
    const struct listening *service = find_service(causes, target);
    char text[ADDR_STRLEN];

    if (is_taken(causes, target))
        report_rejected(causes, listener, target, sink);
    else if (service)
        report_elsewhere(listener, target, &service->addr, sink);
    else
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Target server %s seems to be down: connection refused. "
                         "Nothing listens on port %u: start the service. To see what listens "
                         "there: ss -ltnp 'sport = :%u'",
                         addr_format(target, text), addr_port(target), addr_port(target));
}

void causes_plain(struct causes *causes, const struct listener_config *listener,
                  const struct addr *target, int error, const struct report_sink *sink)
{
    struct addr client = own_client(target);
    char text[ADDR_STRLEN];

    addr_format(target, text);
    if (error == -ECONNREFUSED) {
        report_down(causes, listener, target, sink);
        return;
    }
    if (error != -ETIMEDOUT) {
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Unable to connect() to target server %s: %s.", text,
                         strerror(-error));
        return;
    }
    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Unable to connect() to target server %s: no answer within %d ms.",
                     text, CHECK_TIMEOUT_MS);
    if (!report_rules(causes, listener, &client, target, RULESET_REFUSES, sink))
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: A firewall may drop the packets. To see its rules: nft list "
                         "ruleset; iptables-save");
}

/* Where would the target's reply to a client go? "leaves by eth0", "has no route (...)". */
static void describe_reply(struct rtnl *rtnl, const struct listener_config *listener,
                           const struct addr *target, char out[128])
{
    enum return_path path = listener_config_return_path(listener, addr_family(target));

    if (path == RETURN_PATH_ROUTED) {
        snprintf(out, 128, "its reply has not come back through this host");
        return;
    }
    uint32_t mark = path == RETURN_PATH_LOOPBACK ? 0 : listener->mark;
    struct addr client = survey_client(addr_family(target));
    struct rtnl_route route;
    char name[IF_NAMESIZE] = "?";
    int err = rtnl_lookup(rtnl, &client, target, mark, &route);

    if (err == -EINVAL) /* a loopback source that would leave this host */
        err = rtnl_lookup(rtnl, &client, NULL, mark, &route);
    if (err < 0) {
        snprintf(out, 128, "its reply has no route (%s)", strerror(-err));
    } else if (route.type == RTN_LOCAL) {
        snprintf(out, 128, "although its reply has a route back");
    } else {
        if_indextoname(route.oif, name);
        snprintf(out, 128, "its reply leaves by %s (table %u)", name, route.table);
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

static void report_no_route(const struct addr *target, const struct report_sink *sink)
{
    bool is_v6 = addr_family(target) == AF_INET6;

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Return path connmark needs a default route for %s, and there is "
                     "none: add one (ip %sroute add default via GATEWAY), or use return path "
                     "fwmark, which needs none.",
                     is_v6 ? "IPv6" : "IPv4", is_v6 ? "-6 " : "");
}

/* returns: was something of the listener's return path found missing? */
static bool report_pieces(struct causes *causes, const struct listener_config *listener,
                          const struct addr *target, const struct report_sink *sink)
{
    bool connmark =
        listener_config_return_path(listener, addr_family(target)) == RETURN_PATH_CONNMARK;
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
    if (connmark && causes->survey.no_route[addr_family(target) == AF_INET6]) {
        report_no_route(target, sink);
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
static void report_suspects(struct causes *causes, const struct listener_config *listener,
                            const struct addr *target, const struct report_sink *sink)
{
    enum return_path path = listener_config_return_path(listener, addr_family(target));
    struct addr client = survey_client(addr_family(target));
    unsigned effects = 0;

    addr_set_port(&client, CLIENT_PORT);
    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Every piece of the return path is there.");
    if (path == RETURN_PATH_ROUTED) {
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: The target must send its replies to clients through this "
                         "host, the gateway of its default route, and this host's INPUT chain must "
                         "let them in. To see its rules: nft list ruleset; iptables-save");
        return;
    }
    if (path != RETURN_PATH_LOOPBACK)
        effects |= RULESET_SET_MARK;
    if (path == RETURN_PATH_CONNMARK)
        effects |= RULESET_NOTRACK;
    if (report_rules(causes, listener, &client, target, RULESET_REFUSES, sink))
        return;
    if (report_rules(causes, listener, &client, target, effects, sink))
        return;
    if (!report_filters(target, sink))
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

static void report_timeout(struct causes *causes, const struct listener_config *listener,
                           const struct addr *target, const struct report_sink *sink)
{
    char text[ADDR_STRLEN];
    char reply[128];
    int err = look(causes);

    describe_reply(causes->rtnl, listener, target, reply);
    report_sink_line(
        sink, LOG_LEVEL_WARNING,
        "[!] FAILED: Unable to do spoofed connect() to target server %s: no answer within "
        "%d ms, %s.",
        addr_format(target, text), CHECK_TIMEOUT_MS, reply);
    if (err < 0)
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: The return path can't be looked at: %s.", strerror(-err));
    else if (!report_pieces(causes, listener, target, sink))
        report_suspects(causes, listener, target, sink);
}

static void report_refused(struct causes *causes, const struct listener_config *listener,
                           const struct addr *target, const struct report_sink *sink)
{
    struct addr client = survey_client(addr_family(target));
    char text[ADDR_STRLEN];

    addr_set_port(&client, CLIENT_PORT);
    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Unable to do spoofed connect() to target server %s: connection "
                     "refused, although a conventional connection is not. A firewall rejects "
                     "foreign addresses.",
                     addr_format(target, text));
    if (!report_rules(causes, listener, &client, target, RULESET_REFUSES, sink))
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: To see its rules: nft list ruleset; iptables-save");
}

void causes_spoofed(struct causes *causes, const struct listener_config *listener,
                    const struct addr *target, int error, const struct report_sink *sink)
{
    char text[ADDR_STRLEN];

    if (error == -EPERM)
        report_privilege(target, sink);
    else if (error == -ETIMEDOUT)
        report_timeout(causes, listener, target, sink);
    else if (error == -ECONNREFUSED)
        report_refused(causes, listener, target, sink);
    else
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Unable to do spoofed connect() to target server %s: %s.",
                         addr_format(target, text), strerror(-error));
}
