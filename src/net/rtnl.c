/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/rtnl.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BUFFER_SIZE = 32768, /* the kernel's dumps use no more at a time */
    DUMP_TRIES = 5,      /* a dump during which something changed is begun anew */
};

struct rtnl {
    struct mnl_socket *socket;
    unsigned seq;
    _Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];
};

/* Called with each message of an answer; returns 0 or -errno. */
typedef int handler(const struct nlmsghdr *msg, void *context);

struct rtnl *rtnl_new(void)
{
    struct rtnl *rtnl = calloc(1, sizeof *rtnl);
    int on = 1;

    if (!rtnl)
        return NULL;
    rtnl->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!rtnl->socket || mnl_socket_bind(rtnl->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
        int error = errno;

        rtnl_free(rtnl);
        errno = error;
        return NULL;
    }
    /* Without it (before Linux 4.20) a dump has the routes of every table: slower, no more. */
    mnl_socket_setsockopt(rtnl->socket, NETLINK_GET_STRICT_CHK, &on, sizeof on);
    return rtnl;
}

int rtnl_listen(int bus, const int *groups, size_t n_groups)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, bus);
    struct sockaddr_nl any = { .nl_family = AF_NETLINK };

    if (fd < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&any, sizeof any) < 0)
        goto fail;
    for (size_t i = 0; i < n_groups; i++) {
        if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof *groups) < 0)
            goto fail;
    }
    return fd;
fail:;
    int err = -errno;

    close(fd);
    return err;
}

void rtnl_free(struct rtnl *rtnl)
{
    if (!rtnl)
        return;
    if (rtnl->socket)
        mnl_socket_close(rtnl->socket);
    free(rtnl);
}

static struct nlmsghdr *begin_request(struct rtnl *rtnl, uint16_t type, uint16_t flags)
{
    struct nlmsghdr *msg = mnl_nlmsg_put_header(rtnl->buffer);

    msg->nlmsg_type = type;
    msg->nlmsg_flags = NLM_F_REQUEST | flags;
    msg->nlmsg_seq = ++rtnl->seq;
    return msg;
}

static int error_of(const struct nlmsghdr *msg)
{
    const struct nlmsgerr *error = mnl_nlmsg_get_payload(msg);

    return mnl_nlmsg_get_payload_len(msg) < sizeof *error ? -EBADMSG : error->error;
}

/* returns: 0 = read on, 1 = that was all, or -errno. */
static int take_message(struct rtnl *rtnl, const struct nlmsghdr *msg, handler *handle,
                        void *context, bool *interrupted)
{
    int err;

    if (msg->nlmsg_seq != rtnl->seq)
        return 0; /* left over from an answer that was given up */
    *interrupted |= msg->nlmsg_flags & NLM_F_DUMP_INTR;
    if (msg->nlmsg_type == NLMSG_ERROR) {
        err = error_of(msg);
        return err < 0 ? err : 1;
    }
    if (msg->nlmsg_type == NLMSG_DONE)
        return 1;
    err = handle ? handle(msg, context) : 0;
    if (err < 0)
        return err;
    return msg->nlmsg_flags & NLM_F_MULTI ? 0 : 1;
}

static int take_answer(struct rtnl *rtnl, handler *handle, void *context, bool *interrupted)
{
    for (;;) {
        ssize_t got =
            recv(mnl_socket_get_fd(rtnl->socket), rtnl->buffer, sizeof rtnl->buffer, MSG_DONTWAIT);
        const struct nlmsghdr *msg;
        const void *at = rtnl->buffer;
        size_t left = got > 0 ? (size_t)got : 0;

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno == EAGAIN ? -EIO : -errno;
        while ((msg = rtnlmsg_take(&at, &left))) {
            int err = take_message(rtnl, msg, handle, context, interrupted);

            if (err != 0)
                return err < 0 ? err : 0;
        }
    }
}

/* Sends the request and hands every message of the answer to handle. */
static int talk(struct rtnl *rtnl, const struct nlmsghdr *msg, handler *handle, void *context)
{
    bool interrupted = false;
    int err;

    if (mnl_socket_sendto(rtnl->socket, msg, msg->nlmsg_len) < 0)
        return -errno;
    err = take_answer(rtnl, handle, context, &interrupted);
    return err == 0 && interrupted ? -EAGAIN : err;
}

static int add_rule(const struct nlmsghdr *msg, void *context)
{
    struct rtnl_rules *out = context;
    struct rtnl_rule *items;
    struct rtnl_rule rule;

    if (!rtnlmsg_rule(msg, &rule))
        return 0; /* of another kind: multicast routing has rules too */
    items = reallocarray(out->items, out->n_items + 1, sizeof *items);
    if (!items)
        return -ENOMEM;
    items[out->n_items++] = rule;
    out->items = items;
    return 0;
}

int rtnl_dump_rules(struct rtnl *rtnl, sa_family_t family, struct rtnl_rules *out)
{
    size_t before = out->n_items;
    int err = -EAGAIN;

    for (int i = 0; err == -EAGAIN && i < DUMP_TRIES; i++) {
        struct nlmsghdr *msg = begin_request(rtnl, RTM_GETRULE, NLM_F_DUMP);
        struct fib_rule_hdr *header = mnl_nlmsg_put_extra_header(msg, sizeof *header);

        header->family = (uint8_t)family;
        out->n_items = before;
        err = talk(rtnl, msg, add_rule, out);
    }
    return err;
}

static int add_address(const struct nlmsghdr *msg, void *context)
{
    struct rtnl_addresses *out = context;
    struct rtnl_address *items;
    struct rtnl_address address;

    if (!rtnlmsg_address(msg, &address))
        return 0;
    items = reallocarray(out->items, out->n_items + 1, sizeof *items);
    if (!items)
        return -ENOMEM;
    items[out->n_items++] = address;
    out->items = items;
    return 0;
}

int rtnl_dump_addresses(struct rtnl *rtnl, struct rtnl_addresses *out)
{
    size_t before = out->n_items;
    int err = -EAGAIN;

    for (int i = 0; err == -EAGAIN && i < DUMP_TRIES; i++) {
        struct nlmsghdr *msg = begin_request(rtnl, RTM_GETADDR, NLM_F_DUMP);

        mnl_nlmsg_put_extra_header(msg, sizeof(struct ifaddrmsg));
        out->n_items = before;
        err = talk(rtnl, msg, add_address, out);
    }
    return err;
}

static int add_link(const struct nlmsghdr *msg, void *context)
{
    struct rtnl_links *out = context;
    struct rtnl_link *items;
    struct rtnl_link link;

    if (!rtnlmsg_link(msg, &link))
        return 0;
    items = reallocarray(out->items, out->n_items + 1, sizeof *items);
    if (!items)
        return -ENOMEM;
    items[out->n_items++] = link;
    out->items = items;
    return 0;
}

int rtnl_dump_links(struct rtnl *rtnl, struct rtnl_links *out)
{
    size_t before = out->n_items;
    int err = -EAGAIN;

    for (int i = 0; err == -EAGAIN && i < DUMP_TRIES; i++) {
        struct nlmsghdr *msg = begin_request(rtnl, RTM_GETLINK, NLM_F_DUMP);

        mnl_nlmsg_put_extra_header(msg, sizeof(struct ifinfomsg));
        mnl_attr_put_u32(msg, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        out->n_items = before;
        err = talk(rtnl, msg, add_link, out);
    }
    return err;
}

struct routes_of {
    struct rtnl_filter filter;
    struct rtnl_routes routes;
};

static bool passes(const struct rtnl_filter *filter, const struct rtnl_route *route)
{
    return (filter->table == 0 || route->table == filter->table) &&
           (filter->protocol == 0 || route->protocol == filter->protocol) &&
           (filter->type == 0 || route->type == filter->type);
}

static int add_route(const struct nlmsghdr *msg, void *context)
{
    struct routes_of *routes_of = context;
    struct rtnl_routes *out = &routes_of->routes;
    struct rtnl_route *items;
    struct rtnl_route route;

    if (!rtnlmsg_route(msg, &route) || !passes(&routes_of->filter, &route))
        return 0;
    items = reallocarray(out->items, out->n_items + 1, sizeof *items);
    if (!items)
        return -ENOMEM;
    items[out->n_items++] = route;
    out->items = items;
    return 0;
}

int rtnl_dump_routes(struct rtnl *rtnl, sa_family_t family, struct rtnl_filter filter,
                     struct rtnl_routes *out)
{
    struct routes_of routes_of = { .filter = filter, .routes = *out };
    size_t before = out->n_items;
    int err = -EAGAIN;

    for (int i = 0; err == -EAGAIN && i < DUMP_TRIES; i++) {
        struct nlmsghdr *msg = begin_request(rtnl, RTM_GETROUTE, NLM_F_DUMP);
        struct rtmsg *header = mnl_nlmsg_put_extra_header(msg, sizeof *header);

        header->rtm_family = (uint8_t)family;
        header->rtm_protocol = filter.protocol;
        header->rtm_type = filter.type;
        if (filter.table != 0)
            mnl_attr_put_u32(msg, RTA_TABLE, filter.table);
        routes_of.routes.n_items = before;
        err = talk(rtnl, msg, add_route, &routes_of);
    }
    *out = routes_of.routes;
    return err == -ENOENT ? 0 : err;
}

void rtnl_addresses_close(struct rtnl_addresses *addresses)
{
    free(addresses->items);
    *addresses = (struct rtnl_addresses){ 0 };
}

void rtnl_links_close(struct rtnl_links *links)
{
    free(links->items);
    *links = (struct rtnl_links){ 0 };
}

void rtnl_rules_close(struct rtnl_rules *rules)
{
    free(rules->items);
    *rules = (struct rtnl_rules){ 0 };
}

void rtnl_routes_close(struct rtnl_routes *routes)
{
    free(routes->items);
    *routes = (struct rtnl_routes){ 0 };
}

static int take_route(const struct nlmsghdr *msg, void *context)
{
    return rtnlmsg_route(msg, context) ? 0 : -EBADMSG;
}

static unsigned bytes_of(sa_family_t family)
{
    return family == AF_INET6 ? 16 : 4;
}

int rtnl_lookup(struct rtnl *rtnl, const struct addr *dst, const struct addr *src, uint32_t mark,
                struct rtnl_route *out)
{
    struct nlmsghdr *msg = begin_request(rtnl, RTM_GETROUTE, 0);
    struct rtmsg *header = mnl_nlmsg_put_extra_header(msg, sizeof *header);
    unsigned len = bytes_of(addr_family(dst));

    header->rtm_family = (uint8_t)addr_family(dst);
    header->rtm_dst_len = (uint8_t)(8 * len);
    /* IPv6 tells the table unasked, and takes asking for it as a mistake. */
    header->rtm_flags = RTM_F_FIB_MATCH;
    if (addr_family(dst) == AF_INET)
        header->rtm_flags |= RTM_F_LOOKUP_TABLE;
    mnl_attr_put(msg, RTA_DST, len, addr_bytes(dst));
    if (src) {
        header->rtm_src_len = (uint8_t)(8 * len);
        mnl_attr_put(msg, RTA_SRC, len, addr_bytes(src));
    }
    if (mark != 0)
        mnl_attr_put_u32(msg, RTA_MARK, mark);
    mnl_attr_put_u8(msg, RTA_IP_PROTO, IPPROTO_TCP);
    return talk(rtnl, msg, take_route, out);
}

struct qdisc_of {
    uint32_t interface;
    char *kind;
};

/* "noqueue" is what lo has by itself. */
static int keep_kind(const struct nlattr *attr, void *context)
{
    if (mnl_attr_get_type(attr) == TCA_KIND && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0 &&
        strcmp(mnl_attr_get_str(attr), "noqueue") != 0)
        (void)snprintf(context, RTNL_KIND_MAX, "%s", mnl_attr_get_str(attr));
    return MNL_CB_OK;
}

static int keep_qdisc(const struct nlmsghdr *msg, void *context)
{
    const struct tcmsg *header = mnl_nlmsg_get_payload(msg);
    const struct qdisc_of *qdisc_of = context;

    if (msg->nlmsg_type == RTM_NEWQDISC && mnl_nlmsg_get_payload_len(msg) >= sizeof *header &&
        (uint32_t)header->tcm_ifindex == qdisc_of->interface)
        (void)mnl_attr_parse(msg, sizeof *header, keep_kind, qdisc_of->kind);
    return 0;
}

bool rtnl_find_qdisc(struct rtnl *rtnl, uint32_t interface, char kind[RTNL_KIND_MAX])
{
    struct nlmsghdr *msg = begin_request(rtnl, RTM_GETQDISC, NLM_F_DUMP);
    struct tcmsg *header = mnl_nlmsg_put_extra_header(msg, sizeof *header);
    struct qdisc_of qdisc_of = { interface, kind };

    header->tcm_family = AF_UNSPEC;
    header->tcm_ifindex = (int)interface;
    kind[0] = '\0';
    return talk(rtnl, msg, keep_qdisc, &qdisc_of) == 0 && kind[0] != '\0';
}

static int change_rule(struct rtnl *rtnl, const struct rtnl_rule *rule, uint16_t type,
                       uint16_t flags)
{
    struct nlmsghdr *msg = begin_request(rtnl, type, (uint16_t)(NLM_F_ACK | flags));
    struct fib_rule_hdr *header = mnl_nlmsg_put_extra_header(msg, sizeof *header);
    unsigned len = bytes_of(rule->family);

    header->family = (uint8_t)rule->family;
    header->action = rule->action;
    header->table = rule->table < 256 ? (uint8_t)rule->table : RT_TABLE_UNSPEC;
    header->src_len = rule->src_len;
    mnl_attr_put_u32(msg, FRA_PRIORITY, rule->priority);
    mnl_attr_put_u32(msg, FRA_TABLE, rule->table);
    mnl_attr_put_u8(msg, FRA_PROTOCOL, rule->protocol);
    if (rule->src_len != 0)
        mnl_attr_put(msg, FRA_SRC, len, rule->src);
    if (rule->iif[0] != '\0')
        mnl_attr_put_strz(msg, FRA_IIFNAME, rule->iif);
    if (rule->mask != 0) {
        mnl_attr_put_u32(msg, FRA_FWMARK, rule->mark);
        mnl_attr_put_u32(msg, FRA_FWMASK, rule->mask);
    }
    return talk(rtnl, msg, NULL, NULL);
}

int rtnl_rule_add(struct rtnl *rtnl, const struct rtnl_rule *rule)
{
    return change_rule(rtnl, rule, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
}

int rtnl_rule_remove(struct rtnl *rtnl, const struct rtnl_rule *rule)
{
    return change_rule(rtnl, rule, RTM_DELRULE, 0);
}

static int change_route(struct rtnl *rtnl, const struct rtnl_route *route, uint16_t type,
                        uint16_t flags)
{
    struct nlmsghdr *msg = begin_request(rtnl, type, (uint16_t)(NLM_F_ACK | flags));
    struct rtmsg *header = mnl_nlmsg_put_extra_header(msg, sizeof *header);

    header->rtm_family = (uint8_t)route->family;
    header->rtm_dst_len = route->dst_len;
    header->rtm_table = route->table < 256 ? (uint8_t)route->table : RT_TABLE_UNSPEC;
    header->rtm_protocol = route->protocol;
    header->rtm_scope = route->family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
    header->rtm_type = route->type;
    if (route->dst_len != 0)
        mnl_attr_put(msg, RTA_DST, bytes_of(route->family), route->dst);
    mnl_attr_put_u32(msg, RTA_TABLE, route->table);
    mnl_attr_put_u32(msg, RTA_OIF, route->oif);
    if (route->metric != 0)
        mnl_attr_put_u32(msg, RTA_PRIORITY, route->metric);
    if (route->congestion) {
        struct nlattr *metrics = mnl_attr_nest_start(msg, RTA_METRICS);
        mnl_attr_put_strz(msg, RTAX_CC_ALGO, route->congestion);
        mnl_attr_nest_end(msg, metrics);
    }
    return talk(rtnl, msg, NULL, NULL);
}

int rtnl_route_add(struct rtnl *rtnl, const struct rtnl_route *route)
{
    return change_route(rtnl, route, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
}

int rtnl_route_remove(struct rtnl *rtnl, const struct rtnl_route *route)
{
    return change_route(rtnl, route, RTM_DELROUTE, 0);
}
