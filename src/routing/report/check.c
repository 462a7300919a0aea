/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/check.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/net/sock.h"
#include "mmproxy/net/spoof.h"
#include "mmproxy/routing/kernel/forwarders.h"
#include "mmproxy/routing/kernel/survey.h"
#include "mmproxy/routing/kernel/sysctl.h"
#include "mmproxy/routing/report/causes.h"
#include "mmproxy/routing/report/check_udp.h"

enum {
    FDS_RESERVED = 64, /* descriptors that are left to everything else ... */
    FDS_NEEDED = 128,  /* ... where there are at least so many */
    BATCH_MAX = 8192,  /* targets; two sockets each */
};

/* One connection under way; result is 0, -errno, or -EINPROGRESS while it is open. */
struct attempt {
    int fd; /* -1: none */
    int result;
};

struct target {
    const struct listener_config *listener;
    struct addr addr;
    bool is_local;
    char device[IF_NAMESIZE]; /* that leads there; "" where none does */
    bool lacks_ipv6;          /* nothing to try */
    struct attempt plain;     /* of UDP the results alone: has it a socket, do replies come back */
    struct attempt spoofed;
    bool is_translated; /* it is reached, but not from the client's address */
};

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

static void finish(struct attempt *attempt, int result)
{
    attempt->result = result;
    if (attempt->fd >= 0)
        sock_reset(attempt->fd); /* leaves no half-open connection, whatever the return path */
    attempt->fd = -1;
}

static void start_plain(struct target *target)
{
    struct attempt *plain = &target->plain;
    int err;

    plain->fd = socket(addr_family(&target->addr), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    err = plain->fd < 0 ? -errno : spoof_finish(plain->fd, &target->addr);
    if (err == -EINPROGRESS)
        plain->result = err;
    else
        finish(plain, err);
}

static void start_spoofed(struct target *target)
{
    struct spoof spoof = {
        .source = survey_client_of(target->listener, addr_family(&target->addr)),
        .target = target->addr,
        .mark = listener_config_socket_mark(target->listener, addr_family(&target->addr)),
    };
    bool connected = false;
    int err = spoof_connect(&spoof, &connected);

    target->spoofed.fd = err < 0 ? -1 : err;
    if (err >= 0 && !connected)
        target->spoofed.result = -EINPROGRESS;
    else
        finish(&target->spoofed, err < 0 ? err : 0);
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
    target->plain.result = check.has_socket ? 0 : -ECONNREFUSED;
    target->spoofed.result = check.comes_back ? 0 : -EHOSTUNREACH;
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
            !target->lacks_ipv6 && target->spoofed.result == 0 &&
            causes_translation(causes, target->listener, &target->addr, &report_sink_silent);
    }
}

static void report_udp(const struct target *target, struct causes *causes,
                       const struct report_sink *sink)
{
    const struct check_udp check = { .has_socket = target->plain.result == 0,
                                     .comes_back = target->spoofed.result == 0 };

    if (target->is_local)
        check_udp_report(&check, target->listener, &target->addr, causes, sink);
    else if (!check.comes_back)
        check_udp_lost(causes, target->listener, &target->addr, sink);
    if (target->is_translated)
        (void)causes_translation(causes, target->listener, &target->addr, sink);
}

static void continue_attempt(struct attempt *attempt, const struct addr *addr, short ready)
{
    int err;

    if (attempt->fd < 0 || ready == 0)
        return;
    err = spoof_finish(attempt->fd, addr);
    if (err != -EALREADY && err != -EINPROGRESS)
        finish(attempt, err == -EISCONN ? 0 : err);
}

/* Two entries a target; a negative descriptor is skipped by poll. returns: how many wait. */
static size_t arm(struct pollfd *fds, const struct target *targets, size_t n)
{
    size_t waiting = 0;

    for (size_t i = 0; i < 2 * n; i++) {
        const struct target *target = &targets[i / 2];

        fds[i].fd = i % 2 == 0 ? target->plain.fd : target->spoofed.fd;
        fds[i].events = POLLOUT;
        fds[i].revents = 0;
        waiting += fds[i].fd >= 0;
    }
    return waiting;
}

static void wait_for(struct pollfd *fds, struct target *targets, size_t n, int64_t deadline_ms)
{
    for (;;) {
        int64_t left_ms = deadline_ms - (int64_t)clock_now_ms();

        if (arm(fds, targets, n) == 0 || left_ms <= 0)
            return;
        if (poll(fds, 2 * n, (int)left_ms) < 0 && errno != EINTR)
            return;
        for (size_t i = 0; i < n; i++) {
            continue_attempt(&targets[i].plain, &targets[i].addr, fds[2 * i].revents);
            continue_attempt(&targets[i].spoofed, &targets[i].addr, fds[2 * i + 1].revents);
        }
    }
}

static void run_batch(struct pollfd *fds, struct target *targets, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        targets[i].plain.fd = targets[i].spoofed.fd = -1;
        if (targets[i].lacks_ipv6 || is_udp(&targets[i]))
            continue;
        start_plain(&targets[i]);
        start_spoofed(&targets[i]);
    }
    wait_for(fds, targets, n, (int64_t)clock_now_ms() + CHECK_TIMEOUT_MS);
    for (size_t i = 0; i < n; i++) {
        if (targets[i].plain.fd >= 0)
            finish(&targets[i].plain, -ETIMEDOUT);
        if (targets[i].spoofed.fd >= 0)
            finish(&targets[i].spoofed, -ETIMEDOUT);
    }
}

static size_t batch_size(size_t n_targets)
{
    struct rlimit limit;
    size_t fds = 1024;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        fds = limit.rlim_cur;
    fds = fds > FDS_NEEDED ? (fds - FDS_RESERVED) / 2 : FDS_RESERVED / 2;
    if (fds > BATCH_MAX)
        fds = BATCH_MAX;
    return n_targets < fds ? n_targets : fds;
}

static int try_all(struct targets *targets)
{
    size_t batch = batch_size(targets->n_items);
    struct pollfd *fds = calloc(2 * batch + 1, sizeof *fds);

    if (!fds)
        return -ENOMEM;
    for (size_t i = 0; i < targets->n_items; i += batch) {
        size_t left = targets->n_items - i;

        run_batch(fds, targets->items + i, left < batch ? left : batch);
    }
    free(fds);
    return 0;
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
            "it on: sysctl -w net.ipv6.conf.all.disable_ipv6=0");
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
    if (is_in_place(target))
        report_sink_line(sink, LOG_LEVEL_INFO,
                         "[+] OK. Routing to %s points to a machine behind %s.", host,
                         target->device);
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
    report_local(target, sink);
    if (is_udp(target)) {
        report_udp(target, causes, sink);
        return;
    }
    if (target->plain.result == 0)
        report_ok(target, "conventional", sink);
    else
        causes_plain(causes, target->listener, &target->addr, target->plain.result, sink);
    if (target->spoofed.result == 0)
        report_ok(target, "spoofed", sink);
    else if (target->spoofed.result != target->plain.result)
        causes_spoofed(causes, target->listener, &target->addr, target->spoofed.result, sink);
    /* else there is one cause, which the report has */
    if (target->is_translated)
        (void)causes_translation(causes, target->listener, &target->addr, sink);
    if (forwarder)
        report_forwarder(target, forwarder, sink);
}

/* returns: does everything hold? */
static bool report_one(const struct target *target, struct causes *causes,
                       const struct published *published, const struct report_sink *sink)
{
    bool is_reached = !target->lacks_ipv6 && target->spoofed.result == 0;
    const struct report_verdict verdict = {
        .listener = target->listener,
        .target = &target->addr,
        .holds =
            target->lacks_ipv6 || (is_reached && is_in_place(target) && target->plain.result == 0 &&
                                   !target->is_translated && !find_forwarder(target, published)),
        .is_reached = is_reached,
        .answers = !target->lacks_ipv6 && target->plain.result == 0,
    };

    if (!sink->begin_target || sink->begin_target(sink->context, &verdict))
        report_target(target, causes, published, sink);
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
        look_for_translation(&targets, causes);
    }
    if (err == 0)
        all = report_all(&targets, causes, sink);
    else
        report_sink_line(sink, LOG_LEVEL_ERROR, "[!] FAILED: The targets can't be checked: %s.",
                         strerror(-err));
    free(targets.items);
    causes_free(causes);
    rtnl_free(rtnl);
    return all;
}
