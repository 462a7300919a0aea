/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/managed/watch.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mmproxy/net/rtnl.h"
#include "mmproxy/routing/managed/install.h"
#include "mmproxy/routing/wanted/nftlist.h"

enum {
    READS_MAX = 64, /* datagrams a call: a flood must not keep the caller from its other work */
    BUFFER_SIZE = 16384,
};

typedef bool judge_message(const struct nlmsghdr *msg, const struct wanted *wanted);

int watch_open(struct watch *watch)
{
    static const int routing[] = { RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_IPV4_ROUTE,
                                   RTNLGRP_IPV6_ROUTE, RTNLGRP_LINK };
    static const int tables[] = { NFNLGRP_NFTABLES };

    watch->nft_fd = -1;
    watch->rtnl_fd = rtnl_listen(NETLINK_ROUTE, routing, sizeof(routing) / sizeof(routing[0]));
    if (watch->rtnl_fd < 0) {
        int r = watch->rtnl_fd;

        watch->rtnl_fd = -1;
        return r;
    }
    watch->nft_fd = rtnl_listen(NETLINK_NETFILTER, tables, 1);
    if (watch->nft_fd < 0)
        watch->nft_fd = -1;
    return 0;
}

void watch_close(struct watch *watch)
{
    if (watch->rtnl_fd >= 0)
        close(watch->rtnl_fd);
    if (watch->nft_fd >= 0)
        close(watch->nft_fd);
    watch->rtnl_fd = watch->nft_fd = -1;
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
        return mnl_nlmsg_get_payload_len(msg) >= sizeof(*link) && link->ifi_index == RTNL_LO_INDEX;
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
           mnl_attr_get_payload_len(attr) == sizeof(NFTLIST_OWN_TABLE) &&
           memcmp(mnl_attr_get_payload(attr), NFTLIST_OWN_TABLE, sizeof(NFTLIST_OWN_TABLE)) == 0;
}

static bool drain(int fd, judge_message *matters, const struct wanted *wanted)
{
    _Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];
    bool found = false;

    for (int i = 0; fd >= 0 && i < READS_MAX; i++) {
        ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
        const struct nlmsghdr *msg;
        const void *at = buffer;
        size_t left = got > 0 ? (size_t)got : 0;

        if (got < 0 && errno == ENOBUFS) {
            found = true; /* some were lost: ours may have been among them */
            continue;
        }
        if (got < 0)
            break;
        while ((msg = rtnlmsg_take(&at, &left)))
            found |= matters(msg, wanted);
    }
    return found;
}

bool watch_read(struct watch *watch, const struct wanted *wanted)
{
    bool routing = drain(watch->rtnl_fd, matters_for_routing, wanted);

    return drain(watch->nft_fd, matters_for_marks, wanted) || routing;
}
