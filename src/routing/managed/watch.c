/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/managed/watch.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "mmproxy/net/rtnl.h"
#include "mmproxy/routing/managed/install.h"
#include "mmproxy/routing/wanted/nftlist.h"

enum {
    READS_MAX = 1000, /* datagrams a call: a flood must not keep the caller from its other work */
    BUFFER_SIZE = 16384,
    QUEUE_SIZE = 1 << 20, /* bytes; the kernel gives what net.core.rmem_max allows */
    MS = 1000,
    NS_OF_MS = 1000000,
};

typedef bool matters_to(const struct nlmsghdr *msg, const struct wanted *wanted);

/* Groups of notifications, with room for those that come during a pause. */
static int listen_to(int bus, const int *groups, size_t n_groups)
{
    int fd = rtnl_listen(bus, groups, n_groups);
    int size = QUEUE_SIZE;

    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return fd;
}

static int open_timer(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    return fd < 0 ? -errno : fd;
}

static int add(const struct watch *watch, int fd)
{
    struct epoll_event event = { .events = EPOLLIN };

    return epoll_ctl(watch->fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int first_error(const int *results, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (results[i] < 0)
            return results[i];
    }
    return 0;
}

int watch_open(struct watch *watch)
{
    static const int routing[] = { RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_IPV4_ROUTE,
                                   RTNLGRP_IPV6_ROUTE, RTNLGRP_LINK };
    static const int tables[] = { NFNLGRP_NFTABLES };

    watch->is_paused = false;
    watch->has_new_tables = true;
    watch->fd = epoll_create1(EPOLL_CLOEXEC);
    int epoll_error = watch->fd < 0 ? -errno : 0;
    watch->rtnl_fd = listen_to(NETLINK_ROUTE, routing, sizeof routing / sizeof *routing);
    watch->nft_fd = listen_to(NETLINK_NETFILTER, tables, 1);
    watch->timer_fd = open_timer();
    watch->pause_fd = open_timer();
    int opened[] = { epoll_error, watch->rtnl_fd, watch->timer_fd, watch->pause_fd };
    int err = first_error(opened, sizeof opened / sizeof *opened);
    if (err == 0) {
        int added[] = { add(watch, watch->rtnl_fd), add(watch, watch->timer_fd),
                        add(watch, watch->pause_fd),
                        watch->nft_fd < 0 ? 0 : add(watch, watch->nft_fd) };
        err = first_error(added, sizeof added / sizeof *added);
    }
    if (err < 0)
        watch_close(watch);
    return err;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void watch_close(struct watch *watch)
{
    close_fd(&watch->rtnl_fd);
    close_fd(&watch->nft_fd);
    close_fd(&watch->timer_fd);
    close_fd(&watch->pause_fd);
    close_fd(&watch->fd);
}

static struct timespec timespec_of(unsigned ms)
{
    return (struct timespec){ .tv_sec = ms / MS, .tv_nsec = (long)(ms % MS) * NS_OF_MS };
}

void watch_look_after(const struct watch *watch, unsigned first_ms, unsigned every_ms)
{
    struct itimerspec when = { .it_value = timespec_of(first_ms),
                               .it_interval = timespec_of(every_ms) };

    (void)timerfd_settime(watch->timer_fd, 0, &when, NULL);
}

static bool uses_table(const struct wanted *wanted, sa_family_t family, uint32_t table)
{
    for (size_t i = 0; i < wanted->n_items; i++) {
        const struct wanted_item *item = &wanted->items[i];

        if (item->kind == WANTED_ROUTE && item->family == family && item->table == table)
            return true;
    }
    return false;
}

static bool matters_for_routing(const struct nlmsghdr *msg, const struct wanted *wanted)
{
    const struct ifinfomsg *link = mnl_nlmsg_get_payload(msg);
    struct rtnl_route route;
    struct rtnl_rule rule;

    switch (msg->nlmsg_type) {
    case RTM_NEWRULE: /* it may shadow one of ours */
        return rtnlmsg_rule(msg, &rule) && rule.protocol != INSTALL_PROTOCOL;
    case RTM_DELRULE:
        return true;
    case RTM_NEWROUTE:
        return rtnlmsg_route(msg, &route) && route.protocol != INSTALL_PROTOCOL &&
               uses_table(wanted, route.family, route.table);
    case RTM_DELROUTE:
        return rtnlmsg_route(msg, &route) && uses_table(wanted, route.family, route.table);
    case RTM_NEWLINK: /* lo that goes down takes its IPv6 routes along, without a word */
        return mnl_nlmsg_get_payload_len(msg) >= sizeof *link && link->ifi_index == RTNL_LO_INDEX;
    default:
        return false;
    }
}

/* The name of the table is attribute 1 of tables, chains and rules alike. */
static bool matters_for_marks(const struct nlmsghdr *msg, const struct wanted *wanted)
{
    const struct nlattr *attr;

    (void)wanted;
    if (msg->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
        return false;
    switch (msg->nlmsg_type & 0xff) {
    case NFT_MSG_DELTABLE:
    case NFT_MSG_DELCHAIN:
    case NFT_MSG_DELRULE:
        break;
    default:
        return false;
    }
    if (mnl_nlmsg_get_payload_len(msg) < sizeof(struct nfgenmsg) + sizeof(*attr))
        return false;
    attr = mnl_nlmsg_get_payload_offset(msg, sizeof(struct nfgenmsg));
    return mnl_attr_ok(attr, (int)(mnl_nlmsg_get_payload_len(msg) - sizeof(struct nfgenmsg))) &&
           mnl_attr_get_type(attr) == NFTA_TABLE_NAME &&
           mnl_attr_get_payload_len(attr) == sizeof NFTLIST_OWN_TABLE &&
           memcmp(mnl_attr_get_payload(attr), NFTLIST_OWN_TABLE, sizeof NFTLIST_OWN_TABLE) == 0;
}

/* Adds how much there was to *n_read. */
static bool drain(int fd, matters_to *matters, const struct wanted *wanted, unsigned *n_read)
{
    _Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];
    bool found = false;

    for (int i = 0; fd >= 0 && i < READS_MAX; i++) {
        ssize_t got = recv(fd, buffer, sizeof buffer, 0);
        const struct nlmsghdr *msg;
        const void *at = buffer;
        size_t left = got > 0 ? (size_t)got : 0;

        if (got < 0 && errno != ENOBUFS)
            break;
        ++*n_read;
        found |= got < 0; /* some were lost: ours may have been among them */
        while (!found && (msg = rtnlmsg_take(&at, &left)))
            found = matters(msg, wanted);
    }
    return found;
}

static void set_events(const struct watch *watch, int fd, uint32_t events)
{
    struct epoll_event event = { .events = events };

    if (fd >= 0)
        (void)epoll_ctl(watch->fd, EPOLL_CTL_MOD, fd, &event);
}

static void set_paused(struct watch *watch, bool is_paused)
{
    struct itimerspec when = { .it_value = timespec_of(is_paused ? WATCH_PAUSE_MS : 0) };

    watch->is_paused = is_paused;
    set_events(watch, watch->rtnl_fd, is_paused ? 0 : EPOLLIN);
    set_events(watch, watch->nft_fd, is_paused ? 0 : EPOLLIN);
    (void)timerfd_settime(watch->pause_fd, 0, &when, NULL);
}

static bool has_expired(int timer_fd)
{
    uint64_t times;

    return read(timer_fd, &times, sizeof times) > 0;
}

bool watch_read(struct watch *watch, const struct wanted *wanted)
{
    bool is_time = has_expired(watch->timer_fd);
    unsigned n_read = 0;

    if (has_expired(watch->pause_fd))
        set_paused(watch, false);
    if (watch->is_paused)
        return is_time;
    bool is_changed = drain(watch->rtnl_fd, matters_for_routing, wanted, &n_read);
    unsigned n_routing = n_read;
    is_changed |= drain(watch->nft_fd, matters_for_marks, wanted, &n_read);
    watch->has_new_tables |= n_read > n_routing || watch->nft_fd < 0;
    if (n_read > 0)
        set_paused(watch, true);
    return is_changed || is_time;
}
