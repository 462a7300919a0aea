/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/check.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "check_internal.h"
#include "mmproxy/base/shell.h"
#include "mmproxy/routing/kernel/forwarders.h"
#include "mmproxy/routing/kernel/survey.h"
#include "mmproxy/routing/kernel/sysctl.h"
#include "mmproxy/routing/report/causes.h"
#include "mmproxy/routing/report/check_udp.h"

struct targets {
    struct target *items;
    size_t n_items;
};

static bool is_udp(const struct target *target)
{
    return target->listener->protocol == PROTOCOL_UDP;
}

static bool is_tried_from(const struct listener_config *listener, const struct addr *client)
{
    const struct addr its = survey_client_of(listener, addr_family(client));

    return addr_equal(&its, client);
}

static bool is_known(const struct targets *targets, const struct listener_config *listener,
                     const struct addr *addr)
{
    const struct addr client = survey_client_of(listener, addr_family(addr));

    for (size_t i = 0; i < targets->n_items; i++) {
        const struct listener_config *other = targets->items[i].listener;

        if (other->protocol == listener->protocol && other->mark == listener->mark &&
            other->table == listener->table &&
            listener_config_return_path(other, addr_family(addr)) ==
                listener_config_return_path(listener, addr_family(addr)) &&
            addr_equal(&targets->items[i].addr, addr) && is_tried_from(other, &client))
            return true;
    }
    return false;
}

static bool is_wanted(const struct report_sink *sink, const struct listener_config *listener,
                      const struct addr *addr)
{
    return !sink->is_wanted || sink->is_wanted(sink->context, listener, addr);
}

static int add(struct targets *targets, const struct listener_config *listener,
               const struct addr *addr)
{
    struct target *items = reallocarray(targets->items, targets->n_items + 1, sizeof *items);

    if (!items)
        return -ENOMEM;
    targets->items = items;
    items[targets->n_items++] = (struct target){ .listener = listener, .addr = *addr };
    return 0;
}

/* Of many ports a few. */
static int collect_sample(struct targets *targets, const struct listener_config *listener,
                          sa_family_t family, const struct report_sink *sink)
{
    struct addr addr;

    for (size_t i = 0; listener_config_sample(listener, family, i, &addr); i++) {
        if (is_known(targets, listener, &addr) || !is_wanted(sink, listener, &addr))
            continue;
        int err = add(targets, listener, &addr);
        if (err < 0)
            return err;
    }
    return 0;
}

static int collect(struct targets *targets, const struct config *config,
                   const struct report_sink *sink)
{
    int err = 0;

    for (size_t i = 0; err == 0 && i < 2 * config->n_listeners; i++)
        err = collect_sample(targets, &config->listeners[i / 2], i % 2 == 0 ? AF_INET : AF_INET6,
                             sink);
    return err;
}

static void look_up(struct target *target, struct rtnl *rtnl, const struct wanted_host *host)
{
    struct rtnl_route route;

    target->lacks_ipv6 = addr_family(&target->addr) == AF_INET6 && !host->has_ipv6;
    if (rtnl_lookup(rtnl, &target->addr, NULL, 0, &route) < 0)
        return;
    target->is_local = route.type == RTN_LOCAL;
    if (route.oif != 0)
        (void)if_indextoname(route.oif, target->device);
}

/* Of a target on another machine nothing can be seen. */
static void look_at_udp(struct target *target, const struct listening *sockets, size_t n_sockets,
                        struct rtnl *rtnl, struct causes *causes)
{
    struct check_udp check = { .has_socket = true, .comes_back = true };

    if (!is_udp(target) || target->lacks_ipv6)
        return;
    if (target->is_local)
        check = check_udp_look(target->listener, &target->addr, sockets, n_sockets, rtnl);
    if (causes_datagrams(causes, target->listener, &target->addr, &report_sink_silent))
        check.comes_back = false;
    target->plain = check.has_socket ? 0 : -ECONNREFUSED;
    target->spoofed = check.comes_back ? 0 : -EHOSTUNREACH;
}

static void look_at_all_udp(struct targets *targets, struct rtnl *rtnl, struct causes *causes)
{
    struct listening *sockets = NULL;
    size_t n_sockets = 0;

    (void)listening_read_udp(&sockets, &n_sockets);
    for (size_t i = 0; i < targets->n_items; i++)
        look_at_udp(&targets->items[i], sockets, n_sockets, rtnl, causes);
    free(sockets);
}

static void look_for_translation(struct targets *targets, struct causes *causes)
{
    for (size_t i = 0; i < targets->n_items; i++) {
        struct target *target = &targets->items[i];

        target->is_translated =
            !target->lacks_ipv6 && target->spoofed == 0 &&
            causes_translation(causes, target->listener, &target->addr, &report_sink_silent);
    }
}

/* What the service sees of other clients. */
static void report_others(const struct target *target, struct causes *causes,
                          const struct report_sink *sink)
{
    for (size_t i = 0; target->others && i < target->others->n; i++)
        causes_other(causes, target->listener, &target->addr, &target->others->items[i], sink);
    if (target->is_translated)
        (void)causes_translation(causes, target->listener, &target->addr, sink);
}

static void report_udp(const struct target *target, struct causes *causes,
                       const struct report_sink *sink)
{
    const struct check_udp check = { .has_socket = target->plain == 0,
                                     .comes_back = target->spoofed == 0 };

    if (target->is_local)
        check_udp_report(&check, target->listener, &target->addr, causes, sink);
    else if (!check.comes_back)
        check_udp_lost(causes, target->listener, &target->addr, sink);
    report_others(target, causes, sink);
}

bool check_tries(const struct target *target)
{
    return !target->lacks_ipv6 && !is_udp(target);
}

struct attempt check_attempt(const struct target *target, const struct addr *source)
{
    return (struct attempt){
        .source = *source,
        .target = target->addr,
        .mark = listener_config_socket_mark(target->listener, addr_family(&target->addr)),
    };
}

/* A conventional connection and a spoofed one to each. */
static int try_all(struct targets *targets)
{
    static const struct addr own;
    struct attempt *attempts = calloc(2 * targets->n_items + 1, sizeof *attempts);
    size_t n = 0;

    if (!attempts)
        return -ENOMEM;
    for (size_t i = 0; i < targets->n_items; i++) {
        struct target *target = &targets->items[i];

        target->source = survey_client_of(target->listener, addr_family(&target->addr));
        if (!check_tries(target))
            continue;
        attempts[n++] = check_attempt(target, &own);
        attempts[n++] = check_attempt(target, &target->source);
    }
    int err = attempts_run(attempts, n, CHECK_TIMEOUT_MS);
    for (size_t i = 0, at = 0; err == 0 && i < targets->n_items; i++) {
        if (!check_tries(&targets->items[i]))
            continue;
        targets->items[i].plain = attempts[at++].result;
        targets->items[i].spoofed = attempts[at++].result;
    }
    free(attempts);
    return err;
}

static void report_ok(const struct target *target, const char *how, const struct report_sink *sink)
{
    char text[ADDR_STRLEN];

    report_sink_line(sink, LOG_LEVEL_INFO,
                     "[+] OK. Target server %s is up and reachable using %s connection.",
                     addr_format(&target->addr, text), how);
}

/* Then no interface has the address, though it is configured. */
static void report_disabled_ipv6(const struct target *target, const struct report_sink *sink)
{
    int value = 0;

    if (addr_family(&target->addr) == AF_INET6 &&
        sysctl_get("net.ipv6.conf.all.disable_ipv6", &value) == 0 && value != 0)
        report_sink_line(
            sink, LOG_LEVEL_WARNING,
            "[!] IPv6 is switched off by net.ipv6.conf.all.disable_ipv6 = 1; to switch "
            "it on: %ssysctl -w net.ipv6.conf.all.disable_ipv6=0",
            report_sink_prefix(sink));
}

static bool is_routed(const struct target *target)
{
    return listener_config_return_path(target->listener, addr_family(&target->addr)) ==
           RETURN_PATH_ROUTED;
}

static bool is_in_place(const struct target *target)
{
    return is_routed(target) ? !target->is_local && target->device[0] != '\0' : target->is_local;
}

/* Replies come back by the same device, or are lost. */
static void report_device(const struct target *target, const char *host,
                          const struct report_sink *sink)
{
    char device[SHELL_QUOTED_MAX(IF_NAMESIZE)];

    if (is_in_place(target))
        report_sink_line(sink, LOG_LEVEL_INFO,
                         "[+] OK. Routing to %s points to a machine behind %s.", host,
                         shell_quote(target->device, device, sizeof device));
    else
        report_sink_line(
            sink, LOG_LEVEL_WARNING,
            target->is_local
                ? "[!] FAILED: Target %s is on this machine: return path routed is for "
                  "others. Use auto."
                : "[!] FAILED: There is no route to target %s.",
            host);
}

static void report_local(const struct target *target, const struct report_sink *sink)
{
    char text[ADDR_STRLEN];

    addr_format_host(&target->addr, text);
    if (is_routed(target))
        report_device(target, text, sink);
    else if (target->is_local)
        report_sink_line(sink, LOG_LEVEL_INFO, "[+] OK. Routing to %s points to a local machine.",
                         text);
    else
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Target %s isn't on a local machine: its replies go to the "
                         "clients and not back here. Run mmproxy on the machine, or in the network "
                         "namespace, that has this address; or, where its replies to clients pass "
                         "this machine, use return path routed.",
                         text);
    if (!target->is_local && !is_in_place(target))
        report_disabled_ipv6(target, sink);
}

/* Which processes forward containers' ports. */
struct published {
    struct forwarders forwarders;
    struct listening *listening; /* owned */
    size_t n_listening;
};

static const struct forwarder *find_forwarder(const struct target *target,
                                              const struct published *published)
{
    if (is_udp(target) || !target->is_local)
        return NULL;
    return forwarders_find(&published->forwarders, published->listening, published->n_listening,
                           &target->addr);
}

static void report_forwarder(const struct target *target, const struct forwarder *forwarder,
                             const struct report_sink *sink)
{
    bool is_v6 = addr_family(&forwarder->container) == AF_INET6;
    const char *name = target->listener->name;
    char text[ADDR_STRLEN];
    char inner[ADDR_STRLEN];

    addr_format(&target->addr, text);
    if (addr_is_set(&forwarder->container))
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Target server %s is %s, which replaces the client's address "
                         "by its own. Use the container's own address: %s = \"%s\"%s%s.",
                         text, forwarder->name, is_v6 ? "target_v6" : "target_v4",
                         addr_format(&forwarder->container, inner), name[0] ? " in listener " : "",
                         name);
    else if (forwarder->netns[0])
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Target server %s is %s, which replaces the client's address "
                         "by its own. Connect inside the container: set netns = \"%s\"%s%s, and "
                         "as target the address and port that the service has there, such as "
                         "127.0.0.1:25.",
                         text, forwarder->name, forwarder->netns, name[0] ? " in listener " : "",
                         name);
    else
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] FAILED: Target server %s is %s, which replaces the client's address "
                         "by its own. Use the container's own address and port, run the container "
                         "with --network host, or connect inside it: set netns to "
                         "\"/proc/PID/ns/net\"%s%s, PID being a process of the container.",
                         text, forwarder->name, name[0] ? " in listener " : "", name);
}

/* In front of the first port of many: the others are judged by these. */
static void report_sample(const struct target *target, const struct report_sink *sink)
{
    sa_family_t family = addr_family(&target->addr);
    unsigned n_ports = listener_config_count_ports(target->listener, family);
    char text[TARGET_STRLEN];
    struct addr first;
    struct addr other;
    unsigned n = 0;

    while (listener_config_sample(target->listener, family, n, &other))
        n++;
    if (n_ports <= n || !listener_config_sample(target->listener, family, 0, &first) ||
        !addr_equal(&first, &target->addr))
        return;
    report_sink_line(sink, LOG_LEVEL_INFO,
                     "[ ] Target server %s has %u ports: %u of them are tried.",
                     listener_config_format_target(target->listener, family, text), n_ports, n);
}

static void report_spoofed(const struct target *target, struct causes *causes,
                           const struct report_sink *sink)
{
    char host[ADDR_STRLEN];
    const struct addr usual = survey_client_of(target->listener, addr_family(&target->addr));

    if (target->spoofed == 0)
        report_ok(target, "spoofed", sink);
    else if (target->spoofed != target->plain)
        causes_spoofed(causes, target->listener, &target->addr, &target->source, target->spoofed,
                       sink);
    /* else there is one cause, which the report has */
    if (target->spoofed == 0 && !addr_equal_host(&target->source, &usual))
        report_sink_line(sink, LOG_LEVEL_NOTICE,
                         "[ ] This host drops what comes from %s, an address of no client: the "
                         "check used another one.",
                         addr_format_host(&usual, host));
}

static void report_tried(const struct target *target, struct causes *causes,
                         const struct report_sink *sink)
{
    if (target->plain == 0)
        report_ok(target, "conventional", sink);
    else
        causes_plain(causes, target->listener, &target->addr, target->plain, sink);
    report_spoofed(target, causes, sink);
    report_others(target, causes, sink);
}

static void report_target(const struct target *target, struct causes *causes,
                          const struct published *published, const struct report_sink *sink)
{
    const struct forwarder *forwarder = find_forwarder(target, published);
    char text[ADDR_STRLEN];

    if (target->lacks_ipv6) {
        report_sink_line(sink, LOG_LEVEL_WARNING,
                         "[!] Target server %s is not checked: this host has no IPv6.",
                         addr_format(&target->addr, text));
        return;
    }
    report_sample(target, sink);
    if (!target->is_local && causes_loopback(causes, &target->addr, sink))
        return;
    report_local(target, sink);
    if (is_udp(target))
        report_udp(target, causes, sink);
    else
        report_tried(target, causes, sink);
    if (forwarder)
        report_forwarder(target, forwarder, sink);
}

static bool has_fault(const struct others *others)
{
    for (size_t i = 0; others && i < others->n; i++) {
        if (others->items[i].is_fault)
            return true;
    }
    return false;
}

static void report_client(const struct target *target, const struct report_verdict *verdict,
                          struct causes *causes, const struct report_sink *sink)
{
    if (!addr_is_set(&target->client) || target->client_result == 0 || target->spoofed != 0)
        return;
    if (!sink->begin_client || sink->begin_client(sink->context, verdict, &target->client))
        causes_client(causes, target->listener, &target->addr, &target->client,
                      target->client_result, sink);
}

/* returns: does everything hold? */
static bool report_one(const struct target *target, struct causes *causes,
                       const struct published *published, const struct report_sink *sink)
{
    bool is_reached = !target->lacks_ipv6 && target->spoofed == 0;
    const struct report_verdict verdict = {
        .listener = target->listener,
        .target = &target->addr,
        .holds = target->lacks_ipv6 || (is_reached && is_in_place(target) && target->plain == 0 &&
                                        !target->is_translated && !has_fault(target->others) &&
                                        !find_forwarder(target, published)),
        .is_reached = is_reached,
        .answers = !target->lacks_ipv6 && target->plain == 0,
    };

    if (!sink->begin_target || sink->begin_target(sink->context, &verdict))
        report_target(target, causes, published, sink);
    report_client(target, &verdict, causes, sink);
    if (sink->end_target)
        sink->end_target(sink->context);
    return verdict.holds;
}

static bool report_all(const struct targets *targets, struct causes *causes,
                       const struct report_sink *sink)
{
    struct published published = { 0 };
    bool all = true;

    forwarders_open(&published.forwarders);
    if (published.forwarders.n_items > 0)
        (void)listening_read(&published.listening, &published.n_listening);
    for (size_t i = 0; i < targets->n_items; i++)
        all &= report_one(&targets->items[i], causes, &published, sink);
    forwarders_close(&published.forwarders);
    free(published.listening);
    return all;
}

bool check_run(const struct config *config, const struct report_sink *sink)
{
    struct rtnl *rtnl = rtnl_new();
    int err = rtnl ? 0 : -errno;
    struct causes *causes = causes_new(config, rtnl);
    struct targets targets = { 0 };
    struct wanted_host host;
    bool all = false;

    if (err == 0 && !causes)
        err = -ENOMEM;
    if (err == 0)
        err = survey_host(rtnl, &host);
    if (err == 0)
        err = collect(&targets, config, sink);
    for (size_t i = 0; err == 0 && i < targets.n_items; i++)
        look_up(&targets.items[i], rtnl, &host);
    if (err == 0)
        err = try_all(&targets);
    if (err == 0) {
        look_at_all_udp(&targets, rtnl, causes);
        err = check_again_run(targets.items, targets.n_items, causes, sink);
    }
    if (err == 0)
        look_for_translation(&targets, causes);
    if (err == 0)
        all = report_all(&targets, causes, sink);
    else
        report_sink_line(sink, LOG_LEVEL_ERROR, "[!] FAILED: The targets can't be checked: %s.",
                         strerror(-err));
    for (size_t i = 0; i < targets.n_items; i++)
        free(targets.items[i].others);
    free(targets.items);
    causes_free(causes);
    rtnl_free(rtnl);
    return all;
}
