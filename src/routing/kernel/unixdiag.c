/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/kernel/unixdiag.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BUFFER_SIZE = 16384 };

struct search {
    struct unixdiag *list;
    const char *prefix;
};

static int add(const struct search *search, const struct unixdiag_socket *found)
{
    struct unixdiag *list = search->list;

    if (strncmp(found->name, search->prefix, strlen(search->prefix)) != 0)
        return 0;
    struct unixdiag_socket *more = reallocarray(list->items, list->n_items + 1, sizeof *more);
    if (!more)
        return -ENOMEM;
    list->items = more;
    list->items[list->n_items++] = *found;
    return 0;
}

/* Abstract names begin with a zero byte; any other byte may follow, zero too. */
static void copy_name(struct unixdiag_socket *out, const struct nlattr *attr)
{
    const char *name = mnl_attr_get_payload(attr);
    size_t len = mnl_attr_get_payload_len(attr);

    if (len < 2 || len > sizeof out->name || name[0] != '\0' || memchr(name + 1, '\0', len - 1))
        return;
    memcpy(out->name, name + 1, len - 1);
    out->name[len - 1] = '\0';
}

struct found {
    struct unixdiag_socket socket;
    bool has_owner;
};

static int on_attribute(const struct nlattr *attr, void *context)
{
    struct found *found = context;

    if (mnl_attr_get_type(attr) == UNIX_DIAG_NAME)
        copy_name(&found->socket, attr);
    if (mnl_attr_get_type(attr) == UNIX_DIAG_UID && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0) {
        found->has_owner = true;
        found->socket.owner = mnl_attr_get_u32(attr);
    }
    return MNL_CB_OK;
}

static int on_message(const struct nlmsghdr *msg, void *context)
{
    struct found found = { 0 };

    if (mnl_nlmsg_get_payload_len(msg) < sizeof(struct unix_diag_msg))
        return MNL_CB_OK;
    (void)mnl_attr_parse(msg, sizeof(struct unix_diag_msg), on_attribute, &found);
    int err = found.has_owner ? add(context, &found.socket) : 0;
    if (err == 0)
        return MNL_CB_OK;
    errno = -err;
    return MNL_CB_ERROR;
}

static int ask(struct mnl_socket *socket)
{
    _Alignas(struct nlmsghdr) char buffer[64] = { 0 };
    struct nlmsghdr *msg = mnl_nlmsg_put_header(buffer);

    msg->nlmsg_type = SOCK_DIAG_BY_FAMILY;
    msg->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    struct unix_diag_req *req = mnl_nlmsg_put_extra_header(msg, sizeof *req);
    req->sdiag_family = AF_UNIX;
    req->udiag_states = UINT32_MAX;
    req->udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_UID;
    return mnl_socket_sendto(socket, msg, msg->nlmsg_len) < 0 ? -errno : 0;
}

static int read_answers(struct mnl_socket *socket, struct search *search)
{
    char *buffer = malloc(BUFFER_SIZE);
    int more = MNL_CB_OK;
    int err = buffer ? 0 : -ENOMEM;

    while (err == 0 && more > MNL_CB_STOP) {
        ssize_t n = mnl_socket_recvfrom(socket, buffer, BUFFER_SIZE);

        more = n < 0 ? MNL_CB_ERROR : mnl_cb_run(buffer, (size_t)n, 0, 0, on_message, search);
        if (more == MNL_CB_ERROR)
            err = -errno;
    }
    free(buffer);
    return err;
}

int unixdiag_read(struct unixdiag *list, const char *prefix)
{
    struct search search = { .list = list, .prefix = prefix };
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);

    if (!socket)
        return -errno;
    int err = ask(socket);
    if (err == 0)
        err = read_answers(socket, &search);
    mnl_socket_close(socket);
    return err == -ENOENT ? 0 : err;
}

void unixdiag_close(struct unixdiag *list)
{
    free(list->items);
    *list = (struct unixdiag){ 0 };
}
