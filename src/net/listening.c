/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/listening.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_SIZE = 32768 };

struct list {
    struct listening *items;
    size_t n;
    size_t room;
};

static int read_v6_only(const struct nlattr *attr, void *context)
{
    bool *is_v6_only = context;

    if (mnl_attr_get_type(attr) == INET_DIAG_SKV6ONLY)
        *is_v6_only = mnl_attr_get_u8(attr) != 0;
    return MNL_CB_OK;
}

static int add_socket(const struct nlmsghdr *msg, void *context)
{
    const struct inet_diag_msg *diag = mnl_nlmsg_get_payload(msg);
    struct list *list = context;
    struct listening *item;
    bool is_v6_only = true;

    if (list->n == list->room) {
        size_t room = list->room == 0 ? 64 : list->room * 2;
        struct listening *grown = reallocarray(list->items, room, sizeof *grown);

        if (!grown) {
            errno = ENOMEM;
            return MNL_CB_ERROR;
        }
        list->items = grown;
        list->room = room;
    }
    item = &list->items[list->n++];
    *item = (struct listening){ .uid = diag->idiag_uid,
                                .inode = diag->idiag_inode,
                                .device = diag->id.idiag_if,
                                .waiting = diag->idiag_rqueue,
                                .backlog = diag->idiag_wqueue };
    addr_from_bytes(&item->addr, diag->idiag_family, (const uint8_t *)diag->id.idiag_src,
                    ntohs(diag->id.idiag_sport));
    (void)mnl_attr_parse(msg, sizeof *diag, read_v6_only, &is_v6_only);
    item->takes_v4 = !is_v6_only;
    return MNL_CB_OK;
}

static int read_family(struct mnl_socket *socket, uint8_t protocol, uint8_t family,
                       struct list *list)
{
    _Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];
    struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
    struct inet_diag_req_v2 *wanted = mnl_nlmsg_put_extra_header(request, sizeof *wanted);
    /* A UDP socket is in this state, or, if it is connected, in TCP_ESTABLISHED. */
    int state = protocol == IPPROTO_UDP ? TCP_CLOSE : TCP_LISTEN;
    int result = MNL_CB_OK;

    request->nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request->nlmsg_seq = family;
    *wanted = (struct inet_diag_req_v2){ .sdiag_family = family,
                                         .sdiag_protocol = protocol,
                                         .idiag_states = 1U << state };
    if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
        return -errno;
    while (result > MNL_CB_STOP) {
        ssize_t n = mnl_socket_recvfrom(socket, buffer, sizeof buffer);

        if (n < 0)
            return -errno;
        result =
            mnl_cb_run(buffer, (size_t)n, family, mnl_socket_get_portid(socket), add_socket, list);
    }
    return result < 0 ? -errno : 0;
}

static int read_all(uint8_t protocol, struct listening **out, size_t *n)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
    struct list list = { .n = 0 };
    int err = 0;

    if (!socket)
        return -errno;
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
        err = -errno;
    if (err == 0)
        err = read_family(socket, protocol, AF_INET, &list);
    if (err == 0)
        err = read_family(socket, protocol, AF_INET6, &list);
    mnl_socket_close(socket);
    if (err < 0) {
        free(list.items);
        return err;
    }
    *out = list.items;
    *n = list.n;
    return 0;
}

int listening_read(struct listening **out, size_t *n)
{
    return read_all(IPPROTO_TCP, out, n);
}

int listening_read_udp(struct listening **out, size_t *n)
{
    return read_all(IPPROTO_UDP, out, n);
}

static bool is_wildcard(const struct addr *addr)
{
    static const uint8_t any[16];

    return memcmp(addr_bytes(addr), any, addr_family(addr) == AF_INET ? 4 : 16) == 0;
}

bool listening_takes(const struct listening *listening, const struct addr *addr)
{
    if (addr_port(&listening->addr) != addr_port(addr))
        return false;
    if (addr_family(&listening->addr) != addr_family(addr))
        return listening->takes_v4 && is_wildcard(&listening->addr);
    return is_wildcard(&listening->addr) || is_wildcard(addr) ||
           addr_equal_host(&listening->addr, addr);
}
