/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/locals.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <stdlib.h>

#include "mmproxy/base/subnets.h"

/* A table that changes under every attempt to read it is read again at its next change. */
enum { DUMP_ATTEMPTS = 5, BUFFER_SIZE = 32 * 1024 };

struct locals {
    /* Two sockets, so that an answer never mixes with notifications. */
    struct mnl_socket *events;
    struct mnl_socket *queries;
    struct subnets *set;
    uint32_t sequence;
    bool is_stale; /* something has changed that could not be read */
};

static bool is_of_table_local(const struct nlmsghdr *message)
{
    const struct rtmsg *route = mnl_nlmsg_get_payload(message);

    return message->nlmsg_len >= mnl_nlmsg_size(sizeof *route) &&
           route->rtm_table == RT_TABLE_LOCAL;
}

/* errors: EINVAL for an attribute that is not of its family's length, ENOMEM. */
static int add_destination(struct subnets *set, const struct rtmsg *route,
                           const struct nlattr *destination)
{
    size_t need = route->rtm_family == AF_INET ? 4 : 16;
    struct prefix prefix = { .len = route->rtm_dst_len };

    if (mnl_attr_get_payload_len(destination) != need)
        return -EINVAL;
    addr_from_bytes(&prefix.addr, route->rtm_family, mnl_attr_get_payload(destination), 0);
    return subnets_add(set, &prefix);
}

static int keep_destination(const struct nlattr *attr, void *context)
{
    const struct nlattr **destination = context;

    if (mnl_attr_get_type(attr) == RTA_DST)
        *destination = attr;
    return MNL_CB_OK;
}

static int add_route(const struct nlmsghdr *message, void *context)
{
    const struct rtmsg *route = mnl_nlmsg_get_payload(message);
    const struct nlattr *destination = NULL;

    if (message->nlmsg_type != RTM_NEWROUTE || !is_of_table_local(message))
        return MNL_CB_OK;
    /* Multicast is refused whatever host this is; the table's route for it covers it all. */
    if (route->rtm_type == RTN_MULTICAST || route->rtm_type == RTN_UNREACHABLE)
        return MNL_CB_OK;

    (void)mnl_attr_parse(message, sizeof *route, keep_destination, &destination);
    if (!destination)
        return MNL_CB_OK;
    errno = -add_destination(context, route, destination);
    return errno == 0 ? MNL_CB_OK : MNL_CB_ERROR;
}

static int dump_family(struct locals *locals, struct subnets *set, unsigned char family)
{
    char buffer[BUFFER_SIZE];
    struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
    request->nlmsg_type = RTM_GETROUTE;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request->nlmsg_seq = ++locals->sequence;
    struct rtmsg *route = mnl_nlmsg_put_extra_header(request, sizeof *route);
    route->rtm_family = family;
    route->rtm_table = RT_TABLE_LOCAL;
    if (mnl_socket_sendto(locals->queries, request, request->nlmsg_len) < 0)
        return -errno;

    unsigned port = mnl_socket_get_portid(locals->queries);
    int more = MNL_CB_OK;
    while (more > MNL_CB_STOP) {
        ssize_t n = mnl_socket_recvfrom(locals->queries, buffer, sizeof buffer);
        if (n < 0)
            return -errno;
        more = mnl_cb_run(buffer, (size_t)n, locals->sequence, port, add_route, set);
    }
    /* EINTR: the table changed while it was read (NLM_F_DUMP_INTR). */
    return more < 0 ? -errno : 0;
}

static void drain(struct mnl_socket *socket)
{
    char buffer[BUFFER_SIZE];

    while (mnl_socket_recvfrom(socket, buffer, sizeof buffer) > 0)
        ;
}

static int try_to_read_table(struct locals *locals)
{
    struct subnets *set = subnets_new();
    if (!set)
        return -ENOMEM;

    int err = dump_family(locals, set, AF_INET);
    if (err == 0)
        err = dump_family(locals, set, AF_INET6);
    if (err < 0) {
        subnets_free(set);
        drain(locals->queries);
        return err;
    }
    subnets_seal(set);
    subnets_free(locals->set);
    locals->set = set;
    return 0;
}

static int read_table(struct locals *locals)
{
    int err = -EINTR;

    for (int i = 0; i < DUMP_ATTEMPTS && err == -EINTR; i++)
        err = try_to_read_table(locals);
    return err;
}

static struct mnl_socket *open_socket(unsigned groups)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (!socket)
        return NULL;

    int on = 1;
    /* Has the kernel look for table `local` only, not through a router's million routes. */
    (void)mnl_socket_setsockopt(socket, NETLINK_GET_STRICT_CHK, &on, sizeof on);
    if (mnl_socket_bind(socket, groups, MNL_SOCKET_AUTOPID) < 0) {
        int err = errno;
        mnl_socket_close(socket);
        errno = err;
        return NULL;
    }
    return socket;
}

int locals_new(struct locals **out)
{
    struct locals *locals = calloc(1, sizeof *locals);
    if (!locals)
        return -ENOMEM;

    int err = 0;
    locals->events = open_socket(RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE);
    if (locals->events)
        locals->queries = open_socket(0);
    if (!locals->queries)
        err = -errno;
    if (err == 0)
        err = read_table(locals);
    if (err < 0) {
        locals_free(locals);
        return err;
    }
    *out = locals;
    return 0;
}

void locals_free(struct locals *locals)
{
    if (!locals)
        return;
    if (locals->events)
        mnl_socket_close(locals->events);
    if (locals->queries)
        mnl_socket_close(locals->queries);
    subnets_free(locals->set);
    free(locals);
}

int locals_fd(const struct locals *locals)
{
    return mnl_socket_get_fd(locals->events);
}

static int note_change(const struct nlmsghdr *message, void *context)
{
    bool *changed = context;

    if (message->nlmsg_type == RTM_NEWROUTE || message->nlmsg_type == RTM_DELROUTE)
        *changed = *changed || is_of_table_local(message);
    return MNL_CB_OK;
}

int locals_update(struct locals *locals)
{
    char buffer[BUFFER_SIZE];
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(locals->events, buffer, sizeof buffer);
        if (n > 0)
            (void)mnl_cb_run(buffer, (size_t)n, 0, 0, note_change, &locals->is_stale);
        else if (n < 0 && errno == ENOBUFS)
            locals->is_stale = true; /* so many at once that some were dropped */
        else
            break;
    }
    if (!locals->is_stale)
        return 0;
    int err = read_table(locals);
    locals->is_stale = err < 0;
    return err;
}

bool locals_contain(const struct locals *locals, const struct addr *addr)
{
    return subnets_contain(locals->set, addr);
}
