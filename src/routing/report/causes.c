/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/causes.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/routing/kernel/survey.h"
#include "mmproxy/routing/kernel/sysctl.h"
#include "mmproxy/routing/report/check.h"

struct causes {
    const struct config *config;
    struct rtnl *rtnl;
    bool is_surveyed;
    int error; /* of the survey */
    struct wanted_host host;
    struct wanted wanted;
    struct survey survey;
};

struct causes *causes_new(const struct config *config, struct rtnl *rtnl)
{
    struct causes *causes = calloc(1, sizeof(*causes));

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
    free(causes);
}

static int look(struct causes *causes)
{
    int r;

    if (causes->is_surveyed)
        return causes->error;
    causes->is_surveyed = true;
    r = survey_host(causes->rtnl, &causes->host);
    if (r == 0)
        r = wanted_add(&causes->wanted, causes->config, &causes->host);
    if (r == 0)
        r = survey_run(&causes->survey, &causes->wanted, causes->rtnl);
    causes->error = r;
    return r;
}

static void report_down(const struct addr *target, const struct report_sink *sink)
{
    char text[ADDR_STRLEN];

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Target server %s seems to be down: connection refused. Start the "
                     "service; what listens there, this shows: ss -ltnp 'sport = :%u'",
                     addr_format(target, text), addr_port(target));
}

void causes_plain(const struct addr *target, int error, const struct report_sink *sink)
{
    char text[ADDR_STRLEN];

    addr_format(target, text);
    if (error == -ECONNREFUSED)
        report_down(target, sink);
    else if (error == -ETIMEDOUT)
        report_sink_line(
            sink, LOG_LEVEL_WARNING,
            "[!] FAILED: Unable to connect() to target server %s: no answer within %d ms. "
            "A firewall may drop the packets, this shows it: nft list ruleset",
            text, CHECK_TIMEOUT_MS);
    else
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Unable to connect() to target server %s: %s.", text,
                         strerror(-error));
}

/* Where would the target's reply to a client go? "leaves by eth0", "has no route (...)". */
static void describe_reply(struct rtnl *rtnl, const struct listener_config *listener,
                           const struct addr *target, char out[128])
{
    uint32_t mark = listener->return_path == RETURN_PATH_LOOPBACK ? 0 : listener->mark;
    struct addr client = survey_client(addr_family(target));
    struct rtnl_route route;
    char name[IF_NAMESIZE] = "?";
    int r = rtnl_lookup(rtnl, &client, target, mark, &route);

    if (r == -EINVAL) /* a loopback source that would leave this host */
        r = rtnl_lookup(rtnl, &client, NULL, mark, &route);
    if (r < 0) {
        snprintf(out, 128, "its reply has no route (%s)", strerror(-r));
    } else if (route.type == RTN_LOCAL) {
        snprintf(out, 128, "though its reply would have a route back");
    } else {
        if_indextoname(route.oif, name);
        snprintf(out, 128, "its reply leaves by %s (table %u)", name, route.table);
    }
}

static void report_missing(const struct wanted_item *item, const struct judgement *judgement,
                           const struct report_sink *sink)
{
    char command[WANTED_COMMAND_MAX];

    if (judgement->verdict == JUDGE_MISSING) {
        report_sink_line(sink, LOG_LEVEL_WARNING, "[!] FAILED: Its return path misses: %s",
                         wanted_command(item, command));
        return;
    }
    report_sink_line(sink, LOG_LEVEL_WARNING, "[!] FAILED: Its return path has `%s`, but %s",
                     wanted_command(item, command), judgement->reason);
    for (size_t i = 0; i < judgement->n_mends; i++)
        report_sink_line(sink, LOG_LEVEL_WARNING, "[!] FAILED: This mends it: %s",
                         judgement->mends[i]);
}

/* returns: was something of the listener's return path found missing? */
static bool report_pieces(struct causes *causes, const struct listener_config *listener,
                          const struct addr *target, const struct report_sink *sink)
{
    bool connmark = listener->return_path == RETURN_PATH_CONNMARK;
    bool is_v6 = addr_family(target) == AF_INET6;
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
    if (connmark && causes->survey.no_route[is_v6]) {
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Its return path misses an %s default route: ip %sroute add "
                         "default via GATEWAY; return path fwmark does without.",
                         is_v6 ? "IPv6" : "IPv4", is_v6 ? "-6 " : "");
        found = true;
    }
    return found;
}

/* Nothing of ours is missing: what else drops packets from foreign addresses? */
static void report_suspects(const struct addr *target, const struct report_sink *sink)
{
    static const char *const names[] = { "net.ipv4.conf.all.rp_filter",
                                         "net.ipv4.conf.lo.rp_filter" };
    bool found = false;

    for (size_t i = 0; i < 2 && addr_family(target) == AF_INET; i++) {
        int value = 0;

        if (sysctl_get(names[i], &value) < 0 || value != 1)
            continue;
        report_sink_line(
            sink, LOG_LEVEL_WARNING,
            "[!] FAILED: Packets from foreign addresses may be filtered: sysctl -w %s=2", names[i]);
        found = true;
    }
    report_sink_line(
        sink, LOG_LEVEL_WARNING,
        "[!] FAILED: Every piece of the return path is there. %s firewall may drop packets "
        "from foreign addresses on lo, this shows it: nft list ruleset",
        found ? "Or a" : "A");
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
    int r = look(causes);

    describe_reply(causes->rtnl, listener, target, reply);
    report_sink_line(
        sink, LOG_LEVEL_WARNING,
        "[!] FAILED: Unable to do spoofed connect() to target server %s: no answer within "
        "%d ms, %s.",
        addr_format(target, text), CHECK_TIMEOUT_MS, reply);
    if (r < 0)
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: The return path can't be looked at: %s.", strerror(-r));
    else if (!report_pieces(causes, listener, target, sink))
        report_suspects(target, sink);
}

void causes_spoofed(struct causes *causes, const struct listener_config *listener,
                    const struct addr *target, int error, int plain, const struct report_sink *sink)
{
    char text[ADDR_STRLEN];

    if (error == -EPERM)
        report_privilege(target, sink);
    else if (error == -ETIMEDOUT)
        report_timeout(causes, listener, target, sink);
    else if (error == -ECONNREFUSED && plain == -ECONNREFUSED)
        report_down(target, sink);
    else if (error == -ECONNREFUSED)
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Unable to do spoofed connect() to target server %s: refused, "
                         "though a conventional connection is not. A firewall may reject foreign "
                         "addresses, this shows it: nft list ruleset",
                         addr_format(target, text));
    else
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Unable to do spoofed connect() to target server %s: %s.",
                         addr_format(target, text), strerror(-error));
}
